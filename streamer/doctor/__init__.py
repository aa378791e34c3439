"""Examines a machine and a configuration before, while or after a streamer runs, and says what to mend."""

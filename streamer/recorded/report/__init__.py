"""The report of recorded analyses: one page that opens without a network, with timelines, pictures and reasons."""

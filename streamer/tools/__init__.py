"""Implement the commands `watch`, `health`, `detect` and `demo`."""

"""Analyses recordings beside the cameras, with the same workers: jobs that survive a restart, and their results."""

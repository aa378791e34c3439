"""Writes the results of a recorded analysis in the formats of other programs."""

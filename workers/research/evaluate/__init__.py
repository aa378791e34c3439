"""Measure SwinFace by the protocols of the paper."""

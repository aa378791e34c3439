"""Faces with labels, in whatever layout they lie on disk."""

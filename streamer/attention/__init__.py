"""Attention before detection: whether, and where, the face detector looks at each frame of each camera."""

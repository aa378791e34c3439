"""Cameras, video files and images: read into Frames."""

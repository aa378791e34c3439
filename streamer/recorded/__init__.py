"""A video file through the same stages, its results as files."""

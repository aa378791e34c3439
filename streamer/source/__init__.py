"""Read cameras, video files and images into Frames."""

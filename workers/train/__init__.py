"""Training SwinFace."""

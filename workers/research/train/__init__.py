"""Train SwinFace."""

"""The workers: processes that run SwinFace on aligned crops."""

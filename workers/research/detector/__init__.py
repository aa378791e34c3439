"""Train the face detector: labels from public detectors, composed scenes, a small YOLO pose network."""

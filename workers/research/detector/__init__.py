"""Training of the face detector: labels by public detectors, composed scenes, a small YOLO pose network."""

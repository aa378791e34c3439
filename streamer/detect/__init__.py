"""Detect the faces of a Frame: Detections with boxes, scores and five landmarks."""

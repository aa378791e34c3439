"""Faces in a Frame: Detections with boxes, scores and five landmarks."""

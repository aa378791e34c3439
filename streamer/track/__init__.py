"""Detections of successive frames joined to Tracks."""

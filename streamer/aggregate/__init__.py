"""Combines the FaceAnalyses of each track into a TrackSummary."""

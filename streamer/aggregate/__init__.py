"""The FaceAnalyses of one track, summed up in a TrackSummary."""

"""Sends FaceCrops to the workers over ZeroMQ and receives their FaceAnalyses."""

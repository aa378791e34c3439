"""FaceCrops to the workers over ZeroMQ, FaceAnalyses back."""

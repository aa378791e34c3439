"""Train the small network that estimates how far a face is turned in the picture."""

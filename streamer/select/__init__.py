"""Best-shot selection: which FaceCrop of which Track is worth analysing."""

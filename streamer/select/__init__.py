"""Best-shot selection: choose which FaceCrop of which Track to analyse."""

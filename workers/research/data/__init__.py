"""Read sets of labelled faces in their published layouts."""

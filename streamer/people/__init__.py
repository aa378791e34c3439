"""The people of the gallery: who they are, what was said about them, and how all of it is forgotten."""

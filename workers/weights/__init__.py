"""Weights by name: those that come with the project, and the known public ones."""

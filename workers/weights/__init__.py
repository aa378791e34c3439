"""Find weights by name: those that come with the project, and known public ones."""

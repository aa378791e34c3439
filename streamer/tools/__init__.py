"""Commands of their own: watch, detect in files, demo."""

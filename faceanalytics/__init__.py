"""What the streamer and the workers share: errors, files, settings, progress, and the protocols between them."""

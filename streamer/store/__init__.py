"""What survives a restart: a log of events, tracks, pictures of faces and streams, in SQLite or PostgreSQL."""

"""Passes events of the log on to other systems: files, webhooks and message brokers."""

"""Streams: the events of the queue for whoever has no account at the broker, and messages of users."""

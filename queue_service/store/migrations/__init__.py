"""Alembic revisions, one history for both databases, and the command that runs them."""

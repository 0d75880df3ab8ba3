"""A job that holds a lock, and lets go of it in a step that is always taken: a web API into SQLite."""

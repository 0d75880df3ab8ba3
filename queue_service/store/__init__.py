"""SQL: one set of statements for SQLite and PostgreSQL, each a named constant with a short function."""

"""A job of three steps, resumed where it got to: a CSV file into SQLite."""

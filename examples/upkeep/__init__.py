"""Jobs that keep an SQLite warehouse in order: purge, rebuild, refresh."""

"""The loops run on an empty database each test, once per kind of database."""

from tests.store.databases import (  # noqa: F401
    clock,
    database,
    database_url,
    migrated_postgres_url,
    migrated_sqlite_file,
    postgres_database,
    postgres_database_url,
    sqlite_database,
    sqlite_database_url,
)

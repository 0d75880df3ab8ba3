"""The operations run on an empty database each test, once per kind of database."""

import pytest

from queue_service.store.database import Database
from tests.operations.queue import Queue
from tests.store.databases import (  # noqa: F401
    clock,
    database,
    database_url,
    migrated_postgres_url,
    migrated_sqlite_file,
    postgres_database,
    postgres_database_url,
    sqlite_database_url,
)


@pytest.fixture
def queue(database: Database) -> Queue:  # noqa: F811
    return Queue(database)


@pytest.fixture
def postgres_queue(postgres_database: Database) -> Queue:  # noqa: F811
    return Queue(postgres_database)

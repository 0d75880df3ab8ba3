"""A running KV service on each database, without a server or time that passes by itself."""

from collections.abc import AsyncIterator

import pytest

from queue_service.store.database import Database
from tests.api.manual_clock import ManualClock
from tests.kv.running_kv import RunningKv
from tests.store.databases import (  # noqa: F401
    database,
    database_url,
    migrated_postgres_url,
    migrated_sqlite_file,
    postgres_database,
    postgres_database_url,
    sqlite_database,
    sqlite_database_url,
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def kv(database: Database, clock: ManualClock) -> AsyncIterator[RunningKv]:  # noqa: F811
    async with RunningKv(database, clock) as running:
        yield running

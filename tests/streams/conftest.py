"""Streams of a running queue on each database."""

from collections.abc import AsyncIterator

import pytest

from tests.api.conftest import (  # noqa: F401
    clock,
    database_kind,
    database_url,
    jobs,
    limits,
    long_poll,
    other_process,
    postgres_database,
    queue,
    second,
    secured,
    sqlite_database,
    terse_logs,
)
from tests.api.running_queue import RunningQueue
from tests.streams.running_streams import Streams, running_streams


@pytest.fixture
async def streams(queue: RunningQueue) -> AsyncIterator[Streams]:  # noqa: F811
    async with running_streams(queue) as running:
        yield running

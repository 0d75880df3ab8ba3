"""Whole services in this process, on databases of their own, for what their operators look at."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from queue_service.service import ROLES, Service
from queue_service.settings import Settings
from tests.api.asgi import Reply, request
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

TOKEN = "the-tests-know-this-access-token-of-root-1234"

Started = Callable[..., Awaitable[Service]]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of ours, in an empty directory."""
    for name in [name for name in os.environ if name.startswith(("TASKBUS_", "TASKCLUSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    """Starts a service with these settings, which ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(*, roles: frozenset[str] = ROLES, **settings: Any) -> Service:
            wanted = {"amqp_port": 0, "no_auth": True, "root_access_token": SecretStr(TOKEN), **settings}
            return await stack.enter_async_context(Service(Settings(**wanted), roles=roles))

        yield start


async def heartbeat(service: Service) -> Reply:
    return await request(service.application, "GET", "/api/queue/v1/__heartbeat__")


async def forgotten(service: Service) -> None:
    """Let the heartbeat look at the database again."""
    service.health._seen = None
    await asyncio.sleep(0)

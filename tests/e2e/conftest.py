"""Programs, fresh databases and names of their own for tests with real processes."""

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from tests.e2e.observer import Observer, observing
from tests.e2e.programs import Programs
from tests.servers.processes import free_port

MIGRATE_SECONDS: Final = 60.0

_numbers: Final = itertools.count()


@pytest.fixture
async def taskbus(tmp_path: Path) -> AsyncIterator[Programs]:
    """Starts the commands of ``taskbus`` and ends what it has started."""
    async with Programs(tmp_path) as programs:
        yield programs


@pytest.fixture
def name() -> str:
    """For a scheduler or a database that no other test uses."""
    return f"e2e-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
async def observer(rabbitmq_url: str, name: str) -> AsyncIterator[Observer]:
    """What RabbitMQ tells of the tasks of the scheduler ``name``."""
    async with observing(rabbitmq_url, name) as observer:
        yield observer


@pytest.fixture
def quick() -> dict[str, Any]:
    """Settings: a port that stays the same after a restart, and short times until others take over."""
    return {"port": free_port(), "claim_timeout": 2, "long_poll": 1, "relay_lease": 1}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Of a fresh database of either kind."""
    url: str = request.getfixturevalue(f"{request.param}_database_url")
    return url


@pytest.fixture
def sqlite_database_url(tmp_path: Path) -> str:
    """Of a file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'taskbus.sqlite'}"


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres_url: str) -> Iterator[str]:
    """A database as ``taskbus migrate`` makes it; to be copied."""
    url = asyncio.run(_create_database(postgres_url, f"e2e-{os.getpid()}-migrated", template=""))
    subprocess.run(
        [sys.executable, "-m", "taskbus", "migrate", "--database-url", url],
        check=True,
        capture_output=True,
        timeout=MIGRATE_SECONDS,
    )
    yield url
    asyncio.run(_drop_database(postgres_url, url))


@pytest.fixture
async def postgres_database_url(
    postgres_url: str, migrated_postgres_url: str, name: str
) -> AsyncIterator[str]:
    """A fresh database of the newest schema."""
    template = make_url(migrated_postgres_url).database or ""
    url = await _create_database(postgres_url, name, template=template)
    yield url
    await _drop_database(postgres_url, url)


@pytest.fixture
async def empty_postgres_url(postgres_url: str, name: str) -> AsyncIterator[str]:
    """A database that was never migrated."""
    url = await _create_database(postgres_url, name, template="")
    yield url
    await _drop_database(postgres_url, url)


async def _create_database(server_url: str, name: str, *, template: str) -> str:
    copied = f' TEMPLATE "{template}"' if template else ""
    await _administer(server_url, f'CREATE DATABASE "{name}"{copied}')
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


async def _drop_database(server_url: str, url: str) -> None:
    await _administer(server_url, f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')


async def _administer(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()

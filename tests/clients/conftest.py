"""One secured service per kind, shared by the tests of a session; each test uses tasks of its own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from tests.clients.callers import AioCaller, Caller, SyncCaller
from tests.clients.deployment import Deployment, deployed
from tests.clients.scene import Scene
from tests.clients.watch import Watch


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """SQLite and the built-in broker."""
    with deployed(tmp_path_factory.mktemp("laptop")) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def company(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, rabbitmq_url: str
) -> Iterator[Deployment]:
    """PostgreSQL and RabbitMQ."""
    name = f"clients-{os.getpid()}"
    asyncio.run(_administer(postgres_url, f'CREATE DATABASE "{name}"'))
    url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    subprocess.run(
        [sys.executable, "-m", "taskbus", "migrate", "--database-url", url], check=True, capture_output=True
    )
    try:
        with deployed(tmp_path_factory.mktemp("company"), url, rabbitmq_url) as deployment:
            yield deployment
    finally:
        asyncio.run(_administer(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _administer(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(
    params=["laptop", pytest.param("company", marks=[pytest.mark.postgres, pytest.mark.rabbitmq])]
)
def deployment(request: pytest.FixtureRequest) -> Deployment:
    found: Deployment = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=[SyncCaller, AioCaller], ids=["sync", "aio"])
def caller(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[Caller]:
    """The PyPI client, blocking and asynchronous, with the root client's credentials."""
    with request.param({"rootUrl": deployment.root_url, "credentials": deployment.root}) as made:
        yield made


@pytest.fixture
def options(deployment: Deployment) -> dict[str, Any]:
    """What a client is made with: root URL and root credentials."""
    return {"rootUrl": deployment.root_url, "credentials": deployment.root}


@pytest.fixture
def scene(options: dict[str, Any]) -> Iterator[Scene]:
    """A task queue and a group of the test's own."""
    with SyncCaller(options) as caller:
        yield Scene(caller)


@pytest.fixture
def watch(deployment: Deployment) -> Iterator[Watch]:
    """All events from now on, as a plain pika program hears them."""
    with Watch(deployment.amqp_url) as watch:
        yield watch

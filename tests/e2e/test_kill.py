"""SIGKILL at the worst moments: no event is lost or out of order, and no answered call is forgotten."""

import asyncio
import random
import signal
from typing import Any

import pytest

from tests.e2e.history import copies
from tests.e2e.load import Load
from tests.e2e.observer import Observer
from tests.e2e.programs import Programs
from tests.e2e.promise import assert_kept

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

TASKS = 60


async def test_killed_at_any_moment_under_load_it_loses_nothing(
    taskbus: Programs,
    observer: Observer,
    quick: dict[str, Any],
    database_url: str,
    rabbitmq_url: str,
    name: str,
) -> None:
    settings = {**quick, "database_url": database_url, "amqp_url": rabbitmq_url, "no_auth": True}
    server = await taskbus.serve(**settings)
    async with Load(server.root_url, name, TASKS) as load:
        working = asyncio.create_task(load.run())
        enough = random.randrange(20, 2 * TASKS)
        assert await observer.has_heard(enough)
        await server.kill()
        await taskbus.serve(**settings)
        await assert_kept(load, observer, working)


@pytest.mark.parametrize(
    ("point", "twice"),
    [
        pytest.param("outbox.published", True, id="published, not yet deleted"),
        pytest.param("outbox.deleted", False, id="deleted"),
    ],
)
async def test_killed_between_two_effects_it_loses_nothing(
    taskbus: Programs,
    observer: Observer,
    quick: dict[str, Any],
    postgres_database_url: str,
    rabbitmq_url: str,
    name: str,
    point: str,
    twice: bool,
) -> None:
    settings = {**quick, "database_url": postgres_database_url, "amqp_url": rabbitmq_url, "no_auth": True}
    server = await taskbus.serve(**settings, crash_at=point)
    async with Load(server.root_url, name, TASKS) as load:
        working = asyncio.create_task(load.run())
        assert await server.exit() == -signal.SIGKILL
        await taskbus.serve(**settings)
        await assert_kept(load, observer, working)
    assert (copies(observer.heard) > 0) == twice

"""The broker is away, is cut off or falls silent: the API goes on, events wait, and arrive in order."""

import asyncio
import json
from typing import Any

import pytest

from tests.e2e.history import copies
from tests.e2e.load import Load
from tests.e2e.observer import Observer
from tests.e2e.programs import Programs
from tests.e2e.promise import assert_kept
from tests.events.proxy import Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

AWAY = "the broker is away; events wait in the outbox, in order"
BACK = "relay connected to the broker"


async def test_away_at_the_start_the_api_answers_and_events_wait(
    taskbus: Programs,
    observer: Observer,
    quick: dict[str, Any],
    sqlite_database_url: str,
    rabbitmq_url: str,
    name: str,
) -> None:
    async with Proxy(rabbitmq_url) as broker:
        await broker.refuse()
        server = await taskbus.serve(**quick, database_url=sqlite_database_url, amqp_url=broker.url)
        async with Load(server.root_url, name, tasks=24) as load:
            working = asyncio.create_task(load.run())
            await working
            warning = json.loads(await server.line(AWAY, since=len(server.lines)))
            assert int(warning["waiting"]) > 3 * 24, "it did not say how many wait"
            assert observer.heard == []

            await broker.accept()
            await server.line(BACK)
            await assert_kept(load, observer, working)
            assert (load.unanswered, load.refusals) == (0, [])
    assert copies(observer.heard) == 0


@pytest.mark.postgres
@pytest.mark.parametrize(("trouble", "moments"), [("cut", (30, 100)), ("silent", (30,))])
async def test_lost_under_load_nothing_is_lost_and_the_order_is_kept(
    taskbus: Programs,
    observer: Observer,
    quick: dict[str, Any],
    postgres_database_url: str,
    rabbitmq_url: str,
    name: str,
    trouble: str,
    moments: tuple[int, ...],
) -> None:
    async with Proxy(rabbitmq_url) as broker:
        amqp_url = broker.url + "?heartbeat=1"
        server = await taskbus.serve(**quick, database_url=postgres_database_url, amqp_url=amqp_url)
        async with Load(server.root_url, name, tasks=60) as load:
            working = asyncio.create_task(load.run())
            for enough in moments:
                assert await observer.has_heard(enough)
                said = len(server.lines)
                if trouble == "cut":
                    await broker.cut()
                else:
                    broker.swallow()
                    await server.line(AWAY, since=said)
                    broker.flow()
                await server.line(BACK, since=said)
            await assert_kept(load, observer, working)
            assert (load.unanswered, load.refusals) == (0, [])

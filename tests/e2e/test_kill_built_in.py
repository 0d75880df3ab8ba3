"""``taskbus serve`` with its own broker, killed at random: a listener's durable queue loses nothing."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from aiormq.exceptions import AMQPError, ChannelInvalidStateError

from events.exchanges import EXCHANGES
from tests.e2e.load import Load
from tests.e2e.observer import Observer
from tests.e2e.programs import Programs
from tests.e2e.promise import assert_kept
from tests.servers.processes import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

TASKS = 60
KILLS = 2


@asynccontextmanager
async def acknowledging(amqp_url: str) -> AsyncIterator[Observer]:
    """Hears everything through a durable queue, acknowledges what it has heard, and comes back by itself."""
    observer = Observer()

    async def take(message: AbstractIncomingMessage) -> None:
        await observer._record(message)
        with suppress(AMQPError, ChannelInvalidStateError, ConnectionError):
            await message.ack()

    async with await aio_pika.connect_robust(amqp_url, reconnect_interval=0.2) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=20)
        queue = await channel.declare_queue("observer", durable=True)
        for exchange in EXCHANGES:
            await queue.bind(exchange.full_name, "#")
        await queue.consume(take)
        yield observer


async def test_killed_under_load_its_own_broker_loses_nothing(
    taskbus: Programs, quick: dict[str, Any], sqlite_database_url: str, name: str
) -> None:
    settings = {**quick, "database_url": sqlite_database_url, "amqp_port": free_port(), "no_auth": True}
    server = await taskbus.serve(**settings)
    async with acknowledging(server.amqp_url) as observer, Load(server.root_url, name, TASKS) as load:
        working = asyncio.create_task(load.run())
        for _ in range(KILLS):
            assert await observer.has_heard(len(observer.heard) + random.randrange(5, TASKS))
            await server.kill()
            server = await taskbus.serve(**settings)
        await assert_kept(load, observer, working)


async def test_a_queue_fills_while_its_listener_is_away_and_the_service_is_killed(
    taskbus: Programs, quick: dict[str, Any], sqlite_database_url: str, name: str
) -> None:
    settings = {**quick, "database_url": sqlite_database_url, "amqp_port": free_port(), "no_auth": True}
    server = await taskbus.serve(**settings)
    async with acknowledging(server.amqp_url):
        pass
    async with Load(server.root_url, name, TASKS) as load:
        working = asyncio.create_task(load.run())
        await asyncio.wait({working})
        await server.kill()
        server = await taskbus.serve(**settings)
        async with acknowledging(server.amqp_url) as observer:
            await assert_kept(load, observer, working)

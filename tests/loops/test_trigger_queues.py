"""Message triggers on a broker: a limit of three, ten messages, four processes (``seed-systems.md`` F.13)."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from events.exchanges import find_exchange
from queue_service.core.limits import Limits
from queue_service.features.firing.queues import MessageQueues
from queue_service.features.firing.sandbox import Sandbox
from queue_service.features.firing.task_maker import TaskMaker
from queue_service.features.triggers import definitions, fires, store
from queue_service.features.triggers.firing import TriggerFiring
from queue_service.features.triggers.on_message import MessageHandler
from queue_service.features.triggers.queue_rows import ListeningTriggers
from queue_service.store.database import Database
from schemas.ids import slugid
from schemas.triggers import CreateTriggerRequest
from tests.api.triggered import trigger
from tests.events.conftest import amqp_url  # noqa: F401

KEY = ("reports", "three-times")
EXCHANGE = "exchange/taskcluster-queue/v1/task-completed"


class Counting(MessageHandler):
    """Tells when all messages that were sent have been worked on."""

    def __init__(self, database: Database, firing: TriggerFiring, handled: asyncio.Semaphore) -> None:
        super().__init__(database, firing, slugid)
        self._handled = handled

    async def handle(self, *message: Any) -> bool:
        try:
            return await super().handle(*message)
        finally:
            self._handled.release()


@pytest.fixture
async def connection(amqp_url: str) -> AsyncIterator[AbstractConnection]:  # noqa: F811
    async with await aio_pika.connect(amqp_url) as opened:
        yield opened


async def test_a_limit_of_three_with_ten_messages_and_four_processes_is_three(
    amqp_url: str,  # noqa: F811
    sqlite_database: Database,
    connection: AbstractConnection,
) -> None:
    assert find_exchange(EXCHANGE) is not None
    channel = await connection.channel()
    exchange = await channel.declare_exchange(EXCHANGE, "topic", durable=True)
    maker = TaskMaker(sqlite_database, Limits(), Sandbox(), unrestricted=True)
    firing = TriggerFiring(sqlite_database, maker)
    handled = asyncio.Semaphore(0)
    queues = [
        MessageQueues(
            sqlite_database, amqp_url, ListeningTriggers(), Counting(sqlite_database, firing, handled)
        )
        for _ in range(4)
    ]
    request = CreateTriggerRequest.model_validate(
        trigger(message={"limit": 3, "filterType": ["job-finished"]})
    )
    await sqlite_database.write(lambda tx: definitions.create(tx, KEY, request, lambda: 0.0))
    for one in queues:
        one.start()
        await reconciled(one)
    for number in range(10):
        sent = json.dumps({"status": {"taskId": slugid()}, "runId": number}).encode()
        key = f"primary.{slugid()}.0.g.w.prov.linux.-.{slugid()}._"
        await exchange.publish(aio_pika.Message(sent, message_id=str(number)), key)
    async with asyncio.timeout(60):
        for _ in range(3):
            await handled.acquire()
    async with asyncio.timeout(60):
        while (await state(sqlite_database)) != "exhausted":
            await asyncio.wait_for(handled.acquire(), 30)
    async with sqlite_database.read() as reading:
        recorded = await fires.last(reading, KEY, 50)
    assert [fire.outcome for fire in recorded] == ["created"] * 3
    for one in queues:
        await reconciled(one)
    async with asyncio.timeout(60):
        while await exists(connection, queues[0].name_of(KEY)):
            await reconciled(queues[0])
    for one in queues:
        await one.stop()


async def reconciled(queues: MessageQueues) -> None:
    """Wait until the queues have been looked at anew."""
    queues.reconciled.clear()
    queues._stirred.set()
    async with asyncio.timeout(30):
        await queues.reconciled.wait()


async def state(database: Database) -> str:
    async with database.read() as reading:
        found = await store.get(reading, KEY)
    assert found is not None
    return found.state


async def exists(connection: AbstractConnection, name: str) -> bool:
    channel = await connection.channel()
    try:
        await channel.get_queue(name)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True

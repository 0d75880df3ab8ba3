"""The relay on a real broker: order per task, a link that is cut in the middle, a queue that refuses."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, Final

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from events.errors import BrokerUnavailable
from events.messages import OutboundMessage
from events.publisher import Publisher
from queue_service.core import transitions
from queue_service.core.task import Change
from queue_service.loops import retries
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.store import outbox
from queue_service.store.database import Database
from schemas.ids import slugid
from tests.core.samples import CLAIM_TIMEOUT, HELD_BY, NOW, new_ids, task
from tests.events.proxy import Proxy
from tests.loops.outbox_rows import ALL

LIFE: Final = ["task-defined", "task-pending", "task-running", "task-completed"]
EXCHANGES: Final = [f"exchange/taskcluster-queue/v1/{name}" for name in LIFE]


def life(task_id: str, route: str) -> list[Change]:
    """A task is created, claimed and completed."""
    created = transitions.create(task(task_id=task_id, routes=(route,)), NOW, unmet_dependencies=False)
    claimed = transitions.claim(created.after, NOW, NOW + CLAIM_TIMEOUT, **HELD_BY)
    return [created, claimed, transitions.report(claimed.after, 0, "completed", NOW)]


async def record_lives(database: Database, route: str, task_ids: list[str]) -> None:
    """The lives of these tasks, all at once: the first change of each, then the second, then the third."""
    lives = [life(task_id, route) for task_id in task_ids]
    changes = itertools.chain(*zip(*lives, strict=True))
    await database.write(lambda tx: outbox.record(tx, outbox.messages_of(changes)))


async def recorded_ids(database: Database) -> list[str]:
    async with database.read() as connection:
        return [str(row.id) for row in await connection.execute(ALL)]


class Inbox:
    """What a listener gets, in order."""

    def __init__(self, queue: AbstractQueue) -> None:
        self.queue = queue
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def open(self) -> None:
        await self.queue.consume(self._arrived.put, no_ack=True)

    async def first_of_each(self, message_ids: list[str]) -> list[AbstractIncomingMessage]:
        """The first delivery of each of these messages, in the order of arrival."""
        missing, found = set(message_ids), list[AbstractIncomingMessage]()
        while missing:
            message = await self._arrived.get()
            if message.message_id in missing:
                missing.discard(message.message_id)
                found.append(message)
        return found


def lives_told(messages: list[AbstractIncomingMessage]) -> dict[str, list[str]]:
    """What was told of each task, in the order of arrival."""
    told: dict[str, list[str]] = {}
    for message in messages:
        task_id = json.loads(message.body)["status"]["taskId"]
        told.setdefault(task_id, []).append(str(message.exchange).rpartition("/")[2])
    return told


@pytest.fixture
async def channel(rabbitmq_url: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(rabbitmq_url)
    async with connection:
        yield await connection.channel()


@pytest.fixture
def route() -> str:
    """A route that no other test uses."""
    return slugid()


async def bound_queue(channel: AbstractChannel, pattern: str, **arguments: Any) -> AbstractQueue:
    queue = await channel.declare_queue(exclusive=True, arguments=arguments)
    for exchange in EXCHANGES:
        await channel.declare_exchange(exchange, "topic", durable=True)
        await queue.bind(exchange, pattern)
    return queue


@pytest.fixture
async def inbox(channel: AbstractChannel, route: str) -> Inbox:
    made = Inbox(await bound_queue(channel, f"route.{route}"))
    await made.open()
    return made


async def test_every_task_is_told_in_order(
    sqlite_database: Database, rabbitmq_url: str, inbox: Inbox, route: str
) -> None:
    task_ids = new_ids(25)
    await record_lives(sqlite_database, route, task_ids)
    message_ids = await recorded_ids(sqlite_database)
    relay = OutboxRelay(sqlite_database, Publisher(rabbitmq_url), "test", idle=timedelta(hours=1))
    assert await relay.run_once() == 100
    arrived = await inbox.first_of_each(message_ids)
    assert lives_told(arrived) == dict.fromkeys(task_ids, LIFE)
    assert await recorded_ids(sqlite_database) == []
    await relay.stop()


class CutPublisher(Publisher):
    """Loses its link once, after some messages were confirmed and while others are under way."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(proxy.url)
        self._proxy = proxy
        self._some_confirmed = asyncio.Event()
        self._to_cut = True

    def send(self, message: OutboundMessage, settled: Callable[[bool], None]) -> None:
        def seen(confirmed: bool) -> None:
            self._some_confirmed.set()
            settled(confirmed)

        super().send(message, seen)

    async def writable(self) -> None:
        if self._to_cut:
            self._to_cut = False
            await self._some_confirmed.wait()
            await self._proxy.cut()
        await super().writable()


async def test_after_a_cut_link_the_rest_is_published_again_with_the_same_ids_in_order(
    sqlite_database: Database, rabbitmq_url: str, inbox: Inbox, route: str
) -> None:
    task_ids = new_ids(50)
    await record_lives(sqlite_database, route, task_ids)
    message_ids = await recorded_ids(sqlite_database)
    async with Proxy(rabbitmq_url) as proxy:
        relay = OutboxRelay(sqlite_database, CutPublisher(proxy), "test", idle=timedelta(hours=1))
        with pytest.raises(BrokerUnavailable):
            await relay.run_once()
        left = await recorded_ids(sqlite_database)
        assert 0 < len(left) < len(message_ids)
        assert await relay.run_once() == len(left)
        await relay.stop()
    arrived = await inbox.first_of_each(message_ids)
    assert lives_told(arrived) == dict.fromkeys(task_ids, LIFE)
    assert await recorded_ids(sqlite_database) == []


async def test_a_refused_message_holds_back_its_task_only(
    sqlite_database: Database,
    rabbitmq_url: str,
    inbox: Inbox,
    route: str,
    channel: AbstractChannel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0)
    stuck, *_ = task_ids = new_ids(5)
    full = await bound_queue(
        channel, f"primary.{stuck}.#", **{"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    await record_lives(sqlite_database, route, task_ids)
    message_ids = await recorded_ids(sqlite_database)
    relay = OutboxRelay(sqlite_database, Publisher(rabbitmq_url), "test", idle=timedelta(hours=1))
    assert await relay.run_once() == 4 * len(task_ids)
    assert len(await recorded_ids(sqlite_database)) == 3
    for left in (2, 1, 0):
        await full.purge()
        assert await relay.run_once() == 1
        assert len(await recorded_ids(sqlite_database)) == left
    assert lives_told(await inbox.first_of_each(message_ids)) == dict.fromkeys(task_ids, LIFE)
    await relay.stop()

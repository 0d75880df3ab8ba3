"""The outbox relay against publishing the same messages without an outbox, with three libraries."""

import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import aio_pika
import aiormq
import asyncpg
from pamqp.commands import Basic
from sqlalchemy.engine import make_url

from benchmarks.environment import LOOK_AGAIN_SECONDS, POSTGRES, SQLITE, Environment
from benchmarks.listener import bind_queue, delete_queue
from benchmarks.load import run_loop
from benchmarks.measuring import EventsLost, Quantities
from benchmarks.own_process import in_own_process
from benchmarks.report import Section
from benchmarks.tasks import GROUP_SIZE, definition
from events.messages import OutboundMessage, encode
from events.publisher import Publisher, Settled
from queue_service.clock import SystemClock
from queue_service.core import transitions
from queue_service.core.definition import complete, unscheduled_task
from queue_service.logs import configure_logs
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.store import outbox
from queue_service.store.database import Database, open_database
from queue_service.store.migrations import runner
from queue_service.store.outbox import Outgoing
from schemas.ids import slugid
from schemas.queue import CreateTaskRequest
from schemas.times import truncate

METHOD = """\
20,000 persistent messages of about 0.5 KB with two CC routes, two messages for each of 10,000 tasks, into
exchanges bound to one durable queue that nobody consumes; it is counted at the end, and a run with a message
too few or too many fails. The relay finds them in its outbox, in an otherwise empty database, and its time
ends when the outbox is empty: so it catches up after an absence of the broker. Then once more while the same
process records them, 64 in a transaction, one after the other: so it keeps up. The others have them in
memory: our publisher sends without waiting for confirms, aiormq and aio-pika publish 500 at a time and await
their confirms. Each runs in a process of its own with uvloop; times include connecting. The built-in broker
runs in the process of a server that is idle otherwise, while the relay usually shares it. 3 runs, all in
turn."""
TARGET = "Target: the relay confirms at least 0.8 times what the same publisher bare does"

MESSAGES = 20_000
QUICK_MESSAGES = 4_000
RECORD_AT_ONCE = 1_000
SEND_AT_ONCE = 64
RECORD_LIVE = 64
WINDOW = 500
LONGEST_SECONDS = 300.0
RELAY: Final = "relay from the outbox"
LIVE: Final = "relay while they are recorded"
OURS: Final = "our publisher bare"


@dataclass(frozen=True, slots=True)
class Published:
    """What a publishing process needed for all messages until they were confirmed."""

    seconds: float
    cpu_seconds: float


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Outbox relay", METHOD, notes=[TARGET])
    count = QUICK_MESSAGES if quick else MESSAGES
    for variant in (POSTGRES, SQLITE):
        runs: dict[str, list[Quantities]] = {}
        async with _broker(environment, variant) as amqp_url, _database(environment, variant) as database_url:
            for _ in range(1 if quick else 3):
                await _preload(database_url, count)
                publishing: dict[str, Callable[[], Published]] = {
                    RELAY: partial(relay, database_url, amqp_url, count),
                    LIVE: partial(relay, database_url, amqp_url, count, recording=True),
                    OURS: partial(bare, _with_publisher, amqp_url, count),
                    "aiormq bare": partial(bare, _with_aiormq, amqp_url, count),
                    "aio-pika": partial(bare, _with_aio_pika, amqp_url, count),
                }
                for name, publish in publishing.items():
                    runs.setdefault(name, []).append(await _measure(amqp_url, publish, count))
        for name, quantities in runs.items():
            section.add(f"{variant}, {name}", quantities)
        for name in list(runs)[1:]:
            section.ratio("confirmed", f"{variant}, {RELAY}", f"{variant}, {name}")
    return section


async def _measure(amqp_url: str, publish: Callable[[], Published], count: int) -> Quantities:
    queue = f"taskbus.bench.{uuid.uuid4().hex[:12]}"
    await bind_queue(amqp_url, queue)
    try:
        published = await in_own_process(publish)
    finally:
        queued = await delete_queue(amqp_url, queue)
    if queued != count:
        raise EventsLost(f"{count} messages confirmed, {queued} in the queue")
    return {
        ("confirmed", "messages/s"): count / published.seconds,
        ("publisher", "CPU µs/message"): published.cpu_seconds / count * 1e6,
    }


# ---- what is published, where from and where to --------------------------------------------------------


@asynccontextmanager
async def _broker(environment: Environment, variant: str) -> AsyncIterator[str]:
    """The AMQP URL of RabbitMQ, or of the broker that an otherwise idle server on SQLite has built in."""
    if variant == POSTGRES:
        yield environment.amqp_url
    else:
        async with environment.service(SQLITE) as service:
            yield service.amqp_url


@asynccontextmanager
async def _database(environment: Environment, variant: str) -> AsyncIterator[str]:
    """A fresh database with our schema that no server uses."""
    if variant == SQLITE:
        with tempfile.TemporaryDirectory(prefix="taskbus-bench-") as folder:
            url = f"sqlite:///{folder}/taskbus.sqlite"
            await _migrate(url)
            yield url
        return
    server = await asyncpg.connect(environment.postgres_url)
    name = f"taskbus_bench_{uuid.uuid4().hex[:12]}"
    try:
        await server.execute(f"CREATE DATABASE {name}")
        try:
            url = make_url(environment.postgres_url).set(database=name).render_as_string(hide_password=False)
            await _migrate(url)
            yield url
        finally:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


async def _migrate(database_url: str) -> None:
    database = open_database(database_url, SystemClock())
    try:
        await runner.migrate(database)
    finally:
        await database.close()


async def _preload(database_url: str, count: int) -> None:
    outgoing = _outgoing(count)
    database = open_database(database_url, SystemClock())
    try:
        for start in range(0, count, RECORD_AT_ONCE):
            part = outgoing[start : start + RECORD_AT_ONCE]
            await database.write(partial(outbox.record, outgoing=part))
    finally:
        await database.close()


def _outgoing(count: int) -> list[Outgoing]:
    """The messages of newly created tasks: task-defined and task-pending of each."""
    now = truncate(datetime.now(UTC))
    changes = []
    for number in range(count // 2):
        if number % GROUP_SIZE == 0:
            group_id = slugid()
        task_id = slugid()
        request = CreateTaskRequest.from_json(json.dumps(definition(number, "relay", group_id, now)))
        unscheduled = unscheduled_task(task_id, complete(task_id, request))
        changes.append(transitions.create(unscheduled, now, unmet_dependencies=False))
    return outbox.messages_of(changes)


# ---- the publishing processes --------------------------------------------------------------------------


class _Announcing(Publisher):
    """Announces when so many messages are confirmed, or that one was refused."""

    def __init__(self, url: str, count: int) -> None:
        super().__init__(url)
        self.all_confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = count

    def send(self, message: OutboundMessage, settled: Settled) -> None:
        def counted(confirmed: bool) -> None:
            self._left -= 1
            if self.all_confirmed.done():
                pass
            elif not confirmed:
                self.all_confirmed.set_exception(EventsLost("the broker refused a message"))
            elif self._left == 0:
                self.all_confirmed.set_result(None)
            settled(confirmed)

        super().send(message, counted)


def relay(database_url: str, amqp_url: str, count: int, *, recording: bool = False) -> Published:
    """Let the relay empty the outbox, which is full or, when ``recording``, filled meanwhile; run this in a
    process of its own.
    """
    configure_logs("WARNING", "auto")
    outgoing = _outgoing(count) if recording else []

    async def run() -> Published:
        database = open_database(database_url, SystemClock())
        publisher = _Announcing(amqp_url, count)
        relay = OutboxRelay(database, publisher, "benchmark", idle=timedelta(seconds=1))
        database.subscribe(lambda signal: relay.nudge())
        cpu, started = time.process_time(), time.monotonic()
        relay.start()
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                for start in range(0, len(outgoing), RECORD_LIVE):
                    part = outgoing[start : start + RECORD_LIVE]
                    await database.write(partial(outbox.record, outgoing=part))
                await publisher.all_confirmed
                while not await _is_empty(database):  # noqa: ASYNC110 (the relay announces it to nobody)
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
            return Published(time.monotonic() - started, time.process_time() - cpu)
        finally:
            await relay.stop()
            await database.close()

    return run_loop(run)


async def _is_empty(database: Database) -> bool:
    async with database.read() as connection:
        return await outbox.depth(connection) == 0


Way = Callable[[str, Sequence[OutboundMessage]], Coroutine[Any, Any, None]]
"""Connects to the AMQP URL and publishes the messages; returns when all are confirmed."""


def bare(way: Way, amqp_url: str, count: int) -> Published:
    """Publish messages that are in memory; run this in a process of its own."""
    messages = [
        replace(encode(outgoing.message, outgoing.routes), message_id=str(number))
        for number, outgoing in enumerate(_outgoing(count), 1)
    ]

    async def run() -> Published:
        cpu, started = time.process_time(), time.monotonic()
        async with asyncio.timeout(LONGEST_SECONDS):
            await way(amqp_url, messages)
        return Published(time.monotonic() - started, time.process_time() - cpu)

    return run_loop(run)


async def _with_publisher(amqp_url: str, messages: Sequence[OutboundMessage]) -> None:
    publisher = _Announcing(amqp_url, len(messages))
    await publisher.connect()
    for start in range(0, len(messages), SEND_AT_ONCE):
        for message in messages[start : start + SEND_AT_ONCE]:
            publisher.send(message, _counted_already)
        await publisher.writable()
    await publisher.all_confirmed
    await publisher.close()


def _counted_already(confirmed: bool) -> None:
    """Nothing more is to be done about a confirm."""


async def _with_aiormq(amqp_url: str, messages: Sequence[OutboundMessage]) -> None:
    connection = await aiormq.connect(amqp_url)
    channel = await connection.channel(publisher_confirms=True)
    for start in range(0, len(messages), WINDOW):
        await asyncio.gather(
            *(
                channel.basic_publish(
                    message.body,
                    exchange=message.exchange,
                    routing_key=message.routing_key,
                    properties=Basic.Properties(
                        content_type="application/json",
                        content_encoding="utf-8",
                        headers={"CC": list(message.cc)},
                        delivery_mode=2,
                        message_id=message.message_id,
                    ),
                )
                for message in messages[start : start + WINDOW]
            )
        )
    await connection.close()


async def _with_aio_pika(amqp_url: str, messages: Sequence[OutboundMessage]) -> None:
    connection = await aio_pika.connect(amqp_url)
    channel = await connection.channel(publisher_confirms=True)
    exchanges = {
        name: await channel.get_exchange(name) for name in {message.exchange for message in messages}
    }
    for start in range(0, len(messages), WINDOW):
        await asyncio.gather(
            *(
                exchanges[message.exchange].publish(
                    aio_pika.Message(
                        message.body,
                        content_type="application/json",
                        content_encoding="utf-8",
                        headers={"CC": list(message.cc)},
                        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                        message_id=message.message_id,
                    ),
                    message.routing_key,
                )
                for message in messages[start : start + WINDOW]
            )
        )
    await connection.close()

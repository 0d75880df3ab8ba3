"""A worker that its manager stopped loses its runs at once (``queue-behaviour.md`` 6.7)."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractExchange

from events import UndecodableMessage
from queue_service.loops import worker_removal
from queue_service.loops.worker_removal import WorkerRemoval
from queue_service.store.database import Database
from schemas.ids import slugid
from tests.core.samples import new_ids, task
from tests.events.conftest import amqp_url  # noqa: F401
from tests.operations.queue import Queue, creation, request
from tests.store.manual_clock import ManualClock

A, B, C, D = new_ids(4)
GONE: Final = {"workerPoolId": "prov/type", "workerGroup": "eu-1", "workerId": "w-1"}


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


@pytest.fixture
def removal(database: Database) -> WorkerRemoval:
    """Not started: messages are given to it by hand."""
    return WorkerRemoval(database, "amqp://nowhere", exchanges=["exchange/x"], queue="removal")


async def test_running_runs_end_as_worker_shutdown_and_are_retried(
    queue: Queue, removal: WorkerRemoval
) -> None:
    await queue.create_all(creation(A), creation(B, retries=0))
    await queue.claim(request(2))
    await queue.messages()
    await removal.on_message(GONE | {"launchConfigId": "of a newer version"})
    assert await queue.states(A, B) == ["pending", "exception"]
    stored = await queue.task(A)
    assert stored is not None
    assert [(run.state, run.reason_resolved) for run in stored.runs] == [
        ("exception", "worker-shutdown"),
        ("pending", None),
    ]
    assert stored.retries_left == 4
    assert await queue.told() == [f"task-exception {A} 0", f"task-pending {A} 1", f"task-exception {B} 0"]


async def test_only_what_this_worker_is_running_ends(queue: Queue, removal: WorkerRemoval) -> None:
    await queue.create_all(creation(A), creation(B), creation(C, taskQueueId="prov/other"), creation(D))
    await queue.claim(request(worker="w-2"))
    await queue.claim(request(queue_id="prov/other"))
    await queue.end(B)
    await removal.on_message(GONE)
    assert await queue.states(A, B, C, D) == ["running", "completed", "running", "pending"]


async def test_a_repeated_message_changes_and_tells_nothing(queue: Queue, removal: WorkerRemoval) -> None:
    await queue.create(A)
    await queue.claim(request())
    await removal.on_message(GONE)
    await queue.messages()
    await removal.on_message(GONE)
    assert await queue.told() == []
    await queue.claim(request(worker="w-2"))
    await removal.on_message(GONE)
    assert await queue.states(A) == ["running"]


async def test_of_very_many_runs_all_end(
    queue: Queue, removal: WorkerRemoval, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_removal, "BATCH", 3)
    ids = new_ids(7)
    await queue.given(*(task("scheduled running", task_id=task_id) for task_id in ids))
    await removal.on_message(GONE)
    assert set(await queue.states(*ids)) == {"pending"}


async def test_a_claim_that_just_ran_out_is_taken_once(
    queue: Queue, removal: WorkerRemoval, clock: ManualClock
) -> None:
    await queue.create(A)
    await queue.claim(request())
    clock.advance(hours=1)
    await asyncio.gather(queue.expire_claims(), removal.on_message(GONE))
    stored = await queue.task(A)
    assert stored is not None
    assert [run.state for run in stored.runs] == ["exception", "pending"]


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "w-1",
        {},
        GONE | {"workerPoolId": "no-queue"},
        GONE | {"workerId": 7},
        GONE | {"workerGroup": ""},
    ],
)
async def test_a_message_that_names_no_worker_is_refused(sqlite_database: Database, message: Any) -> None:
    removal = WorkerRemoval(sqlite_database, "amqp://nowhere", exchanges=["exchange/x"], queue="removal")
    with pytest.raises(UndecodableMessage):
        await removal.on_message(message)


# ---- on a broker --------------------------------------------------------------------------------------


@pytest.fixture
async def channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:  # noqa: F811
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        yield await connection.channel()


@pytest.fixture
async def manager(channel: AbstractChannel) -> AsyncIterator[AbstractExchange]:
    """Where a worker-manager tells of its workers."""
    exchange = await channel.declare_exchange(f"test-manager-{slugid()}", "topic", durable=True)
    yield exchange
    await exchange.delete()


@pytest.fixture
async def listening(
    amqp_url: str,  # noqa: F811
    sqlite_database: Database,
    channel: AbstractChannel,
    manager: AbstractExchange,
) -> AsyncIterator[WorkerRemoval]:
    name = f"test-removal-{slugid()}"
    removal = WorkerRemoval(sqlite_database, amqp_url, exchanges=[manager.name], queue=name)
    await removal.start()
    await removal.listener.ready()
    yield removal
    await removal.stop()
    for suffix in ("", ".dead", ".retry.1000ms", ".retry.4000ms", ".retry.16000ms", ".retry.60000ms"):
        await channel.queue_delete(name + suffix)


async def tell(manager: AbstractExchange, message: object) -> None:
    await manager.publish(aio_pika.Message(json.dumps(message).encode()), routing_key="primary.any.key")


async def dead_letter(channel: AbstractChannel, removal: WorkerRemoval) -> bytes:
    """The first message that nobody could read."""
    name = removal.listener._consumers[0].subscription.name
    dead = await channel.get_queue(f"{name}.dead")
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        arrived.put_nowait(message.body)

    await dead.consume(take, no_ack=True)
    async with asyncio.timeout(10):
        return await arrived.get()


async def test_a_told_removal_ends_the_runs(
    sqlite_database: Database, listening: WorkerRemoval, manager: AbstractExchange
) -> None:
    queue = Queue(sqlite_database)
    ended = asyncio.Event()
    await queue.create(A)
    await queue.claim(request())
    sqlite_database.subscribe(lambda signal: ended.set())
    await tell(manager, GONE)
    async with asyncio.timeout(10):
        await ended.wait()
    assert await queue.states(A) == ["pending"]


async def test_a_message_that_cannot_be_read_is_put_aside_and_the_next_is_heard(
    sqlite_database: Database, listening: WorkerRemoval, manager: AbstractExchange, channel: AbstractChannel
) -> None:
    queue = Queue(sqlite_database)
    ended = asyncio.Event()
    await queue.create(A)
    await queue.claim(request())
    sqlite_database.subscribe(lambda signal: ended.set())
    await tell(manager, {"workerId": "w-1"})
    await tell(manager, GONE)
    async with asyncio.timeout(10):
        await ended.wait()
    assert json.loads(await dead_letter(channel, listening)) == {"workerId": "w-1"}

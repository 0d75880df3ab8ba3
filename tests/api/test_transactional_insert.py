"""Jobs inserted by the transaction of a user's own SQLAlchemy session: they exist exactly if it commits."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from queue_service.store.notifications import Notifications
from queue_service.store.signals import OutboxFilled, QueueFilled, Signal
from taskbus import Queue
from taskbus.errors import InputError
from taskbus.jobs import Hook, Insertion, Job, JobOptions, Taskbus, Unique
from tests.api.running_queue import RunningQueue

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("database_kind", ["postgres"])]


class SendInvoice(Job):
    customer: int
    options = JobOptions(queue="taskbus-ci/b-linux-medium", max_attempts=3)


@asynccontextmanager
async def own_session(url: str) -> AsyncIterator[AsyncSession]:
    """A session of the user's, with a table of the user's that ends with it."""
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    try:
        async with AsyncSession(engine) as session:
            await session.execute(text("CREATE TEMPORARY TABLE orders (number integer)"))
            await session.commit()
            yield session
    finally:
        await engine.dispose()


@contextmanager
def blocking_session(url: str) -> Iterator[Session]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with Session(engine) as session:
            yield session
    finally:
        engine.dispose()


@pytest.fixture
def bus(queue: RunningQueue) -> Taskbus:
    return bus_of(queue)


def bus_of(queue: RunningQueue, **options: Any) -> Taskbus:
    return Taskbus(Queue("http://nobody.invalid"), now=queue.clock.now, **options)


ORDER = text("INSERT INTO orders VALUES (1)")
ORDERS = text("SELECT count(*) FROM orders")


async def test_a_job_exists_when_the_transaction_has_committed(
    queue: RunningQueue, bus: Taskbus, database_url: str
) -> None:
    async with own_session(database_url) as session:
        await session.execute(ORDER)
        result = await bus.insert_in(session, SendInvoice(customer=7))
        assert result.created
        assert await queue.claim() == []
        assert await queue.events() == []
        await session.commit()
    assert await queue.events() == [("task-defined", None), ("task-pending", 0)]
    (claim,) = await queue.claim()
    assert claim["status"]["taskId"] == result.task_id
    assert claim["task"]["payload"] == {"kind": "SendInvoice", "args": {"customer": 7}}


async def test_a_job_does_not_exist_when_the_transaction_was_rolled_back(
    queue: RunningQueue, bus: Taskbus, database_url: str
) -> None:
    before = await queue.stored()
    async with own_session(database_url) as session:
        result = await bus.insert_in(session, SendInvoice(customer=7))
        await session.rollback()
    assert (await queue.call("GET", f"/task/{result.task_id}")).status == 404
    assert await queue.stored() == before


async def test_the_same_is_written_as_by_the_service(
    queue: RunningQueue, bus: Taskbus, database_url: str
) -> None:
    async with own_session(database_url) as session:
        mine = (await bus.insert_in(session, SendInvoice(customer=7), priority="high")).task_id
        await session.commit()
    definition = await queue.get(f"/task/{mine}")
    del definition["taskGroupId"]
    theirs = await queue.create(task_id=Insertion(SendInvoice(customer=7)).task_id, **definition)
    own = {"task_id", "task_group_id", "queue_order", "definition", "id", "routing_key", "body", "order_keys"}
    rows = {}
    async with queue.database.read() as connection:
        for table in ("tasks", "task_definitions"):
            found = await connection.execute(text(f"SELECT * FROM {table} ORDER BY task_id"))
            one, other = (row._asdict() for row in found)
            rows[table] = [
                {key: value for key, value in row.items() if key not in own} for row in (one, other)
            ]
            assert {one["task_id"], other["task_id"]} == {mine, theirs}
        told = (await connection.execute(text("SELECT * FROM outbox ORDER BY id"))).all()
    assert all(one == other for one, other in rows.values())
    assert [row.exchange for row in told[:2]] == [row.exchange for row in told[2:]]
    assert [row.body for row in told[:2]] == [row.body.replace(theirs, mine) for row in told[2:]]


async def test_waiting_workers_and_the_relay_are_woken_by_the_commit(
    queue: RunningQueue, bus: Taskbus, database_url: str
) -> None:
    heard: asyncio.Queue[Signal] = asyncio.Queue()
    notifications = Notifications(queue.database, "process")
    notifications.start()
    try:
        await notifications.listening.wait()
        queue.database.subscribe(heard.put_nowait)
        async with own_session(database_url) as session:
            await bus.insert_in(session, SendInvoice(customer=7))
            await session.commit()
        signals = {await heard.get() for _ in range(4)}
    finally:
        await notifications.stop()
    assert {QueueFilled("taskbus-ci/b-linux-medium"), OutboxFilled()} <= signals


async def test_many_jobs_are_inserted_together(queue: RunningQueue, bus: Taskbus, database_url: str) -> None:
    async with own_session(database_url) as session:
        results = await bus.insert_many_in(session, [SendInvoice(customer=number) for number in range(50)])
        await session.commit()
    claims = await queue.claim(tasks=32)
    assert [claim["status"]["taskId"] for claim in claims] == [result.task_id for result in results[:32]]


async def test_a_duplicate_is_the_job_that_is_there(
    queue: RunningQueue, bus: Taskbus, database_url: str
) -> None:
    class Remind(Job):
        customer: int
        options = JobOptions(unique=Unique(by_args=True))

    async with own_session(database_url) as session:
        first = await bus.insert_in(session, Remind(customer=1))
        again = await bus.insert_in(session, Remind(customer=1))
        await session.commit()
    assert (again.task_id, again.created, again.unique_skipped_as_duplicate) == (first.task_id, False, True)


async def test_a_refusal_leaves_the_transaction_as_it_was(
    queue: RunningQueue, bus: Taskbus, database_url: str
) -> None:
    before = await queue.stored()
    far = queue.clock.now() + timedelta(days=30)
    async with own_session(database_url) as session:
        await session.execute(ORDER)
        with pytest.raises(InputError, match="at most 5 days in the future"):
            await bus.insert_in(session, SendInvoice(customer=7), run_at=far)
        jobs = [SendInvoice(customer=1), Insertion(SendInvoice(customer=2), {"dependencies": ["A" * 22]})]
        with pytest.raises(ValueError, match="dependencies"):
            await bus.insert_many_in(session, jobs)
        await session.commit()
        assert (await session.execute(ORDERS)).scalar_one() == 1
    assert await queue.stored() == before


async def test_an_error_of_middleware_after_the_insertion_undoes_it(
    queue: RunningQueue, database_url: str
) -> None:
    async def fails(jobs: Any, next: Any) -> Any:
        await next(jobs)
        raise ValueError("after")

    before = await queue.stored()
    async with own_session(database_url) as session:
        await session.execute(ORDER)
        with pytest.raises(ValueError, match="after"):
            await bus_of(queue, middleware=[fails]).insert_in(session, SendInvoice(customer=7))
        await session.commit()
        assert (await session.execute(ORDERS)).scalar_one() == 1
    assert await queue.stored() == before


async def test_a_synchronous_session_does_the_same(
    queue: RunningQueue, bus: Taskbus, database_url: str
) -> None:
    def work() -> tuple[str, str]:
        with blocking_session(database_url) as session:
            undone = bus.insert_in(session, SendInvoice(customer=6))
            session.rollback()
            kept = bus.insert_in(session, SendInvoice(customer=7))
            session.commit()
        return undone.task_id, kept.task_id

    undone, kept = await asyncio.to_thread(work)
    assert (await queue.call("GET", f"/task/{undone}")).status == 404
    (claim,) = await queue.claim()
    assert claim["status"]["taskId"] == kept


async def test_hooks_may_not_wait_in_a_synchronous_session(queue: RunningQueue, database_url: str) -> None:
    class Slow(Hook):
        async def insert_begin(self, insertion: Insertion) -> None:
            await asyncio.sleep(0)

    before = await queue.stored()

    def work() -> None:
        with blocking_session(database_url) as session:
            with pytest.raises(RuntimeError, match="may not wait"):
                bus_of(queue, hooks=[Slow()]).insert_in(session, SendInvoice(customer=7))
            session.commit()

    await asyncio.to_thread(work)
    assert await queue.stored() == before


async def test_another_database_is_refused(bus: Taskbus) -> None:
    with (
        Session(create_engine("sqlite://")) as session,
        pytest.raises(ValueError, match=r"expected one on PostgreSQL, .* got sqlite"),
    ):
        bus.insert_in(session, SendInvoice(customer=7))

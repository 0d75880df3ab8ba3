"""Transactions: all or nothing, told after the commit, tried again after a lost race."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from queue_service.store import database as database_module
from queue_service.store import outbox, sqlite, tasks
from queue_service.store.database import Concurrent, Database, StoreUnavailable, Tx, normal_url, open_database
from queue_service.store.outbox import Outgoing
from queue_service.store.signals import OutboxFilled, QueueFilled, Signal, TasksResolved
from queue_service.store.statements import Connection
from tests.core.samples import NOW, new_ids, task
from tests.events.proxy import Proxy
from tests.store.databases import DISCONNECT, administer, opened
from tests.store.given import read, store
from tests.store.manual_clock import ManualClock
from tests.store.test_outbox import PENDING


async def test_a_script_is_committed_and_its_result_given_back(database: Database) -> None:
    async def script(tx: Tx) -> str:
        await outbox.record(tx, [Outgoing(PENDING, (), ())])
        return "done"

    assert await database.write(script) == "done"
    assert await read(database, outbox.depth) == 1


async def test_a_script_that_fails_leaves_nothing(database: Database) -> None:
    seen: list[Signal] = []
    database.subscribe(seen.append)

    async def script(tx: Tx) -> None:
        await outbox.record(tx, [Outgoing(PENDING, (), ())])
        raise LookupError("the script's own")

    with pytest.raises(LookupError, match="the script's own"):
        await database.write(script)
    assert await read(database, outbox.depth) == 0
    assert seen == []


async def test_steps_of_runs_count_when_they_are_committed(database: Database) -> None:
    async def script(tx: Tx) -> None:
        tx.count([("running", ""), ("running", "")])

    async def failing(tx: Tx) -> None:
        tx.count([("running", "")])
        raise LookupError

    await database.write(script)
    with pytest.raises(LookupError):
        await database.write(failing)
    assert database.run_steps == {("running", ""): 2}


async def test_a_lost_race_is_counted_and_its_steps_only_once(database: Database) -> None:
    lost = [Concurrent()]

    async def script(tx: Tx) -> None:
        tx.count([("running", "")])
        if lost:
            raise lost.pop()

    await database.write(script)
    assert (database.retries, database.run_steps) == (1, {("running", ""): 1})


async def test_every_transaction_counts_how_long_it_waited(database: Database) -> None:
    async def script(tx: Tx) -> None:
        pass

    await database.write(script)
    await database.write(script)
    assert database.driver.waits.count == 2


async def test_a_database_that_cannot_be_used_is_counted(tmp_path: Path, clock: ManualClock) -> None:
    database = open_database(f"sqlite:///{tmp_path}/missing/file.sqlite", clock)

    async def script(tx: Tx) -> None:
        pass

    with pytest.raises(StoreUnavailable):
        await database.write(script)
    with pytest.raises(StoreUnavailable):
        async with database.read():
            pass
    assert database.unavailable == 2
    await database.close()


async def test_a_violated_constraint_is_the_callers_affair(database: Database) -> None:
    statement = text("INSERT INTO leases (name, holder, expires) VALUES ('a', NULL, 0)")
    with pytest.raises((sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)):
        await database.write(lambda tx: tx.connection.execute(statement))


async def test_signals_are_told_after_the_commit_each_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[object] = []
    database.subscribe(happened.append)
    transaction = database.driver.transaction

    @asynccontextmanager
    async def watched() -> AsyncIterator[Connection]:
        async with transaction() as connection:
            yield connection
        happened.append("commit")

    monkeypatch.setattr(database.driver, "transaction", watched)

    async def script(tx: Tx) -> None:
        for signal in (OutboxFilled(), QueueFilled("a/b"), OutboxFilled(), QueueFilled("a/b")):
            tx.announce(signal)

    await database.write(script)
    assert happened == ["commit", OutboxFilled(), QueueFilled("a/b")]


async def test_every_subscriber_is_told(database: Database) -> None:
    seen: tuple[list[Signal], list[Signal]] = [], []
    for signals in seen:
        database.subscribe(signals.append)
    database.announce((OutboxFilled(), TasksResolved()))
    assert seen == ([OutboxFilled(), TasksResolved()],) * 2


# Races


def losing(times: int) -> Callable[[Tx], Awaitable[int]]:
    """A script that loses so many races, and then says in which attempt it succeeded."""
    attempts: list[Tx] = []

    async def script(tx: Tx) -> int:
        attempts.append(tx)
        await outbox.record(tx, [Outgoing(PENDING, (), ())])
        if len(attempts) <= times:
            tx.announce(QueueFilled("of/loser"))
            raise Concurrent("lost")
        return len(attempts)

    return script


async def test_a_lost_race_is_run_again_from_the_start(database: Database) -> None:
    seen: list[Signal] = []
    database.subscribe(seen.append)
    assert await database.write(losing(4)) == 5
    assert await read(database, outbox.depth) == 1
    assert seen == [OutboxFilled()]


async def test_a_race_that_is_always_lost_ends(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="lost 5 races in a row"):
        await database.write(losing(5))
    assert await read(database, outbox.depth) == 0


async def test_a_transaction_has_one_time(database: Database, clock: ManualClock) -> None:
    async def script(tx: Tx) -> tuple[Any, Any]:
        before = tx.now
        clock.advance(seconds=5)
        return before, tx.now

    assert await database.write(script) == (NOW, NOW)


async def test_a_deadlock_is_run_again(postgres_database: Database) -> None:
    """Two scripts lock the same rows in opposite order; the database ends one of them."""
    first, second = new_ids(2)
    await store(postgres_database, task(task_id=first), task(task_id=second))
    holding = {first: asyncio.Event(), second: asyncio.Event()}
    attempts = 0

    async def script(tx: Tx, mine: str, other: str) -> None:
        nonlocal attempts
        attempts += 1
        await tx.connection.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
        await tasks.lock(tx, [mine])
        holding[mine].set()
        await holding[other].wait()
        await tasks.lock(tx, [other])

    await asyncio.gather(
        postgres_database.write(lambda tx: script(tx, first, second)),
        postgres_database.write(lambda tx: script(tx, second, first)),
    )
    assert attempts >= 3


async def test_a_serialization_failure_is_run_again(postgres_database: Database) -> None:
    await store(postgres_database, task())
    bump = text("UPDATE tasks SET retries_left = retries_left + 10")
    attempts = 0

    async def script(tx: Tx) -> None:
        nonlocal attempts
        attempts += 1
        await tx.connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        await tasks.get(tx.connection, [task().task_id])
        if attempts == 1:
            await postgres_database.write(lambda other: other.connection.execute(bump))
        await tx.connection.execute(bump)

    await postgres_database.write(script)
    assert attempts == 2
    stored = await read(postgres_database, tasks.get, [task().task_id])
    assert stored[task().task_id].retries_left == 25


# SQLite: one writer at a time, readers beside it


async def test_writers_of_a_sqlite_file_wait_for_each_other(
    sqlite_database: Database, sqlite_database_url: str, clock: ManualClock
) -> None:
    """Reading before writing never fails with a stale snapshot, even with another writer on the file."""
    await store(sqlite_database, task(retries_left=0))

    async def script(tx: Tx) -> None:
        stored = await tasks.get(tx.connection, [task().task_id])
        left = stored[task().task_id].retries_left
        await tx.connection.execute(text("UPDATE tasks SET retries_left = :left"), {"left": left + 1})

    async with opened(sqlite_database_url, clock) as other:
        await asyncio.gather(*(database.write(script) for database in (sqlite_database, other) * 15))
    stored = await read(sqlite_database, tasks.get, [task().task_id])
    assert stored[task().task_id].retries_left == 30


async def test_a_reader_does_not_wait_for_a_writer(database: Database) -> None:
    await store(database, task())

    async def script(tx: Tx) -> int:
        await tx.connection.execute(text("UPDATE tasks SET retries_left = 1"))
        stored = await read(database, tasks.get, [task().task_id])
        return stored[task().task_id].retries_left

    assert await database.write(script) == 5


async def test_a_locked_sqlite_file_is_unavailable_and_then_available_again(
    sqlite_database: Database, sqlite_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.001)
    other = sqlite3.connect(sqlite_database_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="database is locked"):
        await store(sqlite_database, task())
    other.execute("ROLLBACK")
    other.close()
    await store(sqlite_database, task())


async def test_a_locked_sqlite_file_does_not_hold_up_the_event_loop(
    sqlite_database: Database, sqlite_database_url: str
) -> None:
    """A program of its own, such as a backup, holds the lock; readers and all else go on."""
    await store(sqlite_database)
    other = sqlite3.connect(sqlite_database_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(store(sqlite_database, task()))
    for _ in range(3):
        await asyncio.sleep(0)
    assert await read(sqlite_database, outbox.depth) == 0
    assert not writing.done()
    other.execute("COMMIT")
    other.close()
    await writing


async def test_the_log_of_a_sqlite_file_stays_short(
    sqlite_database: Database, sqlite_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is moved into the file as it grows, and begins anew."""
    monkeypatch.setattr(sqlite_database.driver, "_checkpoint_at", 0)
    monkeypatch.setattr(sqlite, "CHECKPOINT_CHANGES", 10)
    log = sqlite_database_url.removeprefix("sqlite:///") + "-wal"
    sizes = []
    for _ in range(20):
        await store(sqlite_database, *(task(task_id=task_id) for task_id in new_ids(10)))
        await asyncio.sleep(0)  # as every caller of a service does
        sizes.append(os.stat(log).st_size)
    assert sizes[-1] < 2 * sizes[4]


# What is unavailable


async def test_a_log_that_cannot_be_moved_into_the_file_now_is_moved_later(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    driver = sqlite_database.driver
    monkeypatch.setattr(driver, "_checkpoint_at", 0)
    with monkeypatch.context() as full:
        full.setattr(sqlite, "_in_thread", _disk_full)
        await store(sqlite_database, task())
        await driver._checkpoint  # type: ignore[attr-defined]
    assert "database or disk is full" in caplog.text
    await store(sqlite_database, *(task(task_id=task_id) for task_id in new_ids(2)))


async def _disk_full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


async def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/no/such/folder.db", ManualClock()) as database:
        with pytest.raises(StoreUnavailable, match="unable to open database file"):
            await store(database, task())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"port": 1}, "cannot be reached"),
        ({"database": "taskbus_no_such_database"}, 'database "taskbus_no_such_database" does not exist'),
        ({"username": "taskbus_no_such_role"}, "taskbus_no_such_role"),
    ],
    ids=["nobody listens", "no such database", "login refused"],
)
async def test_a_server_that_does_not_let_us_in_is_unavailable(
    postgres_database_url: str, change: dict[str, Any], reason: str
) -> None:
    url = normal_url(postgres_database_url).set(**change).render_as_string(hide_password=False)
    async with opened(url, ManualClock()) as database:
        with pytest.raises(StoreUnavailable, match=reason):
            await store(database, task())
        with pytest.raises(StoreUnavailable, match=reason):
            await read(database, tasks.get, [task().task_id])


async def test_a_connection_lost_in_the_middle_leaves_nothing_and_is_replaced(
    postgres_database: Database, postgres_database_url: str
) -> None:
    async def script(tx: Tx) -> None:
        await outbox.record(tx, [Outgoing(PENDING, (), ())])
        await administer(postgres_database_url, DISCONNECT)
        await outbox.record(tx, [Outgoing(PENDING, (), ())])

    with pytest.raises(StoreUnavailable):
        await postgres_database.write(script)
    await postgres_database.write(lambda tx: outbox.record(tx, [Outgoing(PENDING, (), ())]))
    assert await read(postgres_database, outbox.depth) == 1


async def test_a_server_that_has_said_goodbye_and_not_yet_hung_up_is_unavailable(
    postgres_database_url: str, clock: ManualClock
) -> None:
    async with (
        _Lingering(postgres_database_url) as server,
        opened(server.url, clock, pool_size=2) as database,
    ):
        assert await read(database, outbox.depth) == 0
        await administer(postgres_database_url, DISCONNECT)
        await server.left.wait()
        await administer(postgres_database_url, "SELECT 1")  # time for us to read what it said
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await read(database, outbox.depth)
        assert await read(database, outbox.depth) == 0


class _Lingering(Proxy):
    """Passes on what the server says, and not that it hangs up, for the first time that it does."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.left = asyncio.Event()
        self._over = asyncio.Event()

    async def cut(self) -> None:
        self._over.set()
        await super().cut()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await super()._pump(reader, writer)
        except ConnectionResetError:
            if self.left.is_set():
                raise
            self.left.set()
            await self._over.wait()


async def test_a_statement_that_never_ends_is_given_up(
    postgres_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "STATEMENT_SECONDS", 0.05)
    async with opened(postgres_database_url, ManualClock()) as database:
        with pytest.raises(StoreUnavailable):
            await database.write(lambda tx: tx.connection.execute(text("SELECT pg_sleep(60)")))


# Small parts


def test_places_in_line_only_grow(sqlite_database_url: str) -> None:
    clock = ManualClock()
    database = open_database(sqlite_database_url, clock)
    places = [database.next_queue_order(clock.now()) for _ in range(3)]
    places += [database.next_queue_order(clock.advance(milliseconds=1))]
    places += [database.next_queue_order(clock.now() - timedelta(hours=1)) for _ in range(2)]
    assert places == sorted(set(places))


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("sqlite:///x.db", "sqlite+aiosqlite:///x.db"),
        ("postgresql://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgres://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql+psycopg://u@h/d", "postgresql+asyncpg://u@h/d"),
    ],
)
def test_the_driver_is_ours_whatever_the_url_says(given: str, normal: str) -> None:
    assert str(normal_url(given)) == normal


def test_another_kind_of_database_is_refused_with_what_is_possible() -> None:
    with pytest.raises(ValueError, match="must start with sqlite:/// or postgresql://, not mysql://"):
        normal_url("mysql://u@h/d")

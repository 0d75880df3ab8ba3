"""Indexing what completed: in the transaction that works off the end, once or twice, by several processes."""

import asyncio
from datetime import timedelta

import pytest

from queue_service.core.index import IndexedTask, split
from queue_service.operations import index as operations
from queue_service.operations import resolutions
from queue_service.store import dependencies, index
from queue_service.store.database import Database, Tx
from queue_service.store.dependencies import Resolution
from tests.core.samples import EXPIRES, new_ids
from tests.operations.queue import Queue, creation
from tests.store.databases import opened
from tests.store.given import read
from tests.store.manual_clock import ManualClock

A, B, C = new_ids(3)
FOLLOWERS = (operations.follow,)


class Stop(Exception):
    """The process ends here."""


async def work_off(queue: Queue, limit: int = 100) -> int:
    return await queue.database.write(lambda tx: resolutions.work_off(tx, limit, FOLLOWERS))


async def found_at(queue: Queue, *paths: str) -> dict[str, str]:
    found = await read(queue.database, lambda c: index.find(c, paths, queue.now, wanted=1000))
    return {entry.path: entry.task_id for entry in found}


def entry(path: str, task_id: str = A, *, rank: float = 0, days: int = 0) -> IndexedTask:
    return IndexedTask(*split(path), task_id, rank, {}, EXPIRES + timedelta(days=days))


async def test_a_completed_task_is_indexed_with_the_end_that_is_worked_off(queue: Queue) -> None:
    await queue.create_all(creation(A, routes=["index.a.b"]), creation(B))
    await queue.end(A)
    await queue.end(B)
    await work_off(queue)
    assert await found_at(queue, "a.b") == {"a.b": A}
    assert await queue.unlooked_at() == []


async def test_a_crash_before_the_commit_loses_nothing(queue: Queue) -> None:
    await queue.create_all(creation(A, routes=["index.a.b"]))
    await queue.end(A)

    async def crash(tx: Tx) -> None:
        await resolutions.work_off(tx, 100, FOLLOWERS)
        raise Stop

    with pytest.raises(Stop):
        await queue.database.write(crash)
    assert await found_at(queue, "a.b") == {}
    await work_off(queue)
    assert await found_at(queue, "a.b") == {"a.b": A}


async def test_following_an_end_twice_changes_nothing(queue: Queue) -> None:
    await queue.create_all(creation(A, routes=["index.a.b"], extra={"index": {"rank": 5}}))
    await queue.end(A)
    await work_off(queue)
    again = Resolution(1, A, "completed", None, ("index.a.b",))
    await queue.database.write(lambda tx: operations.follow(tx, [again, again]))
    (found,) = await read(queue.database, lambda c: index.find(c, ["a.b"], queue.now))
    assert (found.task_id, found.rank) == (A, 5)


async def test_dependents_are_let_go_first_and_the_index_follows_once(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolutions, "EDGES", 1)
    await queue.create_all(
        creation(A, routes=["index.a"]), creation(B, dependencies=[A]), creation(C, dependencies=[A])
    )
    await queue.end(A)
    while await work_off(queue):
        pass
    assert await queue.states(B, C) == ["pending", "pending"]
    assert await found_at(queue, "a") == {"a": A}


async def test_a_transaction_without_index_routes_asks_nothing_more(queue: Queue) -> None:
    await queue.create_all(creation(A, routes=["checks"]))
    await queue.end(A)

    async def followed(tx: Tx) -> int:
        (end,) = await dependencies.next_resolutions(tx, 1)
        counted = Counting(tx)
        await operations.follow(counted, [end])  # type: ignore[arg-type]
        return counted.statements

    assert await queue.database.write(followed) == 0


class Counting:
    """A transaction that counts its statements and has no rows."""

    def __init__(self, tx: Tx) -> None:
        self.now = tx.now
        self.connection = self
        self.statements = 0

    async def execute(self, *_: object) -> list[object]:
        self.statements += 1
        return []


async def test_a_namespace_that_lives_long_enough_is_not_written_again(queue: Queue) -> None:
    async def insert(days: int) -> None:
        await queue.database.write(lambda tx: operations.insert(tx, [entry("a.b", days=days)]))

    async def expiry() -> timedelta:
        (found,) = await read(queue.database, index.namespaces_in, "", queue.now, "", 10)
        return found.expires - EXPIRES

    await insert(0)
    assert await expiry() == timedelta(days=1)
    await insert(1)
    assert await expiry() == timedelta(days=1)
    await insert(2)
    assert await expiry() == timedelta(days=3)


async def test_processes_index_side_by_side(
    postgres_queue: Queue, postgres_database_url: str, clock: ManualClock
) -> None:
    """The same paths and namespaces from both ends, so that wrong lock orders would meet."""
    paths = [f"n{number}.{word}.x" for number in range(10) for word in "ab"]
    async with opened(postgres_database_url, clock) as other:

        async def insert(database: Database, task_id: str, order: list[str], days: int) -> None:
            entries = [entry(path, task_id, days=days) for path in order]
            await database.write(lambda tx: operations.insert(tx, entries))

        await asyncio.gather(
            *(insert(postgres_queue.database, A, paths, days) for days in range(0, 20, 2)),
            *(insert(other, B, paths[::-1], days) for days in range(1, 21, 2)),
        )
    found = await found_at(postgres_queue, *paths)
    assert set(found) == set(paths)
    namespaces = await read(postgres_queue.database, index.namespaces_in, "", postgres_queue.now, "", 100)
    assert [entry.name for entry in namespaces] == [f"n{number}" for number in range(10)]
    assert all(entry.expires >= EXPIRES + timedelta(days=19) for entry in namespaces)

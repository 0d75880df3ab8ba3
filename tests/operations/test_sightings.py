"""Sightings of workers: what is written at once, what later, and that nothing of it is forgotten."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest

from queue_service.core.workers import Worker, WorkerKey
from queue_service.operations import sightings
from queue_service.operations.sightings import Sightings
from queue_service.store import workers
from queue_service.store.database import Database, StoreUnavailable, Tx
from tests.core.samples import new_ids, task
from tests.store.given import read
from tests.store.manual_clock import ManualClock

QUEUE: Final = "prov/type"
WORKER: Final = WorkerKey(QUEUE, "eu-1", "w-1")
A, B, C = new_ids(3)


class Watched:
    """Counts the transactions of a database, and makes them fail when it is told to."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.away = False
        self.written = asyncio.Event()
        self._write = database.write
        monkeypatch.setattr(database, "write", self.write)

    async def write(self, script: Callable[[Tx], Awaitable[Any]]) -> Any:
        self.count += 1
        if self.away:
            raise StoreUnavailable("away")
        outcome = await self._write(script)
        self.written.set()
        return outcome


@pytest.fixture
def watched(database: Database, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(database, monkeypatch)


@pytest.fixture
async def seen(database: Database, watched: Watched) -> AsyncIterator[Sightings]:
    made = Sightings(database, pace=3600)
    yield made
    watched.away = False
    await made.close()


async def stored(database: Database, worker: WorkerKey = WORKER) -> Worker:
    found = await read(database, workers.get, worker)
    assert found is not None
    return found


async def recent(database: Database) -> list[str]:
    return [claimed.task_id for claimed in (await stored(database)).recent_tasks]


async def test_a_first_sighting_is_written_before_the_call_goes_on(
    database: Database, seen: Sightings, clock: ManualClock
) -> None:
    await seen.active(WORKER)
    assert (await stored(database)).seen.at == clock.now()
    assert await read(database, workers.get_queue, QUEUE, clock.now()) is not None


async def test_the_next_sightings_cost_no_transaction(
    seen: Sightings, watched: Watched, clock: ManualClock
) -> None:
    await seen.active(WORKER)
    clock.advance(seconds=59)
    await seen.active(WORKER)
    await seen.flush()
    assert watched.count == 1


async def test_a_minute_later_a_sighting_is_written_when_there_is_time(
    database: Database, seen: Sightings, watched: Watched, clock: ManualClock
) -> None:
    await seen.active(WORKER)
    later = clock.advance(minutes=1)
    await seen.active(WORKER)
    assert watched.count == 1
    await seen.flush()
    assert (await stored(database)).seen.at == later


async def test_half_a_day_later_a_sighting_is_as_the_first(
    database: Database, seen: Sightings, clock: ManualClock
) -> None:
    await seen.active(WORKER)
    later = clock.advance(hours=12)
    await seen.active(WORKER)
    assert (await stored(database)).seen.at == later


async def test_first_sightings_that_come_together_share_a_transaction(
    seen: Sightings, watched: Watched
) -> None:
    await asyncio.gather(*(seen.active(WorkerKey(QUEUE, "eu-1", f"w-{n}")) for n in range(50)))
    assert watched.count <= 2


async def test_a_claim_by_id_keeps_the_task_queue_longer(
    database: Database, seen: Sightings, clock: ManualClock
) -> None:
    await seen.active(WORKER)
    await seen.active_queue(QUEUE)
    await seen.flush()
    found = await read(database, workers.get_queue, QUEUE, clock.advance(days=4))
    assert found is not None


async def test_claims_are_written_together_and_all_of_them(
    database: Database, seen: Sightings, watched: Watched
) -> None:
    await seen.active(WORKER)
    for task_id in (A, B, C):
        seen.claimed(WORKER, [task("scheduled running", task_id=task_id)])
    assert watched.count == 1
    await seen.flush()
    assert watched.count == 2
    assert sorted(await recent(database)) == [A, B, C]


async def test_claims_do_not_make_a_worker_known(database: Database, seen: Sightings) -> None:
    seen.claimed(WORKER, [task("scheduled running", task_id=A)])
    await seen.flush()
    assert await read(database, workers.get, WORKER) is None


async def test_claims_are_written_without_anybody_asking(database: Database, watched: Watched) -> None:
    paced = Sightings(database, pace=0.001)
    await paced.active(WORKER)
    watched.written.clear()
    paced.claimed(WORKER, [task("scheduled running", task_id=A)])
    await watched.written.wait()
    assert await recent(database) == [A]
    await paced.close()


async def test_what_is_left_is_written_in_the_end(database: Database, seen: Sightings) -> None:
    await seen.active(WORKER)
    seen.claimed(WORKER, [task("scheduled running", task_id=A)])
    await seen.close()
    assert await recent(database) == [A]


async def test_without_the_database_a_worker_is_not_held_up_and_nothing_is_lost(
    database: Database, seen: Sightings, watched: Watched, clock: ManualClock
) -> None:
    watched.away = True
    first = clock.now()
    await seen.active(WORKER)
    seen.claimed(WORKER, [task("scheduled running", task_id=A)])
    with pytest.raises(StoreUnavailable):
        await seen.flush()
    later = clock.advance(minutes=2)
    await seen.active(WORKER)
    seen.claimed(WORKER, [task("scheduled running", task_id=B)])
    watched.away = False
    await seen.flush()
    assert (await stored(database)).seen.at == later
    assert (await stored(database)).first_claim >= first
    assert sorted(await recent(database)) == [A, B]


async def test_very_many_workers_are_written_in_several_transactions(
    database: Database, seen: Sightings, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sightings, "WORKERS_AT_ONCE", 10)
    monkeypatch.setattr(sightings, "MAX_KNOWN", 20)
    keys = [WorkerKey(QUEUE, "eu-1", f"w-{number}") for number in range(35)]
    await asyncio.gather(*(seen.active(key) for key in keys))
    assert watched.count >= 4
    assert len(await database.write(lambda tx: workers.lock(tx, keys))) == 35


async def test_two_processes_lose_no_claim_of_a_worker(database: Database, seen: Sightings) -> None:
    other = Sightings(database, pace=3600)
    await asyncio.gather(seen.active(WORKER), other.active(WORKER))
    seen.claimed(WORKER, [task("scheduled running", task_id=A)])
    other.claimed(WORKER, [task("scheduled running", task_id=B)])
    await asyncio.gather(seen.flush(), other.flush())
    assert sorted(await recent(database)) == [A, B]

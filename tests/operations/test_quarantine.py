"""Who is quarantined, as a process believes it (``queue-behaviour.md`` 7.2)."""

import asyncio
from datetime import timedelta
from typing import Final

import pytest

from queue_service.core.workers import Seen, WorkerKey
from queue_service.operations import quarantine as believed
from queue_service.operations import workers as operations
from queue_service.operations.quarantine import Quarantine
from queue_service.store import workers
from queue_service.store.database import Database, StoreUnavailable
from queue_service.store.signals import QuarantineChanged
from tests.store.manual_clock import ManualClock

WORKER: Final = WorkerKey("prov/type", "eu-1", "w-1")
OTHER: Final = WorkerKey("prov/type", "eu-1", "w-2")
HOUR: Final = timedelta(hours=1)


class Process:
    """One process: its belief, and whose wait it has ended."""

    def __init__(self, database: Database) -> None:
        self.dismissed: list[WorkerKey] = []
        self.quarantine = Quarantine(database, self.dismissed.append)


async def given(database: Database, *known: WorkerKey) -> None:
    now = database.clock.now()
    await database.write(lambda tx: workers.ensure(tx, dict.fromkeys(known, Seen(now, now + HOUR))))


async def put(database: Database, worker: WorkerKey, duration: timedelta = HOUR) -> None:
    until = database.clock.now() + duration
    await database.write(lambda tx: operations.quarantine(tx, worker, until, "", "me"))


async def test_a_process_knows_of_quarantines_from_before_its_start(database: Database) -> None:
    await given(database, WORKER, OTHER)
    await put(database, WORKER)
    process = Process(database)
    assert await process.quarantine.holds(WORKER)
    assert not await process.quarantine.holds(OTHER)


async def test_a_change_counts_from_its_signal_on(database: Database) -> None:
    await given(database, WORKER)
    process = Process(database)
    assert not await process.quarantine.holds(WORKER)
    database.subscribe(process.quarantine.on_signal)
    await put(database, WORKER)
    assert await process.quarantine.holds(WORKER)
    await put(database, WORKER, -HOUR)
    assert not await process.quarantine.holds(WORKER)


async def test_a_quarantine_ends_without_a_signal(database: Database, clock: ManualClock) -> None:
    await given(database, WORKER)
    await put(database, WORKER)
    process = Process(database)
    assert await process.quarantine.holds(WORKER)
    clock.advance(hours=1)
    assert not await process.quarantine.holds(WORKER)


async def test_a_signal_ends_the_wait_of_the_worker_once(database: Database) -> None:
    await given(database, WORKER, OTHER)
    process = Process(database)
    database.subscribe(process.quarantine.on_signal)
    await put(database, WORKER)
    await process.quarantine.holds(OTHER)
    await put(database, OTHER)
    await process.quarantine.holds(OTHER)
    assert process.dismissed == [WORKER, OTHER]


@pytest.mark.postgres
async def test_a_lost_signal_is_made_up_for_where_one_can_be_lost(postgres_database: Database) -> None:
    await given(postgres_database, WORKER)
    process = Process(postgres_database)
    assert not await process.quarantine.holds(WORKER)
    await put(postgres_database, WORKER)
    assert not await process.quarantine.holds(WORKER)
    process.quarantine._read_at -= believed.MAX_AGE_SECONDS
    assert await process.quarantine.holds(WORKER)


async def test_callers_that_come_together_share_a_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, reads = Process(database), 0
    read = workers.quarantined

    async def counted(*arguments: object) -> object:
        nonlocal reads
        reads += 1
        return await read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(workers, "quarantined", counted)
    await asyncio.gather(*(process.quarantine.holds(WORKER) for _ in range(20)))
    assert reads == 1


async def test_a_read_that_failed_is_tried_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await given(database, WORKER)
    await put(database, WORKER)
    process = Process(database)

    async def away(*arguments: object) -> object:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(workers, "quarantined", away)
        with pytest.raises(StoreUnavailable):
            await process.quarantine.holds(WORKER)
        process.quarantine.on_signal(QuarantineChanged())
        assert process.quarantine._refreshing is not None
        await process.quarantine._refreshing
    assert await process.quarantine.holds(WORKER)


async def test_who_sits_out_is_let_go_when_its_connection_is_lost_or_the_service_ends(
    database: Database,
) -> None:
    process, gone = Process(database), asyncio.Event()
    waits = [asyncio.create_task(process.quarantine.sit_out(3600, gone.wait))]
    gone.set()
    await asyncio.gather(*waits)
    waits = [asyncio.create_task(process.quarantine.sit_out(3600, asyncio.Event().wait))]
    process.quarantine.close()
    await asyncio.gather(*waits)

"""What waits in a task queue and what its workers have (``queue-behaviour.md`` 7.4)."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import update

from queue_service.core import transitions
from queue_service.core.task import Change, Task
from queue_service.core.workers import WorkerKey
from queue_service.store import backlog, tables, tasks
from queue_service.store.backlog import Place
from queue_service.store.database import Database, Tx
from schemas.times import MILLISECOND
from tests.core.samples import CLAIM_TIMEOUT, HELD_BY, NOW, new_ids, task
from tests.store.given import read, store

QUEUE: Final = "prov/type"
IDS: Final = new_ids(6)
START: Final = Place(-1, "")


def pending(number: int, **members: Any) -> Task:
    return task("scheduled pending", task_id=IDS[number], **members)


def running(number: int, **members: Any) -> Task:
    facts: dict[str, Any] = {"last": {"takenUntil": NOW + CLAIM_TIMEOUT}} | members
    return task("scheduled running", task_id=IDS[number], **facts)


async def change(database: Database, rule: Callable[[Task], Change], *numbers: int) -> None:
    async def script(tx: Tx) -> None:
        locked = await tasks.lock(tx, [IDS[number] for number in numbers])
        await tasks.save(tx, [rule(locked[IDS[number]]) for number in numbers])

    await database.write(script)


def claim(task: Task) -> Change:
    return transitions.claim(task, NOW, NOW + CLAIM_TIMEOUT, **HELD_BY)


def reclaim(task: Task) -> Change:
    return transitions.reclaim(task, 0, NOW, NOW + 2 * CLAIM_TIMEOUT)


async def test_what_waits_is_counted_until_its_deadline(database: Database) -> None:
    await store(
        database,
        pending(0),
        pending(1, deadline=NOW + MILLISECOND),
        pending(2, deadline=NOW),
        pending(3, task_queue_id="prov/other"),
        running(4),
        task(task_id=IDS[5]),
    )
    assert await read(database, backlog.count_pending, QUEUE, NOW) == 2
    assert await read(database, backlog.count_pending, "prov/unknown", NOW) == 0


async def test_what_is_claimed_is_counted_until_its_claim_runs_out(database: Database) -> None:
    await store(
        database,
        running(0),
        running(1, last={"takenUntil": NOW + MILLISECOND}),
        running(2, last={"takenUntil": NOW}),
        running(3, task_queue_id="prov/other"),
        pending(4),
    )
    assert await read(database, backlog.count_claimed, QUEUE, NOW) == 2
    assert await read(database, backlog.count_claimed, "prov/unknown", NOW) == 0


async def test_what_waits_is_listed_by_age_whatever_its_priority(database: Database) -> None:
    priorities = ("lowest", "highest", "medium", "lowest", "high")
    for number, priority in zip((3, 0, 4, 1, 2), priorities, strict=True):
        await store(database, pending(number, priority=priority))
    await store(database, pending(5, deadline=NOW))
    listed = await read(database, backlog.list_pending, QUEUE, NOW, START, 10)
    assert [place.task_id for place in listed] == [IDS[n] for n in (3, 0, 4, 1, 2)]
    assert await read(database, backlog.list_pending, QUEUE, NOW, START, 2) == listed[:2]
    assert await read(database, backlog.list_pending, QUEUE, NOW, listed[1], 10) == listed[2:]


async def test_places_that_two_processes_gave_are_told_apart(database: Database) -> None:
    await store(database, pending(0), pending(1))

    async def same_place(tx: Tx) -> None:
        await tx.connection.execute(update(tables.tasks).values(queue_order=7))

    await database.write(same_place)
    listed = await read(database, backlog.list_pending, QUEUE, NOW, START, 1)
    assert listed == [Place(7, IDS[0])]
    assert await read(database, backlog.list_pending, QUEUE, NOW, listed[0], 10) == [Place(7, IDS[1])]


async def test_what_is_claimed_is_listed_by_when_it_was_claimed(database: Database) -> None:
    await store(database, pending(0), pending(1), pending(2))
    for number in (1, 2, 0):
        await change(database, claim, number)
    claimed = await read(database, backlog.list_claimed, QUEUE, NOW, START, 10)
    assert [place.task_id for place in claimed] == [IDS[1], IDS[2], IDS[0]]
    assert await read(database, backlog.list_claimed, QUEUE, NOW, claimed[0], 1) == claimed[1:2]
    assert await read(database, backlog.list_claimed, QUEUE, NOW + CLAIM_TIMEOUT, START, 10) == []


async def test_a_reclaim_keeps_the_place(database: Database) -> None:
    await store(database, pending(0), pending(1))
    await change(database, claim, 0, 1)
    before = await read(database, backlog.list_claimed, QUEUE, NOW, START, 10)
    await change(database, reclaim, 0)
    assert await read(database, backlog.list_claimed, QUEUE, NOW, START, 10) == before


async def test_a_worker_holds_its_running_runs_of_its_task_queue(database: Database) -> None:
    worker = WorkerKey(QUEUE, HELD_BY["worker_group"], HELD_BY["worker_id"])
    await store(
        database,
        running(0),
        running(1, task_queue_id="prov/other"),
        pending(2),
        task("scheduled completed", task_id=IDS[3]),
        running(4),
    )
    held = await database.write(lambda tx: backlog.pick_held(tx, worker, 10))
    assert [task.task_id for task in held] == [IDS[0], IDS[4]]
    held = await database.write(lambda tx: backlog.pick_held(tx, WorkerKey(QUEUE, "eu-1", "w-2"), 10))
    assert held == []


async def test_a_retried_run_is_held_by_nobody(database: Database) -> None:
    await store(database, running(0))
    await change(database, lambda task: transitions.report_exception(task, 0, "worker-shutdown", NOW), 0)
    worker = WorkerKey(QUEUE, HELD_BY["worker_group"], HELD_BY["worker_id"])
    assert await database.write(lambda tx: backlog.pick_held(tx, worker, 10)) == []

"""Picking work and what has fallen due: the right rows, in the right order, and nobody gets one twice."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from queue_service.core import transitions
from queue_service.core.task import Change
from queue_service.store import claims, tasks
from queue_service.store.database import Database, Tx
from schemas.task import PRIORITIES
from tests.core.samples import CLAIM_TIMEOUT, DEADLINE, HELD_BY, NOW, new_ids, task
from tests.core.states import STATES
from tests.store.databases import opened
from tests.store.given import read, store
from tests.store.manual_clock import ManualClock

QUEUE = "prov/type"
MILLISECOND = timedelta(milliseconds=1)


async def picked(database: Database, wanted: int = 100, queue_id: str = QUEUE) -> list[str]:
    line = await database.write(lambda tx: claims.pick_pending(tx, queue_id, wanted))
    return [task.task_id for task in line.tasks]


async def test_every_priority_is_picked_before_the_next(database: Database) -> None:
    ids = dict(zip(new_ids(len(PRIORITIES)), PRIORITIES[::-1], strict=True))
    await store(
        database, *(task("scheduled pending", task_id=key, priority=value) for key, value in ids.items())
    )
    assert [ids[task_id] for task_id in await picked(database)] == list(PRIORITIES)


async def test_within_a_priority_the_oldest_is_picked_first(database: Database, clock: ManualClock) -> None:
    first, second, third, fourth = new_ids(4)[::-1]
    await store(database, task("scheduled pending", task_id=first), task("scheduled pending", task_id=second))
    clock.advance(seconds=1)
    await store(database, task("scheduled pending", task_id=third))
    clock.advance(seconds=-10)
    await store(database, task("scheduled pending", task_id=fourth))
    assert await picked(database) == [first, second, third, fourth]


async def test_a_retry_goes_to_the_end_of_its_class(database: Database, clock: ManualClock) -> None:
    retried, waiting = new_ids(2)
    running = task("scheduled running", task_id=retried)
    await store(database, running, task("scheduled pending", task_id=waiting))
    clock.advance(seconds=1)
    retry = transitions.report_exception(running, 0, "worker-shutdown", clock.now())
    await database.write(lambda tx: tasks.save(tx, [retry]))
    assert await picked(database) == [waiting, retried]


async def test_another_priority_keeps_the_age(database: Database, clock: ManualClock) -> None:
    oldest, raised, newest = new_ids(3)
    before = task("scheduled pending", task_id=raised, priority="low")
    for queued in (
        task("scheduled pending", task_id=oldest, priority="high"),
        before,
        task("scheduled pending", task_id=newest, priority="high"),
    ):
        await store(database, queued)
        clock.advance(seconds=1)
    change = transitions.change_priority(before, "high", clock.now())
    await database.write(lambda tx: tasks.save(tx, [change]))
    assert await picked(database) == [oldest, raised, newest]


async def test_only_pending_runs_are_picked(database: Database) -> None:
    ids = new_ids(len(STATES))
    states = dict(zip(ids, STATES.values(), strict=True))
    await store(
        database,
        *(replace(state, task_id=key) for key, state in states.items()),
    )
    pending = [key for key, state in states.items() if state.in_line]
    assert sorted(await picked(database)) == pending


async def test_a_pick_takes_no_more_than_wanted(database: Database) -> None:
    ids = new_ids(3)
    await store(database, *(task("scheduled pending", task_id=task_id) for task_id in ids))
    assert await picked(database, wanted=2) == ids[:2]


async def test_a_pick_is_of_one_task_queue(database: Database) -> None:
    here, there = new_ids(2)
    await store(
        database,
        task("scheduled pending", task_id=here),
        task("scheduled pending", task_id=there, task_queue_id="prov/typ"),
    )
    assert await picked(database) == [here]
    assert await picked(database, queue_id="prov/typ") == [there]
    assert await picked(database, queue_id="unknown/queue") == []


async def test_nothing_is_picked_at_its_deadline(database: Database, clock: ManualClock) -> None:
    await store(database, task("scheduled pending"))
    clock.move_to(DEADLINE - MILLISECOND)
    assert len(await picked(database)) == 1
    clock.move_to(DEADLINE)
    assert await picked(database) == []


# What has fallen due


async def test_claims_expire_at_their_moment_the_earliest_first(
    database: Database, clock: ManualClock
) -> None:
    later, sooner, kept = new_ids(3)
    await store(
        database,
        *(
            task("scheduled running", task_id=task_id, last={"takenUntil": NOW + timedelta(minutes=minutes)})
            for task_id, minutes in ((later, 2), (sooner, 1), (kept, 3))
        ),
    )

    async def expired(limit: int = 10) -> list[str]:
        found = await database.write(lambda tx: claims.pick_expired(tx, limit))
        return [task.task_id for task in found]

    assert await read(database, claims.next_expiring, clock.now()) == NOW + timedelta(minutes=1)
    assert await expired() == []
    clock.move_to(NOW + timedelta(minutes=2))
    assert await expired() == [sooner, later]
    assert await expired(limit=1) == [sooner]


async def test_a_claim_does_not_expire_at_the_deadline(database: Database, clock: ManualClock) -> None:
    await store(database, task("scheduled running"))
    clock.move_to(DEADLINE)
    assert await database.write(lambda tx: claims.pick_expired(tx, 10)) == []
    assert await read(database, claims.next_expiring, clock.now()) is None


async def test_a_renewed_claim_expires_at_its_new_time(database: Database, clock: ManualClock) -> None:
    running = task("scheduled running")
    await store(database, running)
    until = clock.now() + timedelta(hours=1)
    renewed = transitions.reclaim(running, 0, clock.now(), until)
    await database.write(lambda tx: tasks.save(tx, [renewed]))
    assert await read(database, claims.next_expiring, clock.now()) == until


async def test_only_unresolved_tasks_pass_their_deadline(database: Database, clock: ManualClock) -> None:
    ids = new_ids(len(STATES))
    states = dict(zip(ids, STATES.values(), strict=True))
    await store(database, *(replace(state, task_id=key) for key, state in states.items()))
    clock.move_to(DEADLINE)

    async def past(limit: int = 100, **delay: float) -> list[str]:
        moment = clock.now() - timedelta(**delay)
        found = await database.write(lambda tx: claims.pick_past_deadline(tx, moment, limit))
        return sorted(task.task_id for task in found)

    unresolved = [key for key, state in states.items() if not state.resolved]
    assert await past() == unresolved
    assert await past(milliseconds=1) == []
    assert len(await past(limit=3)) == 3


async def test_the_next_deadline_is_that_of_an_unresolved_task(database: Database) -> None:
    done, first, second = new_ids(3)
    assert await read(database, claims.next_deadline) is None
    await store(
        database,
        task("scheduled completed", task_id=done, ever_resolved=True, deadline=NOW),
        task(task_id=second, deadline=DEADLINE),
        task("scheduled pending", task_id=first, deadline=DEADLINE - MILLISECOND),
    )
    assert await read(database, claims.next_deadline) == DEADLINE - MILLISECOND


# Several server processes


async def test_nobody_waits_for_a_task_that_another_process_is_claiming(
    postgres_database: Database, postgres_database_url: str, clock: ManualClock
) -> None:
    ids = new_ids(2)
    await store(postgres_database, *(task("scheduled pending", task_id=task_id) for task_id in ids))
    async with opened(postgres_database_url, clock) as other:

        async def script(tx: Tx) -> tuple[list[str], list[str]]:
            mine = await claims.pick_pending(tx, QUEUE, 1)
            return [found.task_id for found in mine.tasks], await picked(other)

        assert await postgres_database.write(script) == (ids[:1], ids[1:])


async def test_concurrent_claimers_never_claim_twice(
    postgres_database: Database, postgres_database_url: str, clock: ManualClock
) -> None:
    ids = new_ids(300)
    await store(postgres_database, *(task("scheduled pending", task_id=task_id) for task_id in ids))

    async def claim_some(tx: Tx) -> list[str]:
        line = await claims.pick_pending(tx, QUEUE, 7)
        changes: list[Change] = [
            transitions.claim(task, tx.now, tx.now + CLAIM_TIMEOUT, **HELD_BY) for task in line.tasks
        ]
        await tasks.save(tx, changes)
        return [change.after.task_id for change in changes]

    async def claim_all(database: Database) -> list[str]:
        mine: list[str] = []
        while some := await database.write(claim_some):
            mine += some
        return mine

    async with opened(postgres_database_url, clock, pool_size=8) as database:
        claimed = await asyncio.gather(*(claim_all(database) for _ in range(8)))
    assert sorted(task_id for mine in claimed for task_id in mine) == ids
    assert await picked(postgres_database) == []

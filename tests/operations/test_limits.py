"""Limits of task queues, of tasks and of keys, at once and in time (``seed-systems.md`` C.7)."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from queue_service.core import transitions
from queue_service.core.errors import RequestConflict
from queue_service.operations import claims, controls, lanes
from queue_service.operations.claims import Claimed
from queue_service.operations.tasks import TaskCall
from queue_service.store.database import Database
from queue_service.store.tables import run_slots, task_lanes
from schemas.task_queues import TaskQueueLimits
from tests.core.samples import DEADLINE, new_ids
from tests.operations.queue import LIMITS, QUEUE_ID, Queue, creation, report, request
from tests.store.databases import opened
from tests.store.manual_clock import ManualClock

A, B, C, D = new_ids(4)


async def limit(queue: Queue, **limits: Any) -> None:
    """Set the limits of the task queue, by their names on the wire."""
    wanted = TaskQueueLimits.model_validate(limits) if limits else None
    await queue.database.write(lambda tx: controls.set_limits(tx, QUEUE_ID, wanted))


async def jobs(queue: Queue, *customers: object, priority: str = "lowest", **limits: Any) -> list[str]:
    """Create a job for each customer, in this order; ``limits`` are the task's own."""
    ids = new_ids(len(customers))
    await queue.create_all(
        *(
            creation(
                task_id,
                payload={"kind": "send", "args": {"customer": customer}},
                priority=priority,
                limits=limits or None,
            )
            for task_id, customer in zip(ids, customers, strict=True)
        )
    )
    return ids


async def claimed(queue: Queue, wanted: int = 100) -> list[Claimed]:
    (found,) = await queue.claim(request(wanted))
    return found


async def customers(queue: Queue, wanted: int = 100) -> list[Any]:
    """Whose runs a worker gets."""
    return [item.definition.payload["args"]["customer"] for item in await claimed(queue, wanted)]


ONE_EACH: dict[str, Any] = {"concurrency": {"limit": 1, "key": "{customer}"}}


# ---- at once ------------------------------------------------------------------------------------------


async def test_no_more_runs_of_a_task_queue_than_its_limit(queue: Queue) -> None:
    await limit(queue, concurrency={"limit": 2})
    await jobs(queue, 1, 2, 3, 4)
    first = await claimed(queue)
    assert len(first) == 2
    assert await claimed(queue) == []
    await queue.change(first[0].task.task_id, report("completed"))
    assert len(await claimed(queue)) == 1
    assert await claimed(queue) == []


@pytest.mark.parametrize("own", [True, False])
async def test_no_more_runs_of_a_key_than_its_limit(queue: Queue, own: bool) -> None:
    if not own:
        await limit(queue, **ONE_EACH)
    await jobs(queue, 1, 1, 2, 1, 2, 3, **(ONE_EACH if own else {}))
    assert sorted(await customers(queue)) == [1, 2, 3]
    assert await customers(queue) == []


@pytest.mark.parametrize("end", ["completed", "failed", "canceled", "expired", "deadline", "worker-shutdown"])
async def test_every_end_of_a_run_makes_room(queue: Queue, clock: ManualClock, end: str) -> None:
    (first, _) = await jobs(queue, 1, 1, **ONE_EACH)
    ((running,),) = [await claimed(queue)]
    assert running.task.task_id == first
    assert await claimed(queue) == []
    if end == "expired":
        clock.advance(seconds=LIMITS.claim_timeout.total_seconds())
        await queue.expire_claims()
    elif end == "deadline":
        clock.move_to(DEADLINE + timedelta(hours=1))
        await queue.pass_deadlines()
        await jobs_past_deadline(queue)
        return
    elif end == "canceled":
        await queue.change(first, transitions.cancel)
    elif end == "worker-shutdown":
        await queue.change(
            first, lambda task, now: transitions.report_exception(task, 0, "worker-shutdown", now)
        )
    else:
        await queue.change(first, report(end))
    assert len(await claimed(queue)) == 1
    assert await claimed(queue) == []


async def jobs_past_deadline(queue: Queue) -> None:
    """Jobs that are created later are not held up by one whose deadline passed while it ran."""
    deadline = (queue.now + timedelta(hours=1)).isoformat()
    await queue.create(
        C,
        payload={"kind": "send", "args": {"customer": 1}},
        limits=ONE_EACH,
        created=queue.now.isoformat(),
        deadline=deadline,
    )
    assert len(await claimed(queue)) == 1


async def test_runs_that_have_ended_leave_nothing_behind(queue: Queue) -> None:
    await limit(queue, concurrency={"limit": 1, "key": "{customer}"})
    await jobs(queue, 1, 2, **ONE_EACH)
    for item in await claimed(queue):
        await queue.change(item.task.task_id, report("completed"))
    assert await claimed(queue) == []
    async with queue.database.read() as connection:
        for table in (run_slots, task_lanes):
            assert (await connection.execute(select(func.count()).select_from(table))).scalar() == 0


async def test_limits_of_a_task_are_those_of_its_kind(queue: Queue) -> None:
    limits = {"concurrency": {"limit": 1}}
    for task_id, kind in ((A, "send"), (B, "send"), (C, "print"), (D, None)):
        await queue.create(task_id, payload={"kind": kind} if kind else {}, limits=limits)
    assert sorted(item.task.task_id for item in await claimed(queue)) == sorted([A, C, D])


async def test_both_the_limit_of_the_task_and_that_of_its_task_queue_hold(queue: Queue) -> None:
    await limit(queue, concurrency={"limit": 2})
    await jobs(queue, 1, 1, 2, 3, **ONE_EACH)
    assert await customers(queue) == [1, 2]
    await limit(queue, concurrency={"limit": 3})
    assert await customers(queue) == [3]


async def test_a_task_may_count_against_keys_of_both(queue: Queue) -> None:
    await limit(queue, concurrency={"limit": 1, "key": "{region}"})
    for task_id, customer, region in ((A, 1, "eu"), (B, 2, "eu"), (C, 1, "us"), (D, 3, "us")):
        await queue.create(
            task_id,
            payload={"kind": "send", "args": {"customer": customer, "region": region}},
            limits=ONE_EACH,
        )
    assert [item.task.task_id for item in await claimed(queue)] == [A, D]


async def test_a_key_may_be_a_tag(queue: Queue) -> None:
    await limit(queue, concurrency={"limit": 1, "key": "{kind}"})
    await queue.create_all(creation(A), creation(B), creation(C, tags={"kind": "test"}))
    assert [item.task.task_id for item in await claimed(queue)] == [A, C]


async def test_plain_tasks_pass_by_those_that_have_to_wait(queue: Queue) -> None:
    await jobs(queue, 1, 1, 1, **ONE_EACH)
    plain = await jobs(queue, "plain")
    assert await customers(queue) == [1, "plain"]
    assert await queue.states(*plain) == ["running"]


async def test_a_task_queue_whose_limits_are_gone_hands_out_everything(queue: Queue) -> None:
    await limit(queue, **ONE_EACH)
    await jobs(queue, 1, 1, 1)
    assert await customers(queue) == [1]
    await limit(queue)
    assert await customers(queue) == [1, 1]


async def test_a_claim_remembers_where_limits_hold_as_long_as_they_do(queue: Queue) -> None:
    await limit(queue, **ONE_EACH)
    await jobs(queue, 1)
    assert await customers(queue) == [1]
    assert queue.limited == {QUEUE_ID}
    await limit(queue)
    await jobs(queue, 1)
    assert await customers(queue) == [1]
    assert queue.limited == set()


@pytest.mark.parametrize("own", [True, False])
async def test_a_run_that_comes_due_in_a_task_queue_with_limits_is_claimed_at_once(
    queue: Queue, clock: ManualClock, own: bool
) -> None:
    if not own:
        await limit(queue, concurrency={"limit": 2})
    await jobs(queue, 1, 2, 2, **(ONE_EACH if own else {}))
    assert await customers(queue, 1) == [1]
    payload = {"kind": "send", "args": {"customer": 3}}
    limits = ONE_EACH if own else None
    run_at = (queue.now + timedelta(minutes=1)).isoformat()
    await queue.create(A, payload=payload, limits=limits, priority="high", runAt=run_at)
    clock.advance(seconds=59)
    assert await queue.states(A) == ["unscheduled"]
    clock.advance(seconds=1)
    assert await customers(queue, 1) == [3]


async def test_limits_with_another_key_hold_for_what_waits_already(queue: Queue) -> None:
    await jobs(queue, 1, 1, 2)
    await limit(queue, **ONE_EACH)
    assert sorted(await customers(queue)) == [1, 2]
    await jobs(queue, 3, 3)
    await limit(queue, concurrency={"limit": 1, "key": "all of {nothing}"})
    assert await customers(queue) == [1]
    assert await customers(queue) == []


async def test_a_higher_limit_holds_at_once(queue: Queue) -> None:
    await limit(queue, **ONE_EACH)
    await jobs(queue, 1, 1, 1)
    assert await customers(queue) == [1]
    await limit(queue, concurrency={"limit": 2, "key": "{customer}"})
    assert await customers(queue) == [1]


# ---- order --------------------------------------------------------------------------------------------


async def test_keys_take_turns(queue: Queue) -> None:
    await jobs(queue, *[1] * 6, 2, 2, 3, concurrency={"limit": 9, "key": "{customer}"})
    assert await customers(queue, 1) == [1]
    assert await customers(queue, 3) == [2, 3, 1]
    assert await customers(queue, 9) == [2, 1, 1, 1, 1]


async def test_another_key_waits_for_one_turn_at_most(queue: Queue) -> None:
    await jobs(queue, *[1] * 300, concurrency={"limit": 999, "key": "{customer}"})
    assert await customers(queue, 5) == [1] * 5
    await jobs(queue, 2, concurrency={"limit": 999, "key": "{customer}"})
    assert 2 in await customers(queue, 2)


async def test_many_full_keys_hold_up_nobody(queue: Queue) -> None:
    full = range(600)
    await jobs(queue, *full, *full, **ONE_EACH)
    assert sorted(
        [*await customers(queue, 256), *await customers(queue, 256), *await customers(queue, 256)]
    ) == [*full]
    await jobs(queue, "free", **ONE_EACH)
    assert await customers(queue) == ["free"]


async def test_more_urgent_runs_come_first_among_all_keys(queue: Queue) -> None:
    await jobs(queue, 1, 2, 3, **ONE_EACH)
    await jobs(queue, 4, 1, priority="high", **ONE_EACH)
    await jobs(queue, 5, priority="highest")
    assert await customers(queue, 3) == [5, 4, 1]
    assert await customers(queue) == [2, 3]


async def test_a_run_whose_priority_changed_is_served_by_its_new_one(queue: Queue) -> None:
    await jobs(queue, 1, 2, **ONE_EACH)
    (raised,) = await jobs(queue, 3, **ONE_EACH)
    await queue.change(raised, lambda task, now: transitions.change_priority(task, "high", now))
    assert await customers(queue, 1) == [3]


# ---- in time ------------------------------------------------------------------------------------------


async def test_no_more_starts_than_the_rate_allows(queue: Queue, clock: ManualClock) -> None:
    await limit(queue, rate={"count": 3, "per": "3s"})
    await jobs(queue, *range(20))
    assert len(await claimed(queue)) == 3
    assert await claimed(queue) == []
    clock.advance(milliseconds=999)
    assert await claimed(queue) == []
    clock.advance(milliseconds=1)
    assert len(await claimed(queue)) == 1
    clock.advance(hours=1)
    assert len(await claimed(queue)) == 3


async def test_a_rate_by_key_holds_for_each_value(queue: Queue, clock: ManualClock) -> None:
    await jobs(queue, 1, 1, 1, 2, 2, rate={"count": 1, "per": 60, "key": "{customer}"})
    assert await customers(queue) == [1, 2]
    assert await customers(queue) == []
    clock.advance(seconds=60)
    assert await customers(queue) == [1, 2]
    clock.advance(seconds=60)
    assert await customers(queue) == [1]


async def test_a_run_that_ends_gives_no_token_back(queue: Queue) -> None:
    await limit(queue, rate={"count": 1, "per": "1h"})
    first, _ = await jobs(queue, 1, 2)
    assert len(await claimed(queue)) == 1
    await queue.change(first, report("completed"))
    assert await claimed(queue) == []


# ---- fair share ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("drawn", "order"), [(0.0, "old"), (0.99, "urgent")])
async def test_a_share_of_the_claims_is_served_by_age(queue: Queue, drawn: float, order: str) -> None:
    await limit(queue, fairShare=0.3)
    await jobs(queue, "old")
    await jobs(queue, "urgent", priority="very-high")
    found = await queue.database.write(lambda tx: lanes.pick(tx, QUEUE_ID, 1, lambda: drawn))
    assert [task.priority for task in found] == ["lowest" if order == "old" else "very-high"]


async def test_the_highest_priority_is_exempt_from_sharing(queue: Queue) -> None:
    await limit(queue, fairShare=0.3)
    await jobs(queue, "old")
    await jobs(queue, "first", priority="highest")
    found = await queue.database.write(lambda tx: lanes.pick(tx, QUEUE_ID, 1, lambda: 0.0))
    assert [task.priority for task in found] == ["highest"]


# ---- claims by id -------------------------------------------------------------------------------------


async def claim_by_id(queue: Queue, task_id: str) -> None:
    def rule(task: Any, now: Any) -> Any:
        until = now + LIMITS.claim_timeout
        return transitions.claim_by_id(task, 0, now, until, worker_group="g", worker_id="w")

    await queue.database.write(lambda tx: claims.claim_by_id(tx, TaskCall(task_id, rule)))


async def test_a_claim_by_id_counts_and_is_refused_at_the_limit(queue: Queue) -> None:
    first, second, third = await jobs(queue, 1, 1, 2, **ONE_EACH)
    await claim_by_id(queue, first)
    with pytest.raises(RequestConflict, match="limit"):
        await claim_by_id(queue, second)
    await claim_by_id(queue, first)
    await claim_by_id(queue, third)
    assert await claimed(queue) == []
    await queue.change(first, report("completed"))
    assert await customers(queue) == [1]


# ---- several processes --------------------------------------------------------------------------------


async def run_all(processes: Sequence[Queue], per_claim: int, most: int) -> Counter[Any]:
    """Workers claim and complete everything; no more than ``most`` of a customer run at any time."""
    done: Counter[Any] = Counter()

    async def work(queue: Queue) -> None:
        idle = 0
        while idle < 3:
            found = await claimed(queue, per_claim)
            idle = 0 if found else idle + 1
            for item in found:
                await queue.change(item.task.task_id, report("completed"))
                done[item.definition.payload["args"]["customer"]] += 1

    await asyncio.gather(*(work(queue) for queue in processes))
    return done


@pytest.mark.parametrize("own", [True, False])
async def test_processes_together_keep_to_the_limit(
    postgres_queue: Queue,
    postgres_database: Database,
    postgres_database_url: str,
    clock: ManualClock,
    own: bool,
) -> None:
    limits = {"concurrency": {"limit": 3, "key": "{customer}"}}
    if not own:
        await limit(postgres_queue, **limits)
    await jobs(postgres_queue, *[number % 5 for number in range(200)], **(limits if own else {}))
    async with opened(postgres_database_url, clock, pool_size=6) as other:
        processes = [postgres_queue, Queue(other)] * 4
        found = await asyncio.gather(*(claimed(queue, 7) for queue in processes))
        running = Counter(item.definition.payload["args"]["customer"] for items in found for item in items)
        assert running == dict.fromkeys(range(5), 3)
        for items in found:
            for item in items:
                await postgres_queue.change(item.task.task_id, report("completed"))
        done = await run_all(processes, 2, 3)
    assert done + running == dict.fromkeys(range(5), 40)


async def test_processes_together_keep_to_the_rate(
    postgres_queue: Queue, postgres_database_url: str, clock: ManualClock
) -> None:
    await limit(postgres_queue, rate={"count": 20, "per": "10s"})
    await jobs(postgres_queue, *range(100))
    async with opened(postgres_database_url, clock, pool_size=6) as other:
        processes = [postgres_queue, Queue(other)] * 4
        for expected in (20, 6, 0):
            found = await asyncio.gather(*(claimed(queue, 3) for queue in processes * 2))
            assert sum(map(len, found)) == expected
            clock.advance(seconds=3 if expected == 20 else 0)

"""Tasks that start later, held tasks, and the order of what comes due (``seed-systems.md`` C-9 to C-16)."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import pytest

from schemas.ids import slugid
from tests.api.running_queue import Json, RunningQueue

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
DEPENDENT: Final = "fN1SbArXTPSVFNUvaOlinQ"
TEN_MINUTES: Final = timedelta(minutes=10)

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


async def later(queue: RunningQueue, task_id: str = "", wait: timedelta = TEN_MINUTES, **members: Any) -> str:
    return await queue.create(task_id=task_id, runAt=queue.clock.now() + wait, **members)


async def claimed_ids(queue: RunningQueue, tasks: int = 32) -> list[str]:
    return [claim["status"]["taskId"] for claim in await queue.claim(tasks=tasks)]


def in_order(ids: list[str], *numbers: int) -> list[str]:
    return [ids[number] for number in numbers]


# ---- runAt --------------------------------------------------------------------------------------------


async def test_a_task_that_starts_later_is_unscheduled_until_then(queue: RunningQueue) -> None:
    task_id = await later(queue)
    assert await queue.events() == [("task-defined", None)]
    status = await queue.status(task_id)
    assert (status["state"], status["runs"]) == ("unscheduled", [])
    assert (await queue.get(f"/task/{task_id}/attempts"))["availableAt"] == "2024-05-01T12:10:00.000Z"
    queue.clock.advance(minutes=9, seconds=59, milliseconds=999)
    assert await queue.claim() == []
    assert await queue.loops.delays.run_once() == 0
    queue.clock.advance(milliseconds=1)
    assert await queue.loops.delays.run_once() == 1
    assert await queue.events() == [("task-pending", 0)]
    assert (await queue.run(task_id))["scheduled"] == "2024-05-01T12:10:00.000Z"


async def test_a_claim_does_not_wait_for_the_sweep(queue: RunningQueue) -> None:
    task_id = await later(queue)
    queue.clock.advance(minutes=10)
    assert await claimed_ids(queue) == [task_id]
    assert await queue.events() == [("task-defined", None), ("task-pending", 0), ("task-running", 0)]
    assert await queue.loops.delays.run_once() == 0


@pytest.mark.parametrize("wait", [timedelta(), timedelta(hours=-1)], ids=["now", "past"])
async def test_a_start_that_is_not_in_the_future_is_none(queue: RunningQueue, wait: timedelta) -> None:
    task_id = await later(queue, wait=wait)
    assert await queue.events() == [("task-defined", None), ("task-pending", 0)]
    assert await claimed_ids(queue) == [task_id]


async def test_a_start_behind_the_deadline_is_refused_with_both_times(queue: RunningQueue) -> None:
    late = queue.definition(runAt=queue.clock.now() + timedelta(hours=2))
    reply = await queue.call("PUT", f"/task/{TASK_ID}", late)
    assert (reply.status, reply.code) == (400, "InputError")
    assert "`runAt` is 2024-05-01T14:00:00.000Z and must be before `deadline`" in reply.message
    assert (await queue.stored())["tasks"] == 0


async def test_a_later_start_waits_for_dependencies_as_well(queue: RunningQueue) -> None:
    first = await queue.claimed()
    await later(queue, DEPENDENT, dependencies=[first])
    queue.clock.advance(minutes=11)
    await queue.loops.delays.run_once()
    assert (await queue.status(DEPENDENT))["state"] == "unscheduled"
    await queue.post(f"/task/{first}/runs/0/completed")
    await queue.settle()
    assert (await queue.status(DEPENDENT))["state"] == "pending"


async def test_dependencies_that_are_met_leave_the_later_start(queue: RunningQueue) -> None:
    first = await queue.claimed()
    await later(queue, DEPENDENT, dependencies=[first])
    await queue.post(f"/task/{first}/runs/0/completed")
    await queue.settle()
    assert (await queue.status(DEPENDENT))["state"] == "unscheduled"
    queue.clock.advance(minutes=10)
    assert await claimed_ids(queue) == [DEPENDENT]


@pytest.mark.parametrize("verb", ["schedule", "rerun"])
async def test_schedule_and_rerun_start_it_at_once(queue: RunningQueue, verb: str) -> None:
    task_id = await later(queue)
    await queue.post(f"/task/{task_id}/{verb}")
    assert await claimed_ids(queue) == [task_id]
    queue.clock.advance(minutes=10)
    assert await queue.loops.delays.run_once() == 0


async def test_a_cancelled_start_never_comes(queue: RunningQueue) -> None:
    task_id = await later(queue)
    await queue.post(f"/task/{task_id}/cancel")
    queue.clock.advance(minutes=10)
    assert await claimed_ids(queue) == []
    assert await queue.loops.delays.run_once() == 0


# ---- held ---------------------------------------------------------------------------------------------


async def test_a_held_task_waits_for_its_release(queue: RunningQueue) -> None:
    task_id = await queue.create(held=True)
    await queue.messages()
    queue.clock.advance(hours=1)
    assert await queue.loops.delays.run_once() == 0
    assert await claimed_ids(queue) == []
    await queue.post(f"/task/{task_id}/schedule")
    assert await queue.events() == [("task-pending", 0)]
    assert await claimed_ids(queue) == [task_id]


async def test_neither_time_nor_dependencies_release_a_held_task(queue: RunningQueue) -> None:
    first = await queue.claimed()
    await later(queue, DEPENDENT, dependencies=[first], held=True)
    await queue.post(f"/task/{first}/runs/0/completed")
    await queue.settle()
    queue.clock.advance(minutes=10)
    await queue.loops.delays.run_once()
    assert (await queue.status(DEPENDENT))["state"] == "unscheduled"


async def test_the_deadline_ends_a_held_task(queue: RunningQueue) -> None:
    task_id = await queue.create(held=True)
    queue.clock.advance(hours=3)
    await queue.sweep()
    assert (await queue.run(task_id))["reasonResolved"] == "deadline-exceeded"


# ---- order --------------------------------------------------------------------------------------------


async def test_what_comes_due_keeps_the_place_of_its_time(queue: RunningQueue) -> None:
    ids = [slugid() for _ in range(4)]
    await later(queue, ids[0], timedelta(seconds=30))
    await later(queue, ids[1], timedelta(seconds=10))
    queue.clock.advance(seconds=20)
    await queue.create(task_id=ids[2])
    queue.clock.advance(seconds=20)
    await queue.create(task_id=ids[3])
    assert await claimed_ids(queue) == in_order(ids, 1, 2, 0, 3)


async def test_of_one_moment_the_first_one_comes_first(queue: RunningQueue) -> None:
    ids = [slugid() for _ in range(5)]
    for task_id in ids:
        await later(queue, task_id)
    queue.clock.advance(minutes=11)
    assert await claimed_ids(queue) == ids


async def test_priority_comes_before_the_time(queue: RunningQueue) -> None:
    ids = [slugid() for _ in range(3)]
    await queue.create(task_id=ids[0], priority="low")
    await later(queue, ids[1], priority="high")
    queue.clock.advance(minutes=10)
    await queue.create(task_id=ids[2], priority="high")
    assert await claimed_ids(queue, tasks=1) == [ids[1]]
    assert await claimed_ids(queue) == in_order(ids, 2, 0)


async def test_another_priority_counts_for_a_delayed_task(queue: RunningQueue) -> None:
    delayed = await later(queue, priority="low")
    other = await queue.create(priority="medium")
    await queue.post(f"/task/{delayed}/priority", {"newPriority": "high"})
    queue.clock.advance(minutes=10)
    assert await claimed_ids(queue) == [delayed, other]


# ---- what is shown ------------------------------------------------------------------------------------


async def test_delayed_runs_are_not_counted_as_pending(queue: RunningQueue) -> None:
    """Autoscalers must not start machines for what cannot be worked on (C-10)."""
    await queue.create()
    await later(queue)
    snoozed = await queue.claim()
    await queue.post(f"/task/{snoozed[0]['status']['taskId']}/runs/0/snooze", {"delay": "5m"})
    await queue.create()
    counts = await queue.get("/task-queues/taskbus-ci%2Fb-linux-medium/counts")
    assert (counts["pendingTasks"], counts["claimedTasks"]) == (1, 0)
    assert len((await queue.get("/task-queues/taskbus-ci%2Fb-linux-medium/pending"))["tasks"]) == 1


# ---- waiting workers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("long_poll", [20.0])
async def test_a_waiting_worker_is_served_when_the_time_comes(queue: RunningQueue) -> None:
    task_id = await later(queue)
    waiting = asyncio.create_task(queue.claim())
    assert await queue.claim_passes.get() == [[]]
    queue.clock.advance(minutes=10)
    assert await queue.loops.delays.run_once() == 1
    (claim,) = await waiting
    assert claim["status"]["taskId"] == task_id


async def test_two_processes_release_and_claim_what_came_due_once(
    queue: RunningQueue, second: RunningQueue
) -> None:
    ids = [await later(queue) for _ in range(20)]
    queue.clock.advance(minutes=10)
    outcomes = await asyncio.gather(
        *(process.claim(tasks=5, worker=f"w{n}") for n in range(3) for process in (queue, second)),
        queue.loops.delays.run_once(),
        second.loops.delays.run_once(),
    )
    found: list[Json] = [claim for outcome in outcomes[:6] if isinstance(outcome, list) for claim in outcome]
    while rest := await queue.claim(tasks=32):
        found.extend(rest)
    assert sorted(claim["status"]["taskId"] for claim in found) == sorted(ids)
    events = await queue.events()
    assert events.count(("task-pending", 0)) == events.count(("task-running", 0)) == len(ids)


@on_sqlite
async def test_many_that_come_due_at_once_are_all_released(queue: RunningQueue) -> None:
    for number in range(520):
        await later(queue, wait=timedelta(seconds=1 + number % 3))
    queue.clock.advance(minutes=1)
    assert await queue.loops.delays.run_once() == 500
    assert await queue.loops.delays.run_once() == 20
    assert await queue.loops.delays.run_once() == 0

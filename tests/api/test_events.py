"""The event table of ``queue-behaviour.md`` 10: one test for each row, exchanges and runs in their order.

Keys, CC keys, members and shapes of every message are judged when the messages are read.
"""

from typing import Any, Final

import pytest

from tests.api.contract import Told
from tests.api.running_queue import RunningQueue, at

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
WORKER: Final = {"workerGroup": "eu-central", "workerId": "worker-1"}

DEFINED: Final = ("task-defined", None)
RESOLVED_GROUP: Final = ("task-group-resolved", None)


def pending(run_id: int) -> tuple[str, int]:
    return "task-pending", run_id


def exception(run_id: int) -> tuple[str, int]:
    return "task-exception", run_id


async def running(queue: RunningQueue, **members: Any) -> None:
    """The task is running its run 0, and its messages so far were heard."""
    await queue.claimed(task_id=TASK_ID, **members)
    await queue.messages()


async def pending_task(queue: RunningQueue, **members: Any) -> None:
    await queue.create(task_id=TASK_ID, **members)
    await queue.messages()


async def unscheduled(queue: RunningQueue, **members: Any) -> None:
    await queue.create(task_id=TASK_ID, dependencies=[TASK_ID], **members)
    await queue.messages()


async def post(queue: RunningQueue, verb: str, body: object | None = None) -> None:
    target = f"/task/{TASK_ID}/{verb}"
    await (queue.post(target) if body is None else queue.post(target, body))


async def settled(queue: RunningQueue) -> list[tuple[str, int | None]]:
    """The events since the last look, everything that follows from them included."""
    await queue.settle()
    return await queue.events()


def holder(told: Told) -> tuple[str | None, str | None]:
    return told.body.get("workerGroup"), told.body.get("workerId")


# ---- createTask ---------------------------------------------------------------------------------------


async def test_create_task_that_becomes_pending(queue: RunningQueue) -> None:
    await queue.create()
    assert await settled(queue) == [DEFINED, pending(0)]


async def test_create_task_that_stays_unscheduled(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID, dependencies=[TASK_ID])
    assert await settled(queue) == [DEFINED]


async def test_create_task_repeated_while_run_0_is_pending(queue: RunningQueue) -> None:
    await pending_task(queue)
    await queue.create(task_id=TASK_ID)
    assert await settled(queue) == [DEFINED, pending(0)]


@pytest.mark.parametrize("verb", ["completed", "failed"])
async def test_create_task_repeated_after_run_0(queue: RunningQueue, verb: str) -> None:
    await running(queue)
    await queue.create(task_id=TASK_ID)
    assert await queue.events() == [DEFINED]
    await post(queue, f"runs/0/{verb}")
    await settled(queue)
    await queue.create(task_id=TASK_ID)
    assert await settled(queue) == [DEFINED]


# ---- becoming pending ---------------------------------------------------------------------------------


async def test_last_dependency_satisfied(queue: RunningQueue) -> None:
    required = await queue.claimed("decision")
    await queue.create(task_id=TASK_ID, dependencies=[required])
    await queue.messages()
    await queue.post(f"/task/{required}/runs/0/completed")
    await queue.settle()
    told = await queue.messages()
    assert [(message.event, message.body.get("status", {}).get("taskId")) for message in told] == [
        (("task-completed", 0), required),
        (pending(0), TASK_ID),
        (RESOLVED_GROUP, None),
    ]


async def test_schedule_task_that_makes_a_run(queue: RunningQueue) -> None:
    await unscheduled(queue)
    await post(queue, "schedule")
    assert await settled(queue) == [pending(0)]


async def test_schedule_task_that_makes_none(queue: RunningQueue) -> None:
    await pending_task(queue)
    await post(queue, "schedule")
    assert await settled(queue) == []


async def test_rerun_task(queue: RunningQueue) -> None:
    await running(queue)
    await post(queue, "runs/0/failed")
    await settled(queue)
    await post(queue, "rerun")
    assert await settled(queue) == [pending(1)]


async def test_rerun_task_that_is_pending(queue: RunningQueue) -> None:
    await pending_task(queue)
    await post(queue, "rerun")
    assert await settled(queue) == [pending(0)]


async def test_rerun_task_that_is_running(queue: RunningQueue) -> None:
    await running(queue)
    await post(queue, "rerun")
    assert await settled(queue) == []


# ---- work ---------------------------------------------------------------------------------------------


async def test_claim_work_tells_once_per_run(queue: RunningQueue) -> None:
    for _ in range(3):
        await queue.create()
    await queue.messages()
    await queue.claim(tasks=3)
    assert await settled(queue) == [("task-running", 0)] * 3


async def test_claim_task(queue: RunningQueue) -> None:
    await pending_task(queue)
    await post(queue, "runs/0/claim", WORKER)
    assert await settled(queue) == [("task-running", 0)]


async def test_reclaim_task(queue: RunningQueue) -> None:
    await running(queue)
    await post(queue, "runs/0/reclaim")
    assert await settled(queue) == []


@pytest.mark.parametrize(
    ("outcome", "requires"), [("completed", "all-completed"), ("failed", "all-resolved")]
)
async def test_report_completed_and_failed(queue: RunningQueue, outcome: str, requires: str) -> None:
    await running(queue)
    dependent = await queue.create("test", dependencies=[TASK_ID], requires=requires)
    await queue.messages()
    await post(queue, f"runs/0/{outcome}")
    await queue.settle()
    told = await queue.messages()
    assert [message.event for message in told] == [(f"task-{outcome}", 0), pending(0), RESOLVED_GROUP]
    assert holder(told[0]) == ("eu-central", "worker-1")
    assert told[0].body["status"] == await queue.status(TASK_ID)
    assert told[1].task_id == dependent


async def test_report_failed_lets_no_strict_dependent_go(queue: RunningQueue) -> None:
    await running(queue)
    await queue.create("test", dependencies=[TASK_ID], requires="all-completed")
    await queue.messages()
    await post(queue, "runs/0/failed")
    assert await settled(queue) == [("task-failed", 0), RESOLVED_GROUP]


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_report_completed_and_failed_repeated(queue: RunningQueue, outcome: str) -> None:
    await running(queue)
    await queue.create("test", dependencies=[TASK_ID], requires="all-resolved")
    await post(queue, f"runs/0/{outcome}")
    await settled(queue)
    await post(queue, f"runs/0/{outcome}")
    told = await settled(queue)
    assert told[0] == (f"task-{outcome}", 0)
    assert pending(0) not in told
    assert told[1:] in ([], [RESOLVED_GROUP])


@pytest.mark.parametrize("reason", ["malformed-payload", "resource-unavailable", "internal-error"])
async def test_report_exception_final(queue: RunningQueue, reason: str) -> None:
    await running(queue)
    await queue.create("test", dependencies=[TASK_ID], requires="all-resolved")
    await queue.messages()
    await post(queue, "runs/0/exception", {"reason": reason})
    await queue.settle()
    told = await queue.messages()
    assert [message.event for message in told] == [exception(0), pending(0), RESOLVED_GROUP]
    assert holder(told[0]) == ("eu-central", "worker-1")


@pytest.mark.parametrize("reason", ["worker-shutdown", "intermittent-task"])
async def test_report_exception_retried(queue: RunningQueue, reason: str) -> None:
    await running(queue)
    await queue.create("test", dependencies=[TASK_ID], requires="all-resolved")
    await queue.messages()
    for _ in ("first", "repeated"):
        await post(queue, "runs/0/exception", {"reason": reason})
        await queue.settle()
        told = await queue.messages()
        assert [message.event for message in told] == [exception(0), pending(1)]
        assert holder(told[0]) == ("eu-central", "worker-1")
        assert told[0].body["status"] == told[1].body["status"] == await queue.status(TASK_ID)


@pytest.mark.parametrize("reason", ["worker-shutdown", "intermittent-task"])
async def test_report_exception_without_retries_left(queue: RunningQueue, reason: str) -> None:
    await running(queue, retries=0)
    await post(queue, "runs/0/exception", {"reason": reason})
    assert await settled(queue) == [exception(0), RESOLVED_GROUP]


async def test_report_exception_repeated_after_a_rerun_tells_no_pending(queue: RunningQueue) -> None:
    await running(queue)
    await post(queue, "runs/0/exception", {"reason": "internal-error"})
    await settled(queue)
    await post(queue, "rerun")
    await queue.messages()
    await post(queue, "runs/0/exception", {"reason": "internal-error"})
    assert await settled(queue) == [exception(0)]


# ---- what happens without a caller --------------------------------------------------------------------


async def test_claim_expired_and_retried(queue: RunningQueue) -> None:
    await running(queue)
    queue.clock.advance(seconds=1200)
    await queue.loops.claims.run_once()
    await queue.settle()
    told = await queue.messages()
    assert [message.event for message in told] == [exception(0), pending(1)]
    assert holder(told[0]) == ("eu-central", "worker-1")
    assert told[0].body["status"] == told[1].body["status"] == await queue.status(TASK_ID)


async def test_claim_expired_without_retries_left(queue: RunningQueue) -> None:
    await running(queue, retries=0)
    await queue.create("test", dependencies=[TASK_ID], requires="all-resolved")
    await queue.messages()
    queue.clock.advance(seconds=1200)
    await queue.loops.claims.run_once()
    await queue.settle()
    told = await queue.messages()
    assert [message.event for message in told] == [exception(0), pending(0), RESOLVED_GROUP]
    assert holder(told[0]) == ("eu-central", "worker-1")


@pytest.mark.parametrize("state", ["unscheduled", "pending", "running"])
async def test_deadline_exceeded(queue: RunningQueue, state: str) -> None:
    prepare = {"unscheduled": unscheduled, "pending": pending_task, "running": running}[state]
    await prepare(queue, deadline="2024-05-01T12:10:00Z")
    await queue.create("test", dependencies=[TASK_ID], requires="all-resolved")
    await queue.messages()
    queue.clock.set(at("2024-05-01T12:11:00Z"))
    await queue.loops.deadlines.run_once()
    await queue.settle()
    told = await queue.messages()
    assert [message.event for message in told] == [exception(0), pending(0), RESOLVED_GROUP]
    assert holder(told[0]) == (None, None)
    assert told[0].body["status"]["runs"][0].get("workerId") == ("worker-1" if state == "running" else None)


# ---- cancelling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["unscheduled", "pending", "running"])
async def test_cancel_task_and_again(queue: RunningQueue, state: str) -> None:
    prepare = {"unscheduled": unscheduled, "pending": pending_task, "running": running}[state]
    await prepare(queue)
    await post(queue, "cancel")
    await queue.settle()
    first, *rest = await queue.messages()
    assert [first.event, *(message.event for message in rest)] == [exception(0), RESOLVED_GROUP]
    assert holder(first) == (("eu-central", "worker-1") if state == "running" else (None, None))
    await post(queue, "cancel")
    await queue.settle()
    again, *rest = await queue.messages()
    assert again == first
    assert [message.event for message in rest] in ([], [RESOLVED_GROUP])


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_cancel_task_that_ended_in_another_way(queue: RunningQueue, outcome: str) -> None:
    await running(queue)
    await post(queue, f"runs/0/{outcome}")
    await settled(queue)
    await post(queue, "cancel")
    assert await settled(queue) == []


async def test_cancel_task_after_a_rerun_names_the_last_run(queue: RunningQueue) -> None:
    await running(queue)
    await post(queue, "runs/0/failed")
    await post(queue, "rerun")
    await settled(queue)
    await post(queue, "cancel")
    told = await queue.messages()
    assert [message.event for message in told] == [exception(1)]
    assert holder(told[0]) == (None, None)


async def test_cancel_task_group(queue: RunningQueue) -> None:
    await running(queue)
    other = await queue.create(taskGroupId=TASK_ID)
    await queue.post(f"/task-group/{TASK_ID}/seal")
    await queue.messages()
    await queue.post(f"/task-group/{TASK_ID}/cancel")
    await queue.settle()
    told = await queue.messages()
    assert [message.event for message in told] == [exception(0), exception(0), RESOLVED_GROUP]
    assert {message.task_id: holder(message) for message in told[:2]} == {
        TASK_ID: ("eu-central", "worker-1"),
        other: (None, None),
    }


# ---- groups and priorities ----------------------------------------------------------------------------


async def test_seal_task_group_and_again(queue: RunningQueue) -> None:
    await pending_task(queue)
    for _ in range(2):
        await queue.post(f"/task-group/{TASK_ID}/seal")
        assert await settled(queue) == [("task-group-sealed", None)]


async def test_change_task_priority(queue: RunningQueue) -> None:
    await pending_task(queue)
    await post(queue, "priority", {"newPriority": "highest"})
    assert await settled(queue) == [("task-priority-changed", None)]


async def test_change_task_group_priority(queue: RunningQueue) -> None:
    await pending_task(queue)
    await queue.post(f"/task-group/{TASK_ID}/priority", {"newPriority": "highest"})
    assert await settled(queue) == [("task-group-priority-changed", None)]


async def test_expiry_jobs(queue: RunningQueue) -> None:
    await running(queue, expires="2024-05-02T00:00:00Z")
    await post(queue, "runs/0/completed")
    await settled(queue)
    queue.clock.set(at("2024-05-03T00:00:00Z"))
    await queue.sweep()
    assert await settled(queue) == []


# ---- one life, from its messages alone ----------------------------------------------------------------


async def test_the_messages_of_a_life_tell_all_of_it(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    await queue.claim()
    await post(queue, "runs/0/exception", {"reason": "worker-shutdown"})
    await queue.claim()
    queue.clock.advance(seconds=1200)
    await queue.loops.claims.run_once()
    await queue.claim()
    await post(queue, "runs/2/completed")
    await queue.settle()
    assert await queue.events() == [
        DEFINED,
        pending(0),
        ("task-running", 0),
        exception(0),
        pending(1),
        ("task-running", 1),
        exception(1),
        pending(2),
        ("task-running", 2),
        ("task-completed", 2),
        RESOLVED_GROUP,
    ]

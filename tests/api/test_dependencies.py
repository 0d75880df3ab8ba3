"""Tasks that wait for others (``queue-behaviour.md`` 4)."""

import asyncio
from typing import Any, Final

import pytest

from schemas.ids import slugid
from tests.api.asgi import Reply
from tests.api.running_queue import RunningQueue

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
MISSING: Final = "fN1SbArXTPSVFNUvaOlinQ"


async def waiting(queue: RunningQueue, *required: str, **members: Any) -> str:
    """A task that waits for these; its id."""
    return await queue.create("test", dependencies=list(required), **members)


async def state(queue: RunningQueue, task_id: str) -> str:
    return str((await queue.status(task_id))["state"])


async def resolve(queue: RunningQueue, task_id: str, outcome: str) -> None:
    """End a pending task in one of the ways there are, and work off what follows."""
    if outcome == "canceled":
        await queue.post(f"/task/{task_id}/cancel")
    else:
        (claim,) = await queue.claim()
        assert claim["status"]["taskId"] == task_id
        run = f"/task/{task_id}/runs/{claim['runId']}"
        if outcome in ("completed", "failed"):
            await queue.post(f"{run}/{outcome}")
        else:
            await queue.post(f"{run}/exception", {"reason": outcome})
    await queue.settle()


# ---- when a task may go -------------------------------------------------------------------------------


async def test_a_task_goes_when_the_last_of_its_dependencies_has_completed(queue: RunningQueue) -> None:
    first, last = await queue.claimed(), await queue.claimed()
    task_id = await waiting(queue, first, last)
    assert (await queue.status(task_id))["runs"] == []
    await queue.post(f"/task/{first}/runs/0/completed")
    await queue.settle()
    assert await state(queue, task_id) == "unscheduled"
    queue.clock.advance(seconds=5)
    await queue.post(f"/task/{last}/runs/0/completed")
    await queue.settle()
    assert (await queue.status(task_id))["runs"] == [
        {
            "runId": 0,
            "state": "pending",
            "reasonCreated": "scheduled",
            "scheduled": "2024-05-01T12:00:05.000Z",
        }
    ]


@pytest.mark.parametrize(
    ("outcome", "all_completed", "all_resolved"),
    [
        ("completed", "pending", "pending"),
        ("failed", "unscheduled", "pending"),
        ("canceled", "unscheduled", "pending"),
        ("internal-error", "unscheduled", "pending"),
        ("worker-shutdown", "unscheduled", "unscheduled"),
        ("intermittent-task", "unscheduled", "unscheduled"),
    ],
)
async def test_how_a_dependency_ended_decides_whether_it_is_satisfied(
    queue: RunningQueue, outcome: str, all_completed: str, all_resolved: str
) -> None:
    required = await queue.create()
    strict = await waiting(queue, required, requires="all-completed")
    lenient = await waiting(queue, required, requires="all-resolved")
    await resolve(queue, required, outcome)
    assert (await state(queue, strict), await state(queue, lenient)) == (all_completed, all_resolved)


async def test_a_dependency_that_has_no_retries_left_is_resolved(queue: RunningQueue) -> None:
    required = await queue.create(retries=0)
    lenient = await waiting(queue, required, requires="all-resolved")
    await resolve(queue, required, "worker-shutdown")
    assert await state(queue, lenient) == "pending"


async def test_a_dependency_past_its_deadline_is_resolved(queue: RunningQueue) -> None:
    required = await queue.create(deadline="2024-05-01T12:30:00Z")
    lenient = await waiting(queue, required, requires="all-resolved")
    strict = await waiting(queue, required)
    queue.clock.advance(minutes=31)
    await queue.loops.deadlines.run_once()
    await queue.settle()
    assert (await state(queue, strict), await state(queue, lenient)) == ("unscheduled", "pending")


async def test_a_claim_that_expires_for_good_is_a_resolution(queue: RunningQueue) -> None:
    required = await queue.claimed(retries=0)
    lenient = await waiting(queue, required, requires="all-resolved")
    queue.clock.advance(seconds=1200)
    await queue.loops.claims.run_once()
    await queue.settle()
    assert await state(queue, lenient) == "pending"


async def test_a_satisfied_dependency_stays_so_when_it_runs_again(queue: RunningQueue) -> None:
    first, last = await queue.create(), await queue.create("decision")
    task_id = await waiting(queue, first, last)
    await resolve(queue, first, "completed")
    await queue.post(f"/task/{first}/rerun")
    await resolve(queue, first, "failed")
    await queue.claim("decision")
    await queue.post(f"/task/{last}/runs/0/completed")
    await queue.settle()
    assert await state(queue, task_id) == "pending"


async def test_a_failed_dependency_is_satisfied_when_a_rerun_completes(queue: RunningQueue) -> None:
    required = await queue.create()
    task_id = await waiting(queue, required)
    await resolve(queue, required, "failed")
    assert await state(queue, task_id) == "unscheduled"
    await queue.post(f"/task/{required}/rerun")
    await resolve(queue, required, "completed")
    assert await state(queue, task_id) == "pending"


async def test_a_rerun_before_the_dependents_were_looked_at_loses_nothing(queue: RunningQueue) -> None:
    required = await queue.claimed()
    task_id = await waiting(queue, required)
    await queue.post(f"/task/{required}/runs/0/completed")
    await queue.post(f"/task/{required}/rerun")
    await queue.settle()
    assert await state(queue, task_id) == "pending"


async def test_dependencies_that_are_satisfied_already_count(queue: RunningQueue) -> None:
    done, open_ = await queue.completed(), await queue.create("decision")
    task_id = slugid()
    both = queue.definition("test", dependencies=[done, open_])
    assert (await queue.call("PUT", f"/task/{task_id}", both)).json()["status"]["state"] == "unscheduled"
    other_id = slugid()
    one = queue.definition("test", dependencies=[done])
    assert (await queue.call("PUT", f"/task/{other_id}", one)).json()["status"]["state"] == "pending"


async def test_two_dependencies_that_end_at_once_schedule_once(queue: RunningQueue) -> None:
    required = [await queue.claimed() for _ in range(3)]
    task_id = await waiting(queue, *required)
    await queue.messages()
    await asyncio.gather(*(queue.post(f"/task/{one}/runs/0/completed") for one in required))
    await queue.settle()
    told = [message for message in await queue.messages() if message.exchange == "task-pending"]
    assert [message.task_id for message in told] == [task_id]


async def test_a_graph_is_worked_off_in_its_order(queue: RunningQueue) -> None:
    root = await queue.create()
    middle = [await waiting(queue, root) for _ in range(3)]
    end = await waiting(queue, *middle)
    await resolve(queue, root, "completed")
    claims = await queue.claim("test", tasks=32)
    assert sorted(claim["status"]["taskId"] for claim in claims) == sorted(middle)
    for task_id in middle:
        assert await state(queue, end) == "unscheduled"
        await queue.post(f"/task/{task_id}/runs/0/completed")
        await queue.settle()
    assert await state(queue, end) == "pending"


async def test_a_dependent_past_its_deadline_is_not_scheduled_and_nothing_is_told(
    queue: RunningQueue,
) -> None:
    required = await queue.claimed()
    task_id = await waiting(queue, required, deadline="2024-05-01T12:10:00Z")
    await queue.messages()
    queue.clock.advance(minutes=10)
    await queue.post(f"/task/{required}/runs/0/completed")
    await queue.settle()
    assert await state(queue, task_id) == "unscheduled"
    assert ("task-pending", 0) not in await queue.events()


async def test_a_dependent_that_has_a_run_is_left_alone(queue: RunningQueue) -> None:
    required = await queue.claimed()
    task_id = await waiting(queue, required)
    await queue.post(f"/task/{task_id}/schedule")
    await queue.messages()
    await queue.post(f"/task/{required}/runs/0/completed")
    await queue.settle()
    assert len((await queue.status(task_id))["runs"]) == 1
    assert ("task-pending", 0) not in await queue.events()


async def test_a_dependent_that_was_cancelled_is_left_alone(queue: RunningQueue) -> None:
    required = await queue.claimed()
    task_id = await waiting(queue, required)
    await queue.post(f"/task/{task_id}/cancel")
    await queue.post(f"/task/{required}/runs/0/completed")
    await queue.settle()
    assert await state(queue, task_id) == "exception"


# ---- a task that waits for itself ---------------------------------------------------------------------


async def test_a_task_may_wait_for_itself_and_is_then_only_scheduled_by_a_call(queue: RunningQueue) -> None:
    task_id = await waiting(queue, TASK_ID, task_id=TASK_ID)
    assert (await queue.status(task_id))["runs"] == []
    await queue.settle()
    assert await state(queue, task_id) == "unscheduled"
    scheduled = await queue.post(f"/task/{task_id}/schedule")
    assert scheduled["status"]["state"] == "pending"


async def test_a_task_that_waits_for_itself_and_another_is_not_scheduled_by_the_other(
    queue: RunningQueue,
) -> None:
    required = await queue.create()
    await waiting(queue, TASK_ID, required, task_id=TASK_ID)
    await resolve(queue, required, "completed")
    assert await state(queue, TASK_ID) == "unscheduled"
    assert (await queue.post(f"/task/{TASK_ID}/rerun"))["status"]["runs"][0]["reasonCreated"] == "rerun"


# ---- dependencies that are refused --------------------------------------------------------------------


async def refused(queue: RunningQueue, *required: str, **members: Any) -> Reply:
    """The refusal of a task that waits for these; nothing of it is left and nothing is told."""
    await queue.messages()
    body = queue.definition("test", dependencies=list(required), **members)
    reply = await queue.call("PUT", f"/task/{TASK_ID}", body)
    assert (reply.status, reply.code) == (400, "InputError")
    assert (await queue.call("GET", f"/task/{TASK_ID}")).status == 404
    assert await queue.events() == []
    return reply


async def test_missing_dependencies_are_listed_one_a_line(queue: RunningQueue) -> None:
    known, other_missing = await queue.create(), slugid()
    lines = (await refused(queue, MISSING, known, other_missing)).message.splitlines()
    assert [line for line in lines if line in (f" * {MISSING}", f" * {other_missing}")] == [
        f" * {MISSING}",
        f" * {other_missing}",
    ]
    assert f" * {known}" not in lines


async def test_dependencies_that_expire_before_the_deadline_are_listed(queue: RunningQueue) -> None:
    early = await queue.create(expires="2024-05-01T14:00:00Z")
    late = await queue.create(expires="2024-05-01T14:00:00.001Z")
    lines = (await refused(queue, early, late, deadline="2024-05-01T14:00:00.001Z")).message.splitlines()
    assert f" * {early}" in lines
    assert f" * {late}" not in lines


async def test_if_one_is_missing_the_others_are_not_examined(queue: RunningQueue) -> None:
    early = await queue.create(expires="2024-05-01T14:00:00Z")
    message = (await refused(queue, early, MISSING, deadline="2024-05-01T15:00:00Z")).message
    assert f" * {MISSING}" in message
    assert early not in message


async def test_a_refused_task_can_be_created_when_its_dependency_exists(queue: RunningQueue) -> None:
    await refused(queue, MISSING)
    await queue.create(task_id=MISSING)
    await waiting(queue, MISSING, task_id=TASK_ID)
    assert await state(queue, TASK_ID) == "unscheduled"


# ---- listDependentTasks -------------------------------------------------------------------------------


async def test_dependents_are_listed_satisfied_or_not_by_id(queue: RunningQueue) -> None:
    required = await queue.create()
    dependents = sorted([await waiting(queue, required) for _ in range(3)])
    for satisfied in (False, True):
        if satisfied:
            await resolve(queue, required, "completed")
        listed = await queue.get(f"/task/{required}/dependents")
        assert set(listed) == {"taskId", "tasks"}
        assert listed["taskId"] == required
        assert [entry["status"]["taskId"] for entry in listed["tasks"]] == dependents
        for entry in listed["tasks"]:
            assert set(entry) == {"status", "task"}
            assert entry["task"]["dependencies"] == [required]
            assert entry["status"] == await queue.status(entry["status"]["taskId"])


async def test_a_task_that_nobody_waits_for_has_no_dependents(queue: RunningQueue) -> None:
    task_id = await queue.create()
    assert await queue.get(f"/task/{task_id}/dependents") == {"taskId": task_id, "tasks": []}


async def test_dependents_of_an_unknown_task_are_a_404(queue: RunningQueue) -> None:
    assert (await queue.call("GET", f"/task/{MISSING}/dependents")).code == "ResourceNotFound"


async def test_an_expired_dependent_is_not_listed(queue: RunningQueue) -> None:
    required = await queue.create()
    kept = await waiting(queue, required)
    await waiting(queue, required, deadline="2024-05-01T12:30:00Z", expires="2024-05-01T12:40:00Z")
    queue.clock.advance(minutes=41)
    listed = await queue.get(f"/task/{required}/dependents")
    assert [entry["status"]["taskId"] for entry in listed["tasks"]] == [kept]


async def test_after_the_sweep_an_expired_dependent_is_gone(queue: RunningQueue) -> None:
    required = await queue.create()
    task_id = await waiting(queue, required, deadline="2024-05-01T12:30:00Z", expires="2024-05-01T12:40:00Z")
    queue.clock.advance(minutes=71)
    await queue.sweep()
    assert (await queue.get(f"/task/{required}/dependents"))["tasks"] == []
    assert (await queue.call("GET", f"/task/{task_id}")).status == 404

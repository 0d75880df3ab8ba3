"""Changing priorities (``queue-behaviour.md`` 6.8)."""

from typing import Any, Final

import pytest

from tests.api.asgi import Reply
from tests.api.running_queue import RunningQueue, at

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
GROUP_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"


async def change(queue: RunningQueue, priority: str, task_id: str = TASK_ID) -> Reply:
    return await queue.call("POST", f"/task/{task_id}/priority", {"newPriority": priority})


async def change_group(queue: RunningQueue, priority: str) -> dict[str, Any]:
    return await queue.post(f"/task-group/{GROUP_ID}/priority", {"newPriority": priority})


async def priorities(queue: RunningQueue, task_id: str) -> tuple[str, str]:
    """The priority in the definition and in the status."""
    definition = await queue.get(f"/task/{task_id}")
    return definition["priority"], (await queue.status(task_id))["priority"]


async def test_the_definition_and_the_status_show_the_new_priority(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID, priority="low")
    assert (await change(queue, "very-high")).json()["status"]["priority"] == "very-high"
    assert await priorities(queue, TASK_ID) == ("very-high", "very-high")
    ((entry,),) = (await queue.post("/tasks", {"taskIds": [TASK_ID]})).values()
    assert entry["task"]["priority"] == "very-high"
    (claim,) = await queue.claim()
    assert (claim["task"]["priority"], claim["status"]["priority"]) == ("very-high", "very-high")


async def test_a_change_tells_the_old_and_the_new_priority(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID, priority="low")
    await queue.messages()
    await change(queue, "highest")
    (told,) = await queue.messages()
    assert told.event == ("task-priority-changed", None)
    assert (told.body["oldPriority"], told.body["newPriority"]) == ("low", "highest")
    assert told.body["status"] == await queue.status(TASK_ID)


async def test_a_waiting_run_changes_its_class_and_keeps_its_age(queue: RunningQueue) -> None:
    moved = await queue.create(priority="low")
    queue.clock.advance(seconds=1)
    younger = await queue.create(priority="high")
    queue.clock.advance(seconds=1)
    await change(queue, "high", moved)
    claims = await queue.claim(tasks=2)
    assert [claim["status"]["taskId"] for claim in claims] == [moved, younger]


async def test_a_running_run_goes_on_and_its_retry_has_the_new_priority(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID, priority="low")
    rival = await queue.create(priority="medium")
    assert (await change(queue, "high")).json()["status"]["state"] == "running"
    await queue.post(f"/task/{TASK_ID}/runs/0/exception", {"reason": "worker-shutdown"})
    claims = await queue.claim(tasks=2)
    assert [claim["status"]["taskId"] for claim in claims] == [TASK_ID, rival]


async def test_an_unscheduled_task_can_change_its_priority(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID, dependencies=[TASK_ID])
    assert (await change(queue, "high")).status == 200
    assert (await queue.status(TASK_ID))["state"] == "unscheduled"


async def test_the_priority_it_already_has_is_a_conflict(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID, priority="low")
    assert (await change(queue, "low")).code == "RequestConflict"


async def test_a_task_that_was_ever_resolved_is_a_conflict(queue: RunningQueue) -> None:
    await queue.completed(task_id=TASK_ID)
    assert (await change(queue, "high")).code == "RequestConflict"
    await queue.post(f"/task/{TASK_ID}/rerun")
    assert (await change(queue, "high")).code == "RequestConflict"


async def test_after_the_deadline_a_change_is_a_conflict(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    queue.clock.set(at("2024-05-01T14:00:00Z"))
    assert (await change(queue, "high")).code == "RequestConflict"


async def test_an_unknown_task_is_a_404(queue: RunningQueue) -> None:
    assert (await change(queue, "high")).code == "ResourceNotFound"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("priority", ["normal", "", "HIGH", 1, None])
async def test_a_priority_that_does_not_exist_is_refused(queue: RunningQueue, priority: object) -> None:
    reply = await queue.call("POST", f"/task/{TASK_ID}/priority", {"newPriority": priority})
    assert reply.code == "InputValidationError"


# ---- groups -------------------------------------------------------------------------------------------


async def test_a_group_change_applies_to_tasks_never_resolved_before_their_deadline(
    queue: RunningQueue,
) -> None:
    done = await queue.completed(taskGroupId=GROUP_ID)
    await queue.post(f"/task/{done}/rerun")
    running = (await queue.claim())[0]["status"]["taskId"]
    assert running == done
    pending = await queue.create(taskGroupId=GROUP_ID, priority="low")
    waits = await queue.create(taskGroupId=GROUP_ID, dependencies=[pending])
    same = await queue.create(taskGroupId=GROUP_ID, priority="high")
    late = await queue.create(taskGroupId=GROUP_ID, deadline="2024-05-01T12:10:00Z")
    other = await queue.create()
    queue.clock.set(at("2024-05-01T12:10:00Z"))
    await queue.messages()
    reply = await change_group(queue, "high")
    assert {**reply, "taskIds": sorted(reply["taskIds"])} == {
        "taskGroupId": GROUP_ID,
        "schedulerId": "taskbus-level-3",
        "newPriority": "high",
        "tasksAffected": 2,
        "taskIds": sorted([pending, waits]),
    }
    for task_id in (pending, waits, same):
        assert await priorities(queue, task_id) == ("high", "high")
    for task_id in (done, late, other):
        assert await priorities(queue, task_id) == ("medium", "medium")


async def test_a_group_change_is_one_message_even_when_nothing_changes(queue: RunningQueue) -> None:
    for _ in range(2):
        await queue.create(taskGroupId=GROUP_ID, priority="low")
    await queue.messages()
    await change_group(queue, "high")
    await change_group(queue, "high")
    told = await queue.messages()
    assert [message.exchange for message in told] == ["task-group-priority-changed"] * 2
    assert [message.body["tasksAffected"] for message in told] == [2, 0]
    assert all(message.body["newPriority"] == "high" for message in told)


async def test_an_unknown_group_is_a_404(queue: RunningQueue) -> None:
    reply = await queue.call("POST", f"/task-group/{GROUP_ID}/priority", {"newPriority": "high"})
    assert reply.code == "ResourceNotFound"

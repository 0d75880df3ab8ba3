"""What can be done to a whole task group (``queue-behaviour.md`` 5, 6.8)."""

import pytest

from queue_service.core.errors import InsufficientScopes, RequestConflict, ResourceNotFound
from queue_service.core.groups import TaskGroup
from queue_service.operations import groups as operations
from tests.core.samples import DEADLINE, EXPIRES, GROUP_ID, NOW, new_ids, task
from tests.operations.queue import Queue, creation
from tests.store.manual_clock import ManualClock

A, B, C, D, E = new_ids(5)


def refuse(group: TaskGroup) -> None:
    raise InsufficientScopes(group.scheduler_id)


async def given_group(queue: Queue, *task_ids: str) -> None:
    await queue.create_all(*(creation(task_id, taskGroupId=GROUP_ID) for task_id in task_ids or (A,)))
    await queue.told()


# Seal


async def test_sealing_is_told_each_time_with_the_first_time(queue: Queue, clock: ManualClock) -> None:
    await given_group(queue)
    first = await queue.seal(GROUP_ID)
    assert first.sealed == NOW
    clock.advance(minutes=5)
    assert await queue.seal(GROUP_ID) == first
    bodies = [message.body for message in await queue.messages()]
    sealed = {
        "version": 1,
        "taskGroupId": GROUP_ID,
        "schedulerId": "sched",
        "expires": "2024-05-31T13:00:00.123Z",
        "sealed": "2024-05-01T12:00:00.123Z",
    }
    assert bodies == [sealed, sealed]


async def test_sealing_does_not_touch_the_tasks(queue: Queue) -> None:
    await given_group(queue, A, B)
    await queue.seal(GROUP_ID)
    await queue.end(A)
    assert await queue.states(A, B) == ["completed", "pending"]


async def test_every_call_on_an_unknown_group_is_not_found(queue: Queue) -> None:
    for call in (
        queue.seal(GROUP_ID),
        queue.cancel_group(GROUP_ID),
        queue.change_group_priority(GROUP_ID, "high"),
    ):
        with pytest.raises(ResourceNotFound, match=GROUP_ID):
            await call


async def test_an_unauthorized_seal_changes_nothing(queue: Queue) -> None:
    await given_group(queue)
    with pytest.raises(InsufficientScopes, match="sched"):
        await queue.database.write(lambda tx: operations.seal(tx, GROUP_ID, refuse))
    group = await queue.group(GROUP_ID)
    assert group is not None
    assert group.sealed is None
    assert await queue.told() == []


# Cancel


async def test_cancelling_ends_what_is_not_ended(queue: Queue) -> None:
    await given_group(queue, A, B, C, D)
    await queue.create(E, taskGroupId=GROUP_ID, dependencies=[A])
    await queue.run(B)
    await queue.end(C, "failed")
    await queue.end(D, "canceled")
    await queue.seal(GROUP_ID)
    await queue.told()
    reply = await queue.cancel_group(GROUP_ID)
    assert (reply.task_group_size, reply.cancelled_count, reply.task_ids) == (5, 3, (A, B, E))
    assert await queue.states(A, B, C, D, E) == ["exception", "exception", "failed", "exception", "exception"]
    assert await queue.told() == [f"task-exception {task_id} 0" for task_id in (A, B, E)]


async def test_cancelling_tells_the_whole_task(queue: Queue) -> None:
    await given_group(queue, A)
    await queue.run(A)
    await queue.seal(GROUP_ID)
    await queue.told()
    await queue.cancel_group(GROUP_ID)
    (message,) = await queue.messages()
    assert message.body["task"] == {"tags": {"kind": "build"}}
    assert message.body["status"]["priority"] == "lowest"
    assert message.body["workerId"] == "w-1"


async def test_cancelling_again_cancels_nothing_and_tells_nothing(queue: Queue) -> None:
    await given_group(queue, A)
    await queue.seal(GROUP_ID)
    await queue.cancel_group(GROUP_ID)
    await queue.told()
    reply = await queue.cancel_group(GROUP_ID)
    assert (reply.task_group_size, reply.cancelled_count, reply.task_ids) == (1, 0, ())
    assert await queue.told() == []


async def test_what_is_past_its_deadline_is_not_cancelled(queue: Queue, clock: ManualClock) -> None:
    await given_group(queue, A)
    await queue.seal(GROUP_ID)
    clock.move_to(DEADLINE)
    assert (await queue.cancel_group(GROUP_ID)).cancelled_count == 0
    assert await queue.states(A) == ["pending"]


async def test_only_a_sealed_group_is_cancelled_and_that_is_checked_before_the_scopes(queue: Queue) -> None:
    await given_group(queue, A)
    with pytest.raises(RequestConflict, match="is not sealed"):
        await queue.database.write(lambda tx: operations.cancel(tx, GROUP_ID, refuse))
    await queue.seal(GROUP_ID)
    with pytest.raises(InsufficientScopes):
        await queue.database.write(lambda tx: operations.cancel(tx, GROUP_ID, refuse))
    assert await queue.states(A) == ["pending"]


async def test_the_end_of_every_cancelled_task_is_looked_at(queue: Queue) -> None:
    await given_group(queue, A, B)
    await queue.create(C, dependencies=[A], requires="all-resolved")
    await queue.seal(GROUP_ID)
    await queue.cancel_group(GROUP_ID)
    await queue.told()
    await queue.work_off_all()
    assert await queue.told() == [f"task-pending {C} 0", f"task-group-resolved {GROUP_ID}"]


# Priority


async def test_a_group_gets_another_priority_where_it_applies(queue: Queue) -> None:
    await given_group(queue, A, B, C)
    await queue.create(D, taskGroupId=GROUP_ID, priority="high")
    await queue.create(E, taskGroupId=GROUP_ID, dependencies=[A])
    await queue.run(B)
    await queue.end(C)
    await queue.told()
    reply = await queue.change_group_priority(GROUP_ID, "high")
    assert (reply.tasks_affected, reply.task_ids) == (3, (A, B, E))
    assert (reply.new_priority, reply.scheduler_id) == ("high", "sched")
    found = [await queue.task(task_id) for task_id in (A, B, C, D, E)]
    assert [task.priority for task in found if task] == ["high", "high", "lowest", "high", "high"]
    (message,) = await queue.messages()
    assert message.exchange == "task-group-priority-changed"
    assert message.body == {
        "version": 1,
        "taskGroupId": GROUP_ID,
        "schedulerId": "sched",
        "newPriority": "high",
        "tasksAffected": 3,
    }


async def test_a_priority_that_changes_nothing_is_told_all_the_same(queue: Queue) -> None:
    await given_group(queue, A)
    reply = await queue.change_group_priority(GROUP_ID, "lowest")
    assert (reply.tasks_affected, reply.task_ids) == (0, ())
    assert await queue.told() == [f"task-group-priority-changed {GROUP_ID}"]


async def test_past_the_deadline_the_priority_stays(queue: Queue, clock: ManualClock) -> None:
    await given_group(queue, A)
    clock.move_to(DEADLINE)
    assert (await queue.change_group_priority(GROUP_ID, "high")).tasks_affected == 0


async def test_a_task_that_was_ever_resolved_keeps_its_priority(queue: Queue) -> None:
    await queue.given(
        task("scheduled failed", "rerun pending", task_id=A, task_group_id=GROUP_ID, ever_resolved=True)
    )
    await queue.create(B, taskGroupId=GROUP_ID)
    assert (await queue.change_group_priority(GROUP_ID, "high")).task_ids == (B,)


async def test_a_group_larger_than_a_page_is_changed_as_a_whole(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "PAGE", 2)
    await given_group(queue, A, B, C, D, E)
    assert (await queue.change_group_priority(GROUP_ID, "high")).task_ids == (A, B, C, D, E)
    await queue.seal(GROUP_ID)
    reply = await queue.cancel_group(GROUP_ID)
    assert (reply.task_group_size, reply.task_ids) == (5, (A, B, C, D, E))
    assert await queue.states(A, B, C, D, E) == ["exception"] * 5


async def test_a_group_whose_tasks_are_gone_can_be_sealed_and_cancelled(
    queue: Queue, clock: ManualClock
) -> None:
    await given_group(queue, A)
    clock.move_to(EXPIRES)
    clock.advance(minutes=31)
    await queue.pass_deadlines()
    await queue.delete_expired()
    assert await queue.task(A) is None
    await queue.seal(GROUP_ID)
    assert (await queue.cancel_group(GROUP_ID)).task_group_size == 0

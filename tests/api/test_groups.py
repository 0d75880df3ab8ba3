"""Task groups (``queue-behaviour.md`` 5)."""

from typing import Any, Final

import pytest

from schemas.ids import slugid
from tests.api.contract import Told
from tests.api.running_queue import RunningQueue

GROUP_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
UNKNOWN: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"


async def member(queue: RunningQueue, **members: Any) -> str:
    """A task of the group; its id."""
    return await queue.create(taskGroupId=GROUP_ID, **members)


async def resolved_groups(queue: RunningQueue) -> list[Told]:
    """The task-group-resolved messages since the last look, everything worked off."""
    await queue.settle()
    return [told for told in await queue.messages() if told.exchange == "task-group-resolved"]


# ---- the record ---------------------------------------------------------------------------------------


async def test_a_group_exists_from_its_first_task_on(queue: RunningQueue) -> None:
    assert (await queue.call("GET", f"/task-group/{GROUP_ID}")).code == "ResourceNotFound"
    await member(queue, expires="2024-05-02T00:00:00Z")
    assert await queue.get(f"/task-group/{GROUP_ID}") == {
        "taskGroupId": GROUP_ID,
        "schedulerId": "taskbus-level-3",
        "expires": "2024-05-02T01:00:00.000Z",
    }


async def expiry_after(queue: RunningQueue, *expires: str) -> str:
    """When the group expires after tasks that expire then."""
    for moment in expires:
        await member(queue, expires=moment)
    return str((await queue.get(f"/task-group/{GROUP_ID}"))["expires"])


async def test_a_group_is_kept_an_hour_longer_than_its_longest_lived_task(queue: RunningQueue) -> None:
    kept = await expiry_after(queue, "2024-05-02T00:00:00Z", "2024-05-03T00:00:00Z", "2024-05-02T12:00:00Z")
    assert kept == "2024-05-03T01:00:00.000Z"


async def test_a_task_that_does_not_outlive_the_group_does_not_move_its_expiry(queue: RunningQueue) -> None:
    kept = await expiry_after(queue, "2024-05-02T00:00:00Z", "2024-05-02T00:30:00Z")
    assert kept == "2024-05-02T01:00:00.000Z"


async def test_a_group_is_deleted_after_its_expiry(queue: RunningQueue) -> None:
    await member(queue, expires="2024-05-02T00:00:00Z")
    queue.clock.advance(hours=13, minutes=31)
    await queue.sweep()
    assert (await queue.call("GET", f"/task-group/{GROUP_ID}")).status == 404


# ---- listTaskGroup ------------------------------------------------------------------------------------


async def test_the_tasks_of_a_group_are_listed_by_id(queue: RunningQueue) -> None:
    task_ids = sorted([await member(queue) for _ in range(4)])
    await queue.create()
    listed = await queue.get(f"/task-group/{GROUP_ID}/list")
    assert set(listed) == {"taskGroupId", "schedulerId", "expires", "tasks"}
    assert [entry["status"]["taskId"] for entry in listed["tasks"]] == task_ids
    for entry in listed["tasks"]:
        assert entry["status"] == await queue.status(entry["status"]["taskId"])
        assert entry["task"] == await queue.get(f"/task/{entry['status']['taskId']}")


async def test_a_list_tells_when_the_group_was_sealed(queue: RunningQueue) -> None:
    await member(queue)
    await queue.post(f"/task-group/{GROUP_ID}/seal")
    assert (await queue.get(f"/task-group/{GROUP_ID}/list"))["sealed"] == "2024-05-01T12:00:00.000Z"


async def test_the_list_of_an_unknown_group_is_a_404(queue: RunningQueue) -> None:
    assert (await queue.call("GET", f"/task-group/{UNKNOWN}/list")).code == "ResourceNotFound"


# ---- sealTaskGroup ------------------------------------------------------------------------------------


async def test_sealing_happens_once_and_is_told_each_time(queue: RunningQueue) -> None:
    await member(queue, expires="2024-05-02T00:00:00Z")
    await queue.messages()
    first = await queue.post(f"/task-group/{GROUP_ID}/seal")
    queue.clock.advance(minutes=5)
    assert (
        await queue.post(f"/task-group/{GROUP_ID}/seal")
        == first
        == await queue.get(f"/task-group/{GROUP_ID}")
    )
    assert first["sealed"] == "2024-05-01T12:00:00.000Z"
    told = await queue.messages()
    assert [message.exchange for message in told] == ["task-group-sealed"] * 2
    assert all(message.body == {"version": 1, **first} for message in told)


async def test_sealing_an_unknown_group_is_a_404(queue: RunningQueue) -> None:
    assert (await queue.call("POST", f"/task-group/{UNKNOWN}/seal")).code == "ResourceNotFound"
    assert await queue.events() == []


async def test_the_tasks_of_a_sealed_group_go_on(queue: RunningQueue) -> None:
    waits = await member(queue, task_id=UNKNOWN, dependencies=[UNKNOWN])
    await queue.post(f"/task-group/{GROUP_ID}/seal")
    assert (await queue.post(f"/task/{waits}/schedule"))["status"]["state"] == "pending"
    (claim,) = await queue.claim()
    await queue.post(f"/task/{waits}/runs/{claim['runId']}/failed")
    assert (await queue.post(f"/task/{waits}/rerun"))["status"]["state"] == "pending"


# ---- cancelTaskGroup ----------------------------------------------------------------------------------


async def test_cancelling_a_sealed_group_ends_what_is_not_ended(queue: RunningQueue) -> None:
    done = await queue.completed(taskGroupId=GROUP_ID)
    running = await queue.claimed(taskGroupId=GROUP_ID)
    pending = await member(queue)
    waits = await member(queue, dependencies=[pending])
    late = await member(queue, deadline="2024-05-01T12:10:00Z")
    queue.clock.advance(minutes=10)
    await queue.post(f"/task-group/{GROUP_ID}/seal")
    await queue.messages()
    reply = await queue.post(f"/task-group/{GROUP_ID}/cancel")
    assert {**reply, "taskIds": sorted(reply["taskIds"])} == {
        "taskGroupId": GROUP_ID,
        "taskGroupSize": 5,
        "cancelledCount": 3,
        "taskIds": sorted([running, pending, waits]),
    }
    for task_id in (running, pending, waits):
        run = await queue.run(task_id)
        assert (run["state"], run["reasonResolved"]) == ("exception", "canceled")
        assert len((await queue.status(task_id))["runs"]) == 1
    assert (await queue.status(done))["state"] == "completed"
    assert (await queue.status(late))["state"] == "pending"


async def test_the_messages_of_a_cancelled_group_carry_tags_and_priority(queue: RunningQueue) -> None:
    task_id = await member(queue)
    await queue.post(f"/task-group/{GROUP_ID}/seal")
    await queue.messages()
    await queue.post(f"/task-group/{GROUP_ID}/cancel")
    (told,) = await queue.messages()
    assert told.event == ("task-exception", 0)
    assert told.body["status"] == await queue.status(task_id)
    assert told.body["status"]["priority"] == "medium"
    assert told.body["task"]["tags"]["kind"] == "build"


async def test_cancelling_again_cancels_nothing(queue: RunningQueue) -> None:
    await member(queue)
    await queue.post(f"/task-group/{GROUP_ID}/seal")
    await queue.post(f"/task-group/{GROUP_ID}/cancel")
    await queue.messages()
    assert await queue.post(f"/task-group/{GROUP_ID}/cancel") == {
        "taskGroupId": GROUP_ID,
        "taskGroupSize": 1,
        "cancelledCount": 0,
        "taskIds": [],
    }
    assert await queue.events() == []


async def test_a_group_that_is_not_sealed_cannot_be_cancelled(queue: RunningQueue) -> None:
    task_id = await member(queue)
    reply = await queue.call("POST", f"/task-group/{GROUP_ID}/cancel")
    assert (reply.status, reply.code) == (409, "RequestConflict")
    assert (await queue.status(task_id))["state"] == "pending"


async def test_cancelling_an_unknown_group_is_a_404(queue: RunningQueue) -> None:
    assert (await queue.call("POST", f"/task-group/{UNKNOWN}/cancel")).code == "ResourceNotFound"


async def test_a_cancelled_group_is_resolved_once_for_all(queue: RunningQueue) -> None:
    for _ in range(3):
        await member(queue)
    await queue.post(f"/task-group/{GROUP_ID}/seal")
    await queue.post(f"/task-group/{GROUP_ID}/cancel")
    assert len(await resolved_groups(queue)) >= 1


async def test_all_tasks_of_a_large_group_are_cancelled(
    queue: RunningQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queue_service.operations.groups.PAGE", 3)
    task_ids = sorted([await member(queue) for _ in range(7)])
    await queue.post(f"/task-group/{GROUP_ID}/seal")
    reply = await queue.post(f"/task-group/{GROUP_ID}/cancel")
    assert sorted(reply["taskIds"]) == task_ids
    assert await queue.nothing_pending()


# ---- task-group-resolved ------------------------------------------------------------------------------


async def test_a_group_is_resolved_when_its_last_task_is(queue: RunningQueue) -> None:
    first, last = [await queue.claimed(taskGroupId=GROUP_ID) for _ in range(2)]
    await queue.post(f"/task/{first}/runs/0/completed")
    assert await resolved_groups(queue) == []
    await queue.post(f"/task/{last}/runs/0/failed")
    (told,) = await resolved_groups(queue)
    assert told.body == {"version": 1, **await queue.get(f"/task-group/{GROUP_ID}")}
    assert "sealed" not in told.body


async def test_a_resolved_group_tells_that_it_was_sealed(queue: RunningQueue) -> None:
    task_id = await queue.claimed(taskGroupId=GROUP_ID)
    await queue.post(f"/task-group/{GROUP_ID}/seal")
    await queue.post(f"/task/{task_id}/runs/0/completed")
    (told,) = await resolved_groups(queue)
    assert told.body["sealed"] == "2024-05-01T12:00:00.000Z"


async def test_an_unscheduled_task_keeps_its_group_open(queue: RunningQueue) -> None:
    task_id = await queue.claimed(taskGroupId=GROUP_ID)
    waits = await member(queue, task_id=UNKNOWN, dependencies=[UNKNOWN])
    await queue.post(f"/task/{task_id}/runs/0/completed")
    assert await resolved_groups(queue) == []
    await queue.post(f"/task/{waits}/cancel")
    assert len(await resolved_groups(queue)) == 1


async def test_a_retry_keeps_its_group_open(queue: RunningQueue) -> None:
    task_id = await queue.claimed(taskGroupId=GROUP_ID)
    await queue.post(f"/task/{task_id}/runs/0/exception", {"reason": "worker-shutdown"})
    assert await resolved_groups(queue) == []


async def test_a_task_added_later_resolves_the_group_again(queue: RunningQueue) -> None:
    for _ in range(2):
        await queue.completed(taskGroupId=GROUP_ID)
        assert len(await resolved_groups(queue)) == 1


async def test_a_rerun_does_not_reopen_a_group_and_its_end_resolves_it_again(queue: RunningQueue) -> None:
    first, other = [await queue.completed(taskGroupId=GROUP_ID) for _ in range(2)]
    assert len(await resolved_groups(queue)) == 1
    await queue.post(f"/task/{first}/rerun")
    await queue.post(f"/task/{other}/rerun")
    assert await resolved_groups(queue) == []
    (claim,) = await queue.claim()
    await queue.post(f"/task/{claim['status']['taskId']}/runs/1/completed")
    assert len(await resolved_groups(queue)) == 1


async def test_other_groups_are_not_told(queue: RunningQueue) -> None:
    await queue.create(taskGroupId=slugid())
    task_id = await queue.create("decision", taskGroupId=GROUP_ID)
    await queue.claim("decision")
    await queue.post(f"/task/{task_id}/runs/0/completed")
    assert [told.body["taskGroupId"] for told in await resolved_groups(queue)] == [GROUP_ID]

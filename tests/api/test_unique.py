"""Unique tasks: one of its kind is enough (``seed-systems.md`` U-5 to U-11, B-4)."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import text

from schemas.ids import slugid
from schemas.times import format_time
from tests.api.asgi import Reply
from tests.api.running_queue import RunningQueue
from tests.api.secured_queue import refused

BY_ARGS: Final = {"byArgs": True}
PAYLOAD: Final = {"kind": "send-invoice", "args": {"customer": 7}}
DAY: Final = timedelta(days=1)

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


async def submit(queue: RunningQueue, task_id: str = "", **members: Any) -> Reply:
    """Ask for a unique task."""
    body = queue.definition(**{"payload": PAYLOAD, "unique": BY_ARGS, **members})
    return await queue.call("PUT", f"/task/{task_id or slugid()}", body)


async def first(queue: RunningQueue, **members: Any) -> str:
    """A unique task that is new; its id."""
    task_id = slugid()
    reply = await submit(queue, task_id, **members)
    assert reply.status == 200, reply.body
    assert reply.json()["status"]["taskId"] == task_id
    assert "uniqueSkippedAsDuplicate" not in reply.json()
    return task_id


async def is_duplicate_of(queue: RunningQueue, task_id: str, **members: Any) -> bool:
    """Whether an equal task is not created because of this one."""
    reply = await submit(queue, **members)
    assert reply.status == 200, reply.body
    if reply.json().get("uniqueSkippedAsDuplicate"):
        assert reply.json()["status"] == await queue.status(task_id)
        return True
    return False


async def test_a_duplicate_is_answered_with_the_existing_task_and_leaves_no_trace(
    queue: RunningQueue,
) -> None:
    existing = await first(queue)
    before, other = await queue.stored(), slugid()
    await queue.messages()
    reply = await submit(queue, other)
    assert reply.json() == {"status": await queue.status(existing), "uniqueSkippedAsDuplicate": True}
    assert (await queue.call("GET", f"/task/{other}")).status == 404
    assert await queue.stored() == before
    assert await queue.messages() == []


async def test_the_definition_shows_what_was_asked(queue: RunningQueue) -> None:
    task_id = await first(queue, unique={"byArgs": ["customer"], "byPeriod": "1h"})
    assert (await queue.get(f"/task/{task_id}"))["unique"] == {
        "byArgs": ["customer"],
        "byPeriod": 3600,
        "byQueue": False,
        "excludeKind": False,
    }


async def test_a_repeat_of_the_existing_task_is_no_duplicate(queue: RunningQueue) -> None:
    task_id = await first(queue)
    reply = await submit(queue, task_id)
    assert (reply.status, reply.json()) == (200, {"status": await queue.status(task_id)})


async def test_a_task_that_is_not_unique_is_never_a_duplicate(queue: RunningQueue) -> None:
    await first(queue)
    for unasked in (None, {}, {"byArgs": False}):
        for _ in range(2):
            reply = await submit(queue, unique=unasked)
            assert (reply.status, reply.json().get("uniqueSkippedAsDuplicate")) == (200, None)


async def test_a_duplicate_of_a_task_with_other_members_leaves_the_task_alone(queue: RunningQueue) -> None:
    existing = await first(queue, unique={"byArgs": True, "excludeKind": True})
    before = await queue.get(f"/task/{existing}")
    other = {"kind": "another", "args": PAYLOAD["args"]}
    assert await is_duplicate_of(
        queue, existing, payload=other, unique={"byArgs": True, "excludeKind": True}, priority="high"
    )
    assert await queue.get(f"/task/{existing}") == before


async def test_projects_do_not_see_each_others_keys(queue: RunningQueue) -> None:
    existing = await first(queue)
    assert not await is_duplicate_of(queue, existing, projectId="another")


async def test_tasks_of_different_queues_are_equal_unless_the_queue_counts(queue: RunningQueue) -> None:
    elsewhere: dict[str, Any] = {"taskQueueId": "prov/other", "provisionerId": None, "workerType": None}
    existing = await first(queue)
    assert await is_duplicate_of(queue, existing, **elsewhere)
    by_queue = {"byArgs": True, "byQueue": True}
    await first(queue, unique=by_queue)
    assert not await is_duplicate_of(queue, existing, unique=by_queue, **elsewhere)


async def test_in_another_period_the_task_is_another_one(queue: RunningQueue) -> None:
    hourly = {"byPeriod": "1h"}
    existing = await first(queue, unique=hourly)
    queue.clock.advance(minutes=59)
    assert await is_duplicate_of(queue, existing, unique=hourly)
    queue.clock.advance(minutes=1)
    assert not await is_duplicate_of(queue, existing, unique=hourly)


async def test_a_delayed_task_is_of_the_period_in_which_it_starts(queue: RunningQueue) -> None:
    hourly = {"byPeriod": "1h"}
    later = format_time(queue.clock.now() + timedelta(minutes=61))
    existing = await first(queue, unique=hourly, runAt=later)
    await first(queue, unique=hourly)
    assert await is_duplicate_of(queue, existing, unique=hourly, runAt=later)


# ---- which states count -------------------------------------------------------------------------------


async def test_a_task_counts_until_a_day_after_its_completion(queue: RunningQueue) -> None:
    existing = await first(queue)
    await queue.claim()
    assert await is_duplicate_of(queue, existing)
    await queue.post(f"/task/{existing}/runs/0/completed")
    queue.clock.advance(days=1, milliseconds=-1)
    assert await is_duplicate_of(queue, existing)
    queue.clock.advance(milliseconds=1)
    await first(queue)


@pytest.mark.parametrize("end", ["failed", "cancel"])
async def test_a_task_that_leaves_the_counted_states_frees_its_key_at_once(
    queue: RunningQueue, end: str
) -> None:
    existing = await first(queue)
    await queue.claim()
    await queue.post(f"/task/{existing}/cancel" if end == "cancel" else f"/task/{existing}/runs/0/failed")
    await first(queue)


async def test_a_failure_counts_where_the_task_says_so(queue: RunningQueue) -> None:
    counted = {**BY_ARGS, "byState": ["unscheduled", "pending", "running", "failed"], "uniqueFor": "1h"}
    existing = await first(queue, unique=counted)
    await queue.claim()
    await queue.post(f"/task/{existing}/runs/0/failed")
    assert await is_duplicate_of(queue, existing, unique=counted)
    queue.clock.advance(hours=1)
    await first(queue, unique=counted)


async def test_a_retry_keeps_the_key(queue: RunningQueue) -> None:
    existing = await first(queue)
    await queue.claim()
    await queue.post(f"/task/{existing}/runs/0/exception", {"reason": "intermittent-task"})
    assert await is_duplicate_of(queue, existing)


async def test_the_sweep_takes_the_keys_of_tasks_whose_time_is_up(queue: RunningQueue) -> None:
    existing = await first(queue, expires=queue.clock.now() + 30 * DAY)
    await queue.claim()
    await queue.post(f"/task/{existing}/runs/0/completed")
    queue.clock.advance(days=1, milliseconds=-1)
    await queue.sweep()
    assert await held_keys(queue) == 1
    queue.clock.advance(milliseconds=1)
    await queue.sweep()
    assert await held_keys(queue) == 0
    assert (await queue.status(existing))["state"] == "completed"


async def test_a_task_that_is_rerun_takes_its_key_again(queue: RunningQueue) -> None:
    existing = await first(queue)
    await queue.post(f"/task/{existing}/cancel")
    await queue.post(f"/task/{existing}/rerun")
    assert await is_duplicate_of(queue, existing)


async def test_a_task_whose_key_is_taken_by_now_is_not_rerun(queue: RunningQueue) -> None:
    earlier = await first(queue)
    await queue.post(f"/task/{earlier}/cancel")
    later = await first(queue)
    before = await queue.status(earlier)
    await queue.messages()
    refused(await queue.call("POST", f"/task/{earlier}/rerun"), 409, "RequestConflict", later, "pending")
    assert await queue.status(earlier) == before
    assert await queue.messages() == []
    await queue.post(f"/task/{later}/cancel")
    await queue.post(f"/task/{earlier}/rerun")


async def test_a_task_whose_key_was_taken_is_still_a_repeat_of_itself(queue: RunningQueue) -> None:
    earlier = await first(queue)
    await queue.post(f"/task/{earlier}/cancel")
    await first(queue)
    reply = await submit(queue, earlier)
    assert reply.json() == {"status": await queue.status(earlier)}


async def test_of_two_equal_tasks_rerun_at_once_one_is_refused(queue: RunningQueue) -> None:
    one = await first(queue)
    await queue.post(f"/task/{one}/cancel")
    other = await first(queue)
    await queue.post(f"/task/{other}/cancel")
    replies = await asyncio.gather(*(queue.call("POST", f"/task/{task}/rerun") for task in (one, other)))
    assert sorted(reply.status for reply in replies) == [200, 409]


# ---- many at once -------------------------------------------------------------------------------------


async def test_a_hundred_submissions_at_once_make_one_task(queue: RunningQueue, second: RunningQueue) -> None:
    replies = await asyncio.gather(
        *(submit(process) for _ in range(50) for process in (queue, second)),
    )
    assert {reply.status for reply in replies} == {200}
    assert sum(reply.json().get("uniqueSkippedAsDuplicate", False) for reply in replies) == 99
    assert len({reply.json()["status"]["taskId"] for reply in replies}) == 1
    assert (await queue.stored())["tasks"] == 1
    assert len(await queue.claim(tasks=32)) == 1


async def test_equal_tasks_in_one_bulk_are_one(queue: RunningQueue) -> None:
    unique, plain = {"payload": PAYLOAD, "unique": BY_ARGS}, {"payload": PAYLOAD}
    tasks = [
        {"taskId": slugid(), "task": queue.definition(**members)}
        for members in (unique, plain, unique, {**unique, "payload": {"kind": "other"}}, unique)
    ]
    answer = await queue.post("/tasks/bulk", {"tasks": tasks})
    winner = tasks[0]["taskId"]
    skipped = {"taskId": winner, "uniqueSkippedAsDuplicate": True}
    assert answer["tasks"] == [
        {"taskId": winner, "created": True},
        {"taskId": tasks[1]["taskId"], "created": True},
        skipped,
        {"taskId": tasks[3]["taskId"], "created": True},
        skipped,
    ]
    assert (await queue.stored())["tasks"] == 3


async def test_a_fast_bulk_with_a_duplicate_is_refused_wholly(queue: RunningQueue) -> None:
    existing = await first(queue)
    before = await queue.stored()
    unique = queue.definition(payload=PAYLOAD, unique=BY_ARGS)
    tasks = [
        {"taskId": slugid(), "task": queue.definition()},
        {"taskId": slugid(), "task": unique},
    ]
    reply = await queue.call("POST", "/tasks/bulk", {"tasks": tasks, "mode": "fast"})
    refused(reply, 409, "RequestConflict", "`tasks[1]`", existing)
    assert await queue.stored() == before


async def test_bulks_of_equal_tasks_at_once_make_each_task_once(
    queue: RunningQueue, second: RunningQueue
) -> None:
    def bulk(numbers: range) -> dict[str, Any]:
        return {
            "tasks": [
                {
                    "taskId": slugid(),
                    "task": queue.definition(payload={"args": {"number": number}}, unique=BY_ARGS),
                }
                for number in numbers
            ]
        }

    answers = await asyncio.gather(
        *(
            process.post("/tasks/bulk", bulk(numbers))
            for process in (queue, second)
            for numbers in (range(20), range(19, -1, -1))
        )
    )
    created = [entry for answer in answers for entry in answer["tasks"] if entry.get("created")]
    assert len(created) == 20
    assert (await queue.stored())["tasks"] == 20


@on_sqlite
async def test_wrong_options_are_refused_with_their_place(queue: RunningQueue) -> None:
    reply = await submit(queue, unique={"byState": ["pending"]})
    refused(reply, 400, "InputValidationError", "`/unique`", "unscheduled")


async def held_keys(queue: RunningQueue) -> int:
    async with queue.database.read() as connection:
        found = await connection.execute(text("SELECT task_id FROM tasks WHERE unique_key IS NOT NULL"))
        return len(found.all())

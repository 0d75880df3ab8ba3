"""createTask again: when it is the same call (``queue-behaviour.md`` 3.2)."""

import asyncio
import json
from typing import Any, Final

import pytest

from tests.api.asgi import Reply
from tests.api.running_queue import RunningQueue

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
OTHER_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


async def put(queue: RunningQueue, body: dict[str, Any]) -> Reply:
    return await queue.call("PUT", f"/task/{TASK_ID}", body)


def reordered(value: Any) -> Any:
    """The same value, the members of every object in the opposite order."""
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    return [reordered(element) for element in value] if isinstance(value, list) else value


async def test_a_repeat_answers_the_current_status_and_is_told_again(queue: RunningQueue) -> None:
    body = queue.definition()
    first = await put(queue, body)
    queue.clock.advance(minutes=14)
    again = await put(queue, body)
    assert again.status == 200
    assert again.json() == first.json()
    assert await queue.events() == [("task-defined", None), ("task-pending", 0)] * 2


async def test_a_repeat_never_makes_a_run_an_entry_or_a_group(queue: RunningQueue) -> None:
    body = queue.definition()
    await put(queue, body)
    before = await queue.stored() | {"outbox": 0}
    await put(queue, body)
    assert await queue.stored() | {"outbox": 0} == before
    assert len(await queue.claim(tasks=2)) == 1


async def test_a_repeat_while_running_tells_no_pending(queue: RunningQueue) -> None:
    body = queue.definition()
    await put(queue, body)
    await queue.claim()
    await queue.messages()
    reply = await put(queue, body)
    assert reply.json()["status"]["state"] == "running"
    (defined,) = await queue.messages()
    assert defined.event == ("task-defined", None)
    assert (defined.body["status"]["state"], defined.body["status"]["runs"]) == ("unscheduled", [])
    assert defined.body["status"]["retriesLeft"] == 5


async def test_a_repeat_after_a_retry_tells_no_pending_although_a_run_is_pending(queue: RunningQueue) -> None:
    body = queue.definition()
    await put(queue, body)
    await queue.claim()
    await queue.post(f"/task/{TASK_ID}/runs/0/exception", {"reason": "worker-shutdown"})
    await queue.messages()
    assert (await put(queue, body)).json()["status"]["state"] == "pending"
    (defined,) = await queue.messages()
    assert defined.event == ("task-defined", None)
    assert defined.body["status"]["retriesLeft"] == 5


async def test_a_repeat_of_an_unscheduled_task_tells_no_pending(queue: RunningQueue) -> None:
    body = queue.definition(dependencies=[TASK_ID])
    await put(queue, body)
    await put(queue, body)
    assert await queue.events() == [("task-defined", None)] * 2


@on_sqlite
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"created": "2024-05-01T14:00:00.0009+02:00"},
        {"taskQueueId": "taskbus-ci/b-linux-medium"},
        {"taskQueueId": "taskbus-ci/b-linux-medium", "provisionerId": None, "workerType": None},
        {"taskGroupId": TASK_ID},
        {"dependencies": [], "requires": "all-completed"},
        {"expires": "2025-05-01T14:00:00Z"},
        {"retries": 5.0},
    ],
    ids=str,
)
async def test_definitions_are_compared_in_their_normal_form(
    queue: RunningQueue, change: dict[str, Any]
) -> None:
    await put(queue, queue.definition())
    assert (await put(queue, queue.definition(**change))).status == 200


async def test_the_order_of_members_does_not_matter(queue: RunningQueue) -> None:
    body = queue.definition()
    await put(queue, body)
    assert json.dumps(reordered(body)) != json.dumps(body)
    assert (await put(queue, reordered(body))).status == 200


@on_sqlite
@pytest.mark.parametrize(
    "change",
    [
        {"routes": []},
        {"retries": 4},
        {"priority": "high"},
        {"schedulerId": "-"},
        {"projectId": "none"},
        {"taskGroupId": OTHER_ID},
        {"dependencies": [TASK_ID]},
        {"requires": "all-resolved"},
        {"deadline": "2024-05-01T14:00:00.001Z"},
        {"expires": "2025-05-01T14:00:00.001Z"},
        {"created": "2024-05-01T12:00:00.001Z"},
        {"workerType": "b-linux-large"},
        {"tags": {}},
        {"extra": {}},
        {"scopes": []},
    ],
    ids=str,
)
async def test_any_difference_is_a_conflict(queue: RunningQueue, change: dict[str, Any]) -> None:
    await put(queue, queue.definition())
    reply = await put(queue, queue.definition(**change))
    assert (reply.status, reply.code) == (409, "RequestConflict")


@on_sqlite
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        (True, 1),
        (False, 0),
        (0, ""),
        (None, False),
        ("1", 1),
        ({}, []),
        ({"a": None}, {}),
        ("a", "A"),
        ("é", "e\u0301"),
        (12345678901234567890123, 12345678901234567890124),
    ],
)
async def test_values_that_differ_in_json_are_a_conflict(
    queue: RunningQueue, one: object, other: object
) -> None:
    await put(queue, queue.definition(payload={"value": one}))
    assert (await put(queue, queue.definition(payload={"value": one}))).status == 200
    assert (await put(queue, queue.definition(payload={"value": other}))).status == 409


@on_sqlite
@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (100, 1e2), (0.5, 0.50), (0, -0.0)])
async def test_numbers_of_the_same_value_are_equal(queue: RunningQueue, one: float, other: float) -> None:
    await put(queue, queue.definition(payload={"value": one}))
    assert (await put(queue, queue.definition(payload={"value": other}))).status == 200


async def test_the_current_priority_takes_part_in_the_comparison(queue: RunningQueue) -> None:
    await put(queue, queue.definition(priority="low"))
    await queue.post(f"/task/{TASK_ID}/priority", {"newPriority": "high"})
    assert (await put(queue, queue.definition(priority="low"))).status == 409
    assert (await put(queue, queue.definition(priority="high"))).status == 200


async def test_a_repeat_after_15_minutes_is_too_late(queue: RunningQueue) -> None:
    body = queue.definition()
    await put(queue, body)
    queue.clock.advance(minutes=15)
    assert (await put(queue, body)).status == 200
    queue.clock.advance(milliseconds=1)
    reply = await put(queue, body)
    assert (reply.status, reply.code) == (400, "InputError")
    assert reply.message.startswith("`created`")


async def test_a_repeat_with_dependencies_is_not_checked_against_them_again(queue: RunningQueue) -> None:
    required = await queue.create(expires="2024-05-01T14:00:00Z")
    body = queue.definition("test", dependencies=[required], deadline="2024-05-01T13:00:00Z")
    await put(queue, body)
    assert (await put(queue, body)).status == 200
    assert [event for event, _ in await queue.events()].count("task-defined") == 3


async def test_concurrent_equal_creates_make_one_task(queue: RunningQueue, second: RunningQueue) -> None:
    body = queue.definition()
    replies = await asyncio.gather(*(put(process, body) for process in [queue, second] * 8))
    assert {reply.status for reply in replies} == {200}
    assert len((await queue.status(TASK_ID))["runs"]) == 1
    stored = await queue.stored()
    assert [stored[table] for table in ("tasks", "task_definitions", "task_groups")] == [1, 1, 1]
    assert len(await queue.claim(tasks=2)) == 1


async def test_of_concurrent_different_creates_one_wins(queue: RunningQueue, second: RunningQueue) -> None:
    bodies = [queue.definition(retries=number) for number in range(8)]
    replies = await asyncio.gather(
        *(put(process, body) for process, body in zip([queue, second] * 4, bodies, strict=True))
    )
    assert sorted(reply.status for reply in replies) == [200] + [409] * 7
    (winner,) = [number for number, reply in enumerate(replies) if reply.status == 200]
    assert (await queue.get(f"/task/{TASK_ID}"))["retries"] == winner


async def test_one_bad_create_does_not_fail_those_of_the_same_moment(queue: RunningQueue) -> None:
    good = [queue.create() for _ in range(5)]
    bad = queue.call("PUT", f"/task/{TASK_ID}", queue.definition(dependencies=[OTHER_ID]))
    *_, refused = await asyncio.gather(*good, bad)
    assert isinstance(refused, Reply)
    assert refused.code == "InputError"
    assert (await queue.stored())["tasks"] == 5

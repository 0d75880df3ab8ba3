"""Limits over HTTP: set, shown, removed, obeyed and refused when out of form (``seed-systems.md`` C.7)."""

import asyncio
from typing import Any, Final

import pytest

from tests.api.definitions import QUEUES
from tests.api.running_queue import RunningQueue

QUEUE: Final = QUEUES["build"]
ENCODED: Final = QUEUE.replace("/", "%2F")
LIMITS: Final = f"/task-queues/{ENCODED}/limits"
CLAIM: Final = f"/claim-work/{ENCODED}"
BODY: Final = {"workerGroup": "eu-central", "workerId": "worker-1", "tasks": 1}
ALL: Final = {
    "concurrency": {"limit": 3, "key": "{args.customer}-{region}", "scope": "global"},
    "rate": {"count": 10, "per": "1.5m"},
    "fairShare": 0.25,
}
patient = pytest.mark.parametrize("long_poll", [30.0])

Json = dict[str, Any]


async def put(queue: RunningQueue, limits: Json) -> Json:
    reply = await queue.call("PUT", LIMITS, limits)
    assert reply.status == 200, reply.body
    return dict(reply.json())


async def test_limits_are_shown_as_they_were_set(queue: RunningQueue, second: RunningQueue) -> None:
    assert await queue.get(LIMITS) == {}
    shown = await put(queue, ALL)
    assert shown == {**ALL, "rate": {"count": 10, "per": 90}}
    assert await second.get(LIMITS) == shown
    assert (await second.get(f"/task-queues/{ENCODED}/load"))["limits"] == shown
    assert (await queue.call("DELETE", LIMITS)).status == 204
    assert await queue.get(LIMITS) == {}
    assert (await queue.call("DELETE", LIMITS)).status == 204


async def test_a_task_queue_with_limits_is_known_and_not_forgotten(queue: RunningQueue) -> None:
    await put(queue, {"concurrency": {"limit": 1}})
    queue.clock.advance(days=30)
    await queue.sweep()
    assert [each["taskQueueId"] for each in (await queue.get("/task-queues"))["taskQueues"]] == [QUEUE]
    assert await put(queue, {}) == {}
    await queue.sweep()
    assert (await queue.get("/task-queues"))["taskQueues"] == []


@pytest.mark.parametrize(
    "limits",
    [
        {"concurrency": {"limit": 0}},
        {"concurrency": {"limit": 1.5}},
        {"concurrency": {}},
        {"concurrency": {"limit": 1, "key": ""}},
        {"concurrency": {"limit": 1, "key": "customer"}},
        {"concurrency": {"limit": 1, "key": "{customer"}},
        {"concurrency": {"limit": 1, "key": "{a b}"}},
        {"concurrency": {"limit": 1, "scope": "local"}},
        {"rate": {"count": 1}},
        {"rate": {"count": 1, "per": 0}},
        {"rate": {"count": 1, "per": "-1s"}},
        {"fairShare": 0.6},
        {"fairShare": -0.1},
        {"fairShare": True},
        {"pause": True},
    ],
)
async def test_limits_out_of_form_are_refused(queue: RunningQueue, limits: Json) -> None:
    reply = await queue.call("PUT", LIMITS, limits)
    assert (reply.status, reply.code) == (400, "InputValidationError")
    assert await queue.get(LIMITS) == {}


async def test_a_task_shows_its_limits_when_it_has_some(queue: RunningQueue) -> None:
    limits = {"concurrency": {"limit": 2, "key": "{customer}"}, "rate": {"count": 5, "per": 60}}
    payload = {"kind": "send", "args": {"customer": 7}}
    task_id = await queue.create(payload=payload, limits=limits)
    assert (await queue.get(f"/task/{task_id}"))["limits"] == limits
    plain = await queue.create()
    assert "limits" not in await queue.get(f"/task/{plain}")


async def test_a_key_that_a_task_cannot_have_is_refused_and_named(queue: RunningQueue) -> None:
    limits = {"concurrency": {"limit": 2, "key": "{customer}"}}
    body = queue.definition(payload={"kind": "send", "args": {"client": 7}}, limits=limits)
    reply = await queue.call("PUT", "/task/VXcJ7lLRTuKhEcZBHVS7Zw", body)
    assert (reply.status, reply.code) == (400, "InputError")
    assert "`{customer}`" in reply.json()["message"]
    assert (await queue.stored())["tasks"] == 0


@patient
async def test_a_waiting_worker_gets_the_run_as_soon_as_there_is_room(
    queue: RunningQueue, second: RunningQueue
) -> None:
    await put(queue, {"concurrency": {"limit": 1}})
    first = await queue.claimed()
    await queue.create()
    waiting = asyncio.create_task(queue.call("POST", CLAIM, BODY))
    await queue.claim_passes.get()
    assert not waiting.done()
    await second.post(f"/task/{first}/runs/0/completed")
    reply = await asyncio.wait_for(waiting, 20)
    assert len(reply.json()["tasks"]) == 1


async def test_a_claim_by_id_is_refused_at_the_limit(queue: RunningQueue) -> None:
    await put(queue, {"concurrency": {"limit": 1}})
    await queue.claimed()
    task_id = await queue.create()
    worker = {"workerGroup": "eu-central", "workerId": "worker-1"}
    reply = await queue.call("POST", f"/task/{task_id}/runs/0/claim", worker)
    assert (reply.status, reply.code) == (409, "RequestConflict")
    assert "limit" in reply.json()["message"]


async def test_who_may_set_limits(queue: RunningQueue) -> None:
    await put(queue, {})
    await queue.get(LIMITS)
    await queue.call("DELETE", LIMITS)
    setting = f"queue:set-task-queue-limits:{QUEUE}"
    assert queue.permit.asked == [setting, f"queue:get-task-queue:{QUEUE}", setting]

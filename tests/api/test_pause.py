"""Pausing and resuming task queues (``seed-systems.md`` C.5)."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import pytest

from schemas.times import format_time, parse_time
from tests.api.definitions import QUEUES
from tests.api.manual_clock import START
from tests.api.running_queue import RunningQueue

QUEUE: Final = QUEUES["build"]
ENCODED: Final = QUEUE.replace("/", "%2F")
CLAIM: Final = f"/claim-work/{ENCODED}"
BODY: Final = {"workerGroup": "eu-central", "workerId": "worker-1", "tasks": 8}
patient = pytest.mark.parametrize("long_poll", [30.0])

Json = dict[str, Any]


async def pause(queue: RunningQueue, named: str = ENCODED) -> list[Json]:
    return list((await queue.post(f"/task-queues/{named}/pause"))["taskQueues"])


async def resume(queue: RunningQueue, named: str = ENCODED) -> list[Json]:
    return list((await queue.post(f"/task-queues/{named}/resume"))["taskQueues"])


async def load(queue: RunningQueue) -> Json:
    return await queue.get(f"/task-queues/{ENCODED}/load")


async def told(queue: RunningQueue) -> list[tuple[str, str, Json]]:
    """What was told of task queues: exchange, routing key and body."""
    return [
        (message.exchange.rpartition("/")[2], message.routing_key, message.body)
        for message in await queue.messages()
        if message.exchange.startswith("exchange/taskbus-queue/v1/")
    ]


async def test_a_paused_task_queue_hands_out_nothing(queue: RunningQueue, second: RunningQueue) -> None:
    await queue.claim()
    await queue.create()
    assert await pause(queue) == [{"taskQueueId": QUEUE, "pausedAt": format_time(START)}]
    assert await queue.claim() == []
    assert await second.claim() == []
    assert await resume(second) == [{"taskQueueId": QUEUE}]
    assert len(await queue.claim()) == 1


async def test_a_run_of_a_paused_task_queue_cannot_be_claimed_by_its_id(queue: RunningQueue) -> None:
    await queue.claim()
    task_id = await queue.create()
    await pause(queue)
    worker = {"workerGroup": "eu-central", "workerId": "worker-1"}
    reply = await queue.call("POST", f"/task/{task_id}/runs/0/claim", worker)
    assert (reply.status, reply.code) == (409, "RequestConflict")
    assert "paused" in reply.json()["message"]
    await resume(queue)
    await queue.post(f"/task/{task_id}/runs/0/claim", worker)
    await pause(queue)
    await queue.post(f"/task/{task_id}/runs/0/claim", worker)


async def test_what_runs_goes_on_and_tasks_can_be_created(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    await pause(queue)
    await queue.post(f"/task/{task_id}/runs/0/reclaim")
    await queue.post(f"/task/{task_id}/runs/0/completed")
    await queue.create()
    assert (await load(queue))["pending"] == 1


async def test_deadlines_keep_running(queue: RunningQueue) -> None:
    await queue.claim()
    task_id = await queue.create()
    await pause(queue)
    deadline = (await queue.status(task_id))["deadline"]
    queue.clock.advance(seconds=(parse_time(deadline) - queue.clock.now()).total_seconds() + 300)
    await queue.sweep()
    assert (await queue.run(task_id))["reasonResolved"] == "deadline-exceeded"


async def test_a_pause_is_told_once_and_keeps_its_first_time(queue: RunningQueue) -> None:
    await queue.claim()
    await pause(queue)
    queue.clock.advance(hours=1)
    assert await pause(queue) == [{"taskQueueId": QUEUE, "pausedAt": format_time(START)}]
    provisioner_id, _, worker_type = QUEUE.partition("/")
    named = {"taskQueueId": QUEUE, "provisionerId": provisioner_id, "workerType": worker_type}
    key = f"primary.{provisioner_id}.{worker_type}._"
    assert await told(queue) == [
        ("queue-paused", key, {"version": 1, **named, "pausedAt": format_time(START)})
    ]
    await resume(queue)
    await resume(queue)
    assert await told(queue) == [("queue-resumed", key, {"version": 1, **named})]


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_an_unknown_task_queue_is_not_found(queue: RunningQueue, verb: str) -> None:
    reply = await queue.call("POST", f"/task-queues/{ENCODED}/{verb}")
    assert (reply.status, reply.code) == (404, "ResourceNotFound")


async def test_a_task_queue_that_no_worker_has_asked_is_known_by_its_tasks(queue: RunningQueue) -> None:
    await queue.create()
    assert await pause(queue) == [{"taskQueueId": QUEUE, "pausedAt": format_time(START)}]
    assert await queue.claim() == []


async def test_all_present_task_queues_are_paused_at_once(queue: RunningQueue) -> None:
    assert await pause(queue, "*") == []
    await queue.claim("build")
    await queue.claim("test")
    both = sorted((QUEUES["build"], QUEUES["test"]))
    assert [entry["taskQueueId"] for entry in await pause(queue, "*")] == both
    for kind in ("build", "test"):
        await queue.create(kind)
        assert await queue.claim(kind) == []
    assert await resume(queue, "*") == [{"taskQueueId": name} for name in both]
    assert len(await queue.claim("test")) == 1


async def test_a_paused_task_queue_is_not_forgotten(queue: RunningQueue) -> None:
    await queue.claim()
    await pause(queue)
    queue.clock.advance(days=30)
    await queue.sweep()
    assert (await queue.stored())["task_queues"] == 1
    assert [each["taskQueueId"] for each in (await queue.get("/task-queues"))["taskQueues"]] == [QUEUE]
    await resume(queue)
    await queue.sweep()
    assert (await queue.stored())["task_queues"] == 0


async def test_the_load_tells_what_waits_and_what_holds_it_back(queue: RunningQueue) -> None:
    assert await load(queue) == {"taskQueueId": QUEUE, "pending": 0, "delayed": 0, "running": 0}
    await queue.claimed()
    await queue.create()
    await queue.create(runAt=format_time(START + timedelta(minutes=5)))
    await pause(queue)
    assert await load(queue) == {
        "taskQueueId": QUEUE,
        "pending": 1,
        "delayed": 1,
        "running": 1,
        "pausedAt": format_time(START),
    }


@patient
async def test_a_waiting_worker_feels_a_pause_and_its_end(queue: RunningQueue, second: RunningQueue) -> None:
    waiting = asyncio.create_task(queue.call("POST", CLAIM, BODY))
    await queue.claim_passes.get()
    await pause(second)
    await second.create()
    assert not waiting.done()
    await resume(second)
    reply = await asyncio.wait_for(waiting, 20)
    assert len(reply.json()["tasks"]) == 1


@pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
@pytest.mark.postgres
async def test_nothing_is_claimed_after_the_commit_of_a_pause(
    queue: RunningQueue, second: RunningQueue
) -> None:
    """50 claims are under way when the pause comes; when it is answered, no further run starts (F 9)."""
    await queue.claim()
    for _ in range(60):
        await queue.create()
    claims = [
        asyncio.create_task(process.claim(worker=f"worker-{number}"))
        for number in range(25)
        for process in (queue, second)
    ]
    await asyncio.sleep(0)
    await pause(second)
    running = (await load(second))["running"]
    claimed = sum(map(len, await asyncio.gather(*claims)))
    assert (await load(second))["running"] == running == claimed
    assert await queue.claim(tasks=32) == []


async def test_scopes_name_the_task_queue(queue: RunningQueue) -> None:
    await queue.claim()
    queue.permit.asked.clear()
    await pause(queue)
    await resume(queue, "*")
    assert queue.permit.asked == [f"queue:pause-task-queue:{QUEUE}", "queue:resume-task-queue:*"]

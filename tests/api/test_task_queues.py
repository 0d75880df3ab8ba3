"""What waits in a task queue and what its workers have (``queue-behaviour.md`` 7.4)."""

from datetime import timedelta
from typing import Any, Final

import pytest

from schemas.times import format_time
from tests.api.definitions import QUEUES
from tests.api.manual_clock import START
from tests.api.running_queue import RunningQueue

QUEUE: Final = QUEUES["build"]
PROVISIONER, _, WORKER_TYPE = QUEUE.partition("/")
TARGET: Final = f"/task-queues/{PROVISIONER}%2F{WORKER_TYPE}"
LISTS: Final = ["pending", "claimed"]


async def counts(queue: RunningQueue) -> tuple[int, int]:
    found = await queue.get(f"{TARGET}/counts")
    assert (await queue.get(f"/pending/{QUEUE}"))["pendingTasks"] == found["pendingTasks"]
    return found["pendingTasks"], found["claimedTasks"]


async def page(queue: RunningQueue, name: str, query: str = "") -> tuple[list[str], str | None]:
    found = await queue.get(f"{TARGET}/{name}{query}")
    return [entry["taskId"] for entry in found["tasks"]], found.get("continuationToken")


async def test_an_unknown_task_queue_has_nothing(queue: RunningQueue) -> None:
    named: dict[str, Any] = {"taskQueueId": "p/w", "provisionerId": "p", "workerType": "w"}
    assert await queue.get("/pending/p%2Fw") == named | {"pendingTasks": 0}
    assert await queue.get("/task-queues/p%2Fw/counts") == named | {"pendingTasks": 0, "claimedTasks": 0}
    assert await queue.get("/task-queues/p%2Fw/pending") == {"tasks": []}
    assert await queue.get("/task-queues/p%2Fw/claimed") == {"tasks": []}


async def test_runs_are_counted_where_they_are(queue: RunningQueue) -> None:
    for _ in range(3):
        await queue.create()
    await queue.create("test")
    assert await counts(queue) == (3, 0)
    first, _ = await queue.claim(tasks=2)
    assert await counts(queue) == (1, 2)
    await queue.post(f"/task/{first['status']['taskId']}/runs/0/completed")
    assert await counts(queue) == (1, 1)


async def test_a_run_past_its_deadline_does_not_wait(queue: RunningQueue) -> None:
    await queue.create(deadline=START + timedelta(minutes=1))
    await queue.create()
    queue.clock.advance(minutes=1)
    assert await counts(queue) == (1, 0)
    assert len((await page(queue, "pending"))[0]) == 1


async def test_a_claim_that_ran_out_is_no_claim(queue: RunningQueue) -> None:
    await queue.claimed()
    queue.clock.advance(seconds=1199)
    assert await counts(queue) == (0, 1)
    queue.clock.advance(seconds=1)
    assert await counts(queue) == (0, 0)
    assert await page(queue, "claimed") == ([], None)


async def test_a_pending_task_is_listed_with_when_it_began_to_wait(queue: RunningQueue) -> None:
    task_id = await queue.claimed(retries=1)
    later = queue.clock.advance(minutes=1)
    await queue.post(f"/task/{task_id}/runs/0/exception", {"reason": "worker-shutdown"})
    assert (await queue.get(f"{TARGET}/pending"))["tasks"] == [
        {
            "taskId": task_id,
            "runId": 1,
            "task": await queue.get(f"/task/{task_id}"),
            "inserted": format_time(later),
        }
    ]


async def test_a_claimed_task_is_listed_with_who_has_it_since_when(queue: RunningQueue) -> None:
    task_id = await queue.create()
    later = queue.clock.advance(minutes=1)
    await queue.claim(worker="w-7")
    queue.clock.advance(minutes=1)
    await queue.post(f"/task/{task_id}/runs/0/reclaim")
    assert (await queue.get(f"{TARGET}/claimed"))["tasks"] == [
        {
            "taskId": task_id,
            "runId": 0,
            "workerGroup": "eu-central",
            "workerId": "w-7",
            "claimed": format_time(later),
            "task": await queue.get(f"/task/{task_id}"),
        }
    ]


async def test_pending_tasks_are_listed_by_age_and_not_by_priority(queue: RunningQueue) -> None:
    created = [await queue.create(priority=priority) for priority in ("low", "highest", "lowest", "high")]
    assert await page(queue, "pending") == (created, None)


async def test_the_priority_that_is_shown_is_the_current_one(queue: RunningQueue) -> None:
    first, second = await queue.create(priority="low"), await queue.create(priority="low")
    await queue.post(f"/task/{first}/priority", {"newPriority": "high"})
    listed = (await queue.get(f"{TARGET}/pending"))["tasks"]
    assert [(entry["taskId"], entry["task"]["priority"]) for entry in listed] == [
        (first, "high"),
        (second, "low"),
    ]


async def test_claimed_tasks_are_listed_by_when_they_were_claimed(queue: RunningQueue) -> None:
    low, high = await queue.create(priority="low"), await queue.create(priority="high")
    await queue.claim()
    await queue.claim()
    assert await page(queue, "claimed") == ([high, low], None)


@pytest.mark.parametrize("name", LISTS)
async def test_pages_follow_each_other_with_any_limit(queue: RunningQueue, name: str) -> None:
    created = [await queue.create(priority="medium") for _ in range(5)]
    if name == "claimed":
        await queue.claim(tasks=5)
    assert await page(queue, name) == (created, None)
    first, token = await page(queue, name, "?limit=2")
    second, end = await page(queue, name, f"?continuationToken={token}&limit=3")
    assert (first + second, end) == (created, None)
    second, token = await page(queue, name, f"?continuationToken={token}&limit=1")
    assert second == created[2:3]
    assert await page(queue, name, f"?continuationToken={token}") == (created[3:], None)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "token", ["!", "AA", "YQ", "MS8", "L2E", "LTEvYQ", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5L2E"]
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_token_of_another_list_is_an_input_error(queue: RunningQueue, name: str, token: str) -> None:
    reply = await queue.call("GET", f"{TARGET}/{name}?continuationToken={token}")
    assert (reply.status, reply.code) == (400, "InputError")


async def test_a_task_queue_may_be_written_with_a_slash(queue: RunningQueue) -> None:
    await queue.create()
    for name in ("counts", "pending", "claimed"):
        assert await queue.get(f"/task-queues/{QUEUE}/{name}") == await queue.get(f"{TARGET}/{name}")
    assert (await queue.call("GET", f"/task-queues/{QUEUE}")).json() == {"error": "Not found"}

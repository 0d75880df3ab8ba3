"""Many tasks, claims and reports in one call (``seed-systems.md`` B-1 to B-5)."""

import asyncio
from typing import Any, Final

import pytest

from schemas.ids import slugid
from tests.api.asgi import Reply
from tests.api.definitions import QUEUES
from tests.api.running_queue import RunningQueue
from tests.api.secured_queue import SecuredQueue, refused

MISSING: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
WORKER: Final = {"workerGroup": "eu-central", "workerId": "worker-1"}

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def items(queue: RunningQueue, count: int, **members: Any) -> list[dict[str, Any]]:
    return [{"taskId": slugid(), "task": queue.definition(**members)} for _ in range(count)]


async def create(queue: RunningQueue, tasks: list[Any], **members: Any) -> Reply:
    return await queue.call("POST", "/tasks/bulk", {"tasks": tasks, **members})


async def claim(queue: RunningQueue, tasks: int = 1000, **members: Any) -> list[dict[str, Any]]:
    body = {**WORKER, "tasks": tasks, **members}
    return list((await queue.post(f"/claim-bulk/{QUEUES['build']}", body))["tasks"])


async def report(queue: RunningQueue, *reports: dict[str, Any]) -> list[dict[str, Any]]:
    return list((await queue.post("/runs/report", {"reports": reports}))["reports"])


def completed(task_id: str, run_id: int = 0) -> dict[str, Any]:
    return {"taskId": task_id, "runId": run_id, "outcome": "completed"}


# ---- creating -----------------------------------------------------------------------------------------


async def test_a_bulk_creates_its_tasks_in_their_order_with_every_message(queue: RunningQueue) -> None:
    tasks = items(queue, 5)
    reply = await create(queue, tasks)
    assert reply.status == 200
    assert reply.json() == {"tasks": [{"taskId": item["taskId"], "created": True} for item in tasks]}
    told = [(message.exchange, message.task_id) for message in await queue.messages()]
    assert told == [
        (exchange, item["taskId"]) for item in tasks for exchange in ("task-defined", "task-pending")
    ]
    assert [found["status"]["taskId"] for found in await claim(queue)] == [item["taskId"] for item in tasks]


async def test_a_task_of_a_bulk_is_what_createtask_makes_of_it(queue: RunningQueue) -> None:
    (item,) = items(queue, 1, expires=None)
    assert (await create(queue, [item])).status == 200
    single = slugid()
    assert (await queue.call("PUT", f"/task/{single}", item["task"])).status == 200
    bulk, other = await queue.get(f"/task/{item['taskId']}"), await queue.get(f"/task/{single}")
    assert {**bulk, "taskGroupId": single} == other


async def test_a_repeated_bulk_creates_nothing_and_says_so(queue: RunningQueue) -> None:
    tasks = items(queue, 3)
    await create(queue, tasks)
    before = await queue.stored()
    reply = await create(queue, tasks)
    assert [entry["created"] for entry in reply.json()["tasks"]] == [False, False, False]
    assert {**await queue.stored(), "outbox": 0} == {**before, "outbox": 0}


async def test_the_same_id_twice_in_a_bulk_is_a_repeat(queue: RunningQueue) -> None:
    (item,) = items(queue, 1)
    reply = await create(queue, [item, item])
    assert [entry["created"] for entry in reply.json()["tasks"]] == [True, False]


async def test_a_task_may_wait_for_one_before_it_in_the_bulk(queue: RunningQueue) -> None:
    first, second = items(queue, 2)
    second["task"]["dependencies"] = [first["taskId"]]
    assert (await create(queue, [first, second])).status == 200
    assert (await queue.status(second["taskId"]))["state"] == "unscheduled"


async def test_a_bulk_with_one_conflict_creates_nothing(queue: RunningQueue) -> None:
    existing = await queue.create()
    before = await queue.stored()
    tasks = items(queue, 3)
    tasks[1]["taskId"], tasks[1]["task"]["priority"] = existing, "high"
    tasks[2]["task"]["dependencies"] = [MISSING]
    reply = await create(queue, tasks)
    refused(reply, 409, "RequestConflict", "2 of 3 tasks", "`tasks[1]`", "`tasks[2]`", MISSING)
    assert "`tasks[0]`" not in reply.message
    assert await queue.stored() == before


@on_sqlite
async def test_every_wrong_task_of_a_bulk_is_named_before_anything_is_written(queue: RunningQueue) -> None:
    tasks = items(queue, 6)
    del tasks[1]["task"]["metadata"]
    tasks[2]["taskId"] = "short"
    tasks[3]["task"]["deadline"] = "2020-01-01T00:00:00Z"
    tasks[5] = 17  # type: ignore[call-overload]
    reply = await create(queue, tasks)
    refused(
        reply, 400, "InputValidationError",
        "4 of 6 tasks",
        "`tasks[1]`: `/task/metadata`: is required and missing",
        "`tasks[2]`: `/taskId`",
        "`tasks[3]`: `deadline` is 2020-01-01",
        "`tasks[5]`: `/`: must be an object",
    )  # fmt: skip
    assert set((await queue.stored()).values()) == {0}


@on_sqlite
async def test_times_that_are_wrong_are_an_input_error(queue: RunningQueue) -> None:
    tasks = items(queue, 2, deadline="2020-01-01T00:00:00Z")
    refused(await create(queue, tasks), 400, "InputError", "`tasks[0]`", "`tasks[1]`")


@on_sqlite
async def test_at_most_fifty_refused_tasks_are_listed(queue: RunningQueue) -> None:
    reply = await create(queue, [{"taskId": slugid(), "task": {}} for _ in range(60)])
    refused(reply, 400, "InputValidationError", "60 of 60", "`tasks[49]`", "and 10 more")
    assert "`tasks[50]`" not in reply.message


@on_sqlite
@pytest.mark.parametrize("count", [0, 1001])
async def test_a_bulk_of_no_tasks_or_of_too_many_is_refused(queue: RunningQueue, count: int) -> None:
    reply = await create(queue, [{}] * count)
    refused(reply, 400, "InputValidationError", "/tasks")


async def test_a_bulk_may_have_a_thousand_tasks(queue: RunningQueue) -> None:
    reply = await create(queue, items(queue, 1000))
    assert reply.status == 200
    assert len(reply.json()["tasks"]) == 1000
    claimed = await claim(queue)
    assert len({entry["status"]["taskId"] for entry in claimed}) == 1000
    found = await report(queue, *(completed(entry["status"]["taskId"]) for entry in claimed))
    assert {entry["state"] for entry in found} == {"completed"}


async def test_a_fast_bulk_answers_a_count(queue: RunningQueue) -> None:
    reply = await create(queue, items(queue, 4), mode="fast")
    assert (reply.status, reply.json()) == (200, {"count": 4})


async def test_a_fast_bulk_with_a_repeat_is_refused_wholly(queue: RunningQueue) -> None:
    tasks = items(queue, 2)
    await create(queue, tasks[1:])
    before = await queue.stored()
    refused(await create(queue, tasks, mode="fast"), 409, "RequestConflict", "`tasks[1]`", "exists already")
    assert await queue.stored() == before


@on_sqlite
async def test_the_caller_needs_the_scopes_of_every_task(secured: SecuredQueue) -> None:
    creator = await secured.client(
        "creator",
        "queue:create-task:project:taskbus",
        "queue:scheduler-id:*",
        "queue:create-task:highest:prov/a",
    )
    tasks = items(secured, 2, taskQueueId="prov/a", provisionerId=None, workerType=None, scopes=[], routes=[])
    allowed = await creator.call("POST", "/tasks/bulk", {"tasks": tasks}, service="queue")
    assert allowed.status == 200, allowed.body
    tasks[1]["task"]["taskQueueId"] = "prov/b"
    reply = await creator.call("POST", "/tasks/bulk", {"tasks": tasks}, service="queue")
    refused(reply, 403, "InsufficientScopes", "prov/b")


# ---- claiming -----------------------------------------------------------------------------------------


async def test_a_bulk_claim_has_what_claimwork_gives(queue: RunningQueue) -> None:
    await create(queue, items(queue, 40))
    first, *others = await claim(queue, 40)
    (single,) = [await queue.create()]
    assert len(others) == 39
    (other,) = await queue.claim()
    assert other["status"]["taskId"] == single
    assert set(first) == set(other)
    assert first["credentials"]["clientId"].startswith(f"task-client/{first['status']['taskId']}/0/on/")


@pytest.mark.parametrize("long_poll", [60.0])
async def test_a_bulk_claim_does_not_wait(queue: RunningQueue) -> None:
    assert await claim(queue) == []


@pytest.mark.parametrize("long_poll", [60.0])
async def test_a_bulk_claim_that_waits_gets_what_becomes_pending(queue: RunningQueue) -> None:
    waiting = asyncio.create_task(claim(queue, wait=60))
    assert await queue.claim_passes.get() == [[]]
    task_id = await queue.create()
    assert [entry["status"]["taskId"] for entry in await waiting] == [task_id]


@on_sqlite
@pytest.mark.parametrize("tasks", [0, 1001])
async def test_a_bulk_claim_asks_for_one_to_a_thousand(queue: RunningQueue, tasks: int) -> None:
    reply = await queue.call("POST", f"/claim-bulk/{QUEUES['build']}", {**WORKER, "tasks": tasks})
    refused(reply, 400, "InputValidationError", "/tasks")


# ---- reporting ----------------------------------------------------------------------------------------


async def test_each_report_resolves_its_run_as_the_single_call_does(queue: RunningQueue) -> None:
    good, bad, odd, again = [await queue.claimed() for _ in range(4)]
    await queue.messages()
    found = await report(
        queue,
        completed(good),
        {"taskId": bad, "runId": 0, "outcome": "failed"},
        {"taskId": odd, "runId": 0, "outcome": "exception", "reason": "malformed-payload"},
        {"taskId": again, "runId": 0, "outcome": "exception", "reason": "worker-shutdown"},
    )
    assert [(entry["taskId"], entry["runId"], entry["state"]) for entry in found] == [
        (good, 0, "completed"),
        (bad, 0, "failed"),
        (odd, 0, "exception"),
        (again, 0, "pending"),
    ]
    assert await queue.events() == [
        ("task-completed", 0),
        ("task-failed", 0),
        ("task-exception", 0),
        ("task-exception", 0),
        ("task-pending", 1),
    ]
    assert (await queue.run(odd))["reasonResolved"] == "malformed-payload"


async def test_reports_tell_what_the_single_calls_tell(queue: RunningQueue) -> None:
    done, bad, asleep, away = [await queue.claimed(maxAttempts=3) for _ in range(4)]
    found = await report(
        queue,
        {**completed(done), "output": {"pages": 3}},
        {"taskId": bad, "runId": 0, "outcome": "failed", "error": "boom", "trace": "line 1"},
        {"taskId": asleep, "runId": 0, "outcome": "snoozed", "delay": "10m"},
        {"taskId": away, "runId": 0, "outcome": "cancelled", "error": "no such customer"},
    )
    assert [entry["state"] for entry in found] == ["completed", "pending", "pending", "exception"]
    assert (await queue.get(f"/task/{done}/attempts"))["output"] == {"pages": 3}
    (error,) = (await queue.get(f"/task/{bad}/attempts"))["errors"]
    assert (error["error"], error["trace"]) == ("boom", "line 1")
    assert (await queue.get(f"/task/{asleep}/attempts"))["snoozes"] == 1
    assert (await queue.run(away))["reasonResolved"] == "canceled"


async def test_a_failure_may_be_final_before_the_last_attempt(queue: RunningQueue) -> None:
    task_id = await queue.claimed(maxAttempts=3)
    (found,) = await report(queue, {"taskId": task_id, "runId": 0, "outcome": "failed", "retry": False})
    assert found["state"] == "failed"


async def test_a_refused_report_does_not_fail_its_neighbours(queue: RunningQueue) -> None:
    held, pending = await queue.claimed(), await queue.create("test")
    found = await report(queue, completed(MISSING), completed(pending), completed(held, 3), completed(held))
    assert [entry.get("error", {}).get("code") for entry in found] == [
        "ResourceNotFound",
        "RequestConflict",
        "ResourceNotFound",
        None,
    ]
    assert found[3]["state"] == "completed"


async def test_a_repeated_report_answers_again(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    first = await report(queue, completed(task_id), completed(task_id))
    assert first == await report(queue, completed(task_id), completed(task_id))


@on_sqlite
@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": "exception"},
        {"outcome": "completed", "reason": "worker-shutdown"},
        {"outcome": "exception", "reason": "deadline-exceeded"},
        {"outcome": "done"},
        {"outcome": "snoozed"},
        {"outcome": "snoozed", "delay": -1},
        {"outcome": "completed", "error": "none"},
        {"outcome": "failed", "output": 1},
    ],
)
async def test_a_report_of_no_outcome_is_refused(queue: RunningQueue, wrong: dict[str, str]) -> None:
    body = {"reports": [{"taskId": MISSING, "runId": 0, **wrong}]}
    refused(await queue.call("POST", "/runs/report", body), 400, "InputValidationError", "/reports/0")


@on_sqlite
async def test_a_worker_reports_the_runs_that_it_holds_and_no_others(secured: SecuredQueue) -> None:
    worker = await secured.client(
        "worker", f"queue:claim-work:{QUEUES['build']}", "queue:worker-id:eu-central/worker-1"
    )
    definition = secured.definition()
    mine, other = slugid(), slugid()
    for task_id in (mine, other):
        reply = await secured.root.call("PUT", f"/task/{task_id}", definition, service="queue")
        assert reply.status == 200, reply.body
    target = f"/claim-bulk/{QUEUES['build'].replace('/', '%2F')}"
    own = await worker.call("POST", target, {**WORKER, "tasks": 1}, service="queue")
    assert [entry["status"]["taskId"] for entry in own.json()["tasks"]] == [mine]
    theirs = {"workerGroup": "eu-central", "workerId": "worker-2", "tasks": 1}
    assert (await secured.root.call("POST", target, theirs, service="queue")).status == 200
    body = {"reports": [completed(mine), completed(other)]}
    reply = await worker.call("POST", "/runs/report", body, service="queue")
    assert [entry.get("error", {}).get("code") for entry in reply.json()["reports"]] == [
        None,
        "InsufficientScopes",
    ]
    reply = await worker.call("POST", "/runs/report", {"reports": [completed(other)]}, service="queue")
    refused(reply, 403, "InsufficientScopes", "queue:resolve-task:" + other)

"""What goes over the wire for every endpoint, and what the answers become."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.bulk import RunReport, TaskToCreate
from schemas.search import DeleteTasksRequest, SearchTasksRequest
from schemas.task import TaskStatus
from taskbus.client import Queue
from taskbus.service import ServiceClient
from taskbus.tasks import task_definition
from tests.contract.reference import load
from tests.taskbus import samples
from tests.taskbus.endpoints import ARTIFACTS, SERVICES, TASK_QUEUES, listed
from tests.taskbus.recording_server import Answer, RecordingServer, client
from tests.taskbus.samples import GROUP_ID, NOW, OTHER_ID, TASK_ID

STATUS = Answer(body={"status": samples.status()})
GROUP = {"taskGroupId": GROUP_ID, "schedulerId": "-", "expires": "2025-05-01T13:00:00.000Z"}
ENTRY = {"status": samples.status(), "task": samples.definition()}
CLAIM = samples.claim(TASK_ID)
DEFINITION = task_definition({"command": ["true"]}, queue="prov/type", created=NOW)
WORKER: dict[str, Any] = {"worker_group": "g", "worker_id": "w"}

LATER = datetime(2024, 5, 1, 14, 0, tzinfo=UTC)
ATTEMPTS = {
    "taskId": TASK_ID,
    "attempt": 1,
    "maxAttempts": 3,
    "snoozes": 0,
    "errors": [],
    "workedBy": ["g/w"],
}

Call = Callable[[Any], Awaitable[object]]


ENDPOINTS: list[tuple[str, Call, str, Any, Any]] = [
    ("ping", lambda q: q.ping(), "GET /ping", None, {"alive": True, "uptime": 1.5}),
    ("version", lambda q: q.version(), "GET /__version__", None, {"version": "1.0"}),
    ("heartbeat", lambda q: q.heartbeat(), "GET /__heartbeat__", None, {}),
    ("lbheartbeat", lambda q: q.lbheartbeat(), "GET /__lbheartbeat__", None, {}),
    (
        "createTask",
        lambda q: q.create_task(TASK_ID, DEFINITION),
        f"PUT /task/{TASK_ID}",
        DEFINITION.to_wire(),
        STATUS.body,
    ),
    ("task", lambda q: q.task(TASK_ID), f"GET /task/{TASK_ID}", None, samples.definition()),
    ("status", lambda q: q.status(TASK_ID), f"GET /task/{TASK_ID}/status", None, STATUS.body),
    ("tasks", lambda q: q.tasks([TASK_ID]), "POST /tasks", {"taskIds": [TASK_ID]}, {"tasks": []}),
    (
        "statuses",
        lambda q: q.statuses([TASK_ID]),
        "POST /tasks/status",
        {"taskIds": [TASK_ID]},
        {"statuses": []},
    ),
    (
        "listTaskGroup",
        lambda q: listed(q.list_task_group(GROUP_ID)),
        f"GET /task-group/{GROUP_ID}/list",
        None,
        {**GROUP, "tasks": []},
    ),
    (
        "cancelTaskGroup",
        lambda q: q.cancel_task_group(GROUP_ID),
        f"POST /task-group/{GROUP_ID}/cancel",
        None,
        {"taskGroupId": GROUP_ID, "taskGroupSize": 1, "cancelledCount": 0, "taskIds": []},
    ),
    ("getTaskGroup", lambda q: q.get_task_group(GROUP_ID), f"GET /task-group/{GROUP_ID}", None, GROUP),
    (
        "sealTaskGroup",
        lambda q: q.seal_task_group(GROUP_ID),
        f"POST /task-group/{GROUP_ID}/seal",
        None,
        {**GROUP, "sealed": "2024-05-01T13:00:00.000Z"},
    ),
    (
        "listDependentTasks",
        lambda q: listed(q.list_dependent_tasks(TASK_ID)),
        f"GET /task/{TASK_ID}/dependents",
        None,
        {"taskId": TASK_ID, "tasks": []},
    ),
    (
        "scheduleTask",
        lambda q: q.schedule_task(TASK_ID),
        f"POST /task/{TASK_ID}/schedule",
        None,
        STATUS.body,
    ),
    ("rerunTask", lambda q: q.rerun_task(TASK_ID), f"POST /task/{TASK_ID}/rerun", None, STATUS.body),
    ("cancelTask", lambda q: q.cancel_task(TASK_ID), f"POST /task/{TASK_ID}/cancel", None, STATUS.body),
    (
        "changeTaskPriority",
        lambda q: q.change_task_priority(TASK_ID, "high"),
        f"POST /task/{TASK_ID}/priority",
        {"newPriority": "high"},
        STATUS.body,
    ),
    (
        "changeTaskGroupPriority",
        lambda q: q.change_task_group_priority(GROUP_ID, "low"),
        f"POST /task-group/{GROUP_ID}/priority",
        {"newPriority": "low"},
        {
            "taskGroupId": GROUP_ID,
            "schedulerId": "-",
            "newPriority": "low",
            "tasksAffected": 0,
            "taskIds": [],
        },
    ),
    (
        "claimWork",
        lambda q: q.claim_work("prov/type", tasks=3, **WORKER),
        "POST /claim-work/prov%2Ftype",
        {"workerGroup": "g", "workerId": "w", "tasks": 3},
        {"tasks": [CLAIM]},
    ),
    (
        "claimTask",
        lambda q: q.claim_task(TASK_ID, 0, **WORKER),
        f"POST /task/{TASK_ID}/runs/0/claim",
        {"workerGroup": "g", "workerId": "w"},
        CLAIM,
    ),
    (
        "reclaimTask",
        lambda q: q.reclaim_task(TASK_ID, 0),
        f"POST /task/{TASK_ID}/runs/0/reclaim",
        None,
        samples.reclaim(taken_until=NOW),
    ),
    (
        "reportCompleted",
        lambda q: q.report_completed(TASK_ID, 0),
        f"POST /task/{TASK_ID}/runs/0/completed",
        None,
        STATUS.body,
    ),
    (
        "reportFailed",
        lambda q: q.report_failed(TASK_ID, 12),
        f"POST /task/{TASK_ID}/runs/12/failed",
        None,
        STATUS.body,
    ),
    (
        "reportException",
        lambda q: q.report_exception(TASK_ID, 0, "worker-shutdown"),
        f"POST /task/{TASK_ID}/runs/0/exception",
        {"reason": "worker-shutdown"},
        STATUS.body,
    ),
]
EXTENSIONS: list[tuple[str, Call, str, Any, Any]] = [
    (
        "snoozeRun",
        lambda q: q.snooze_run(TASK_ID, 0, 1.5),
        f"POST /task/{TASK_ID}/runs/0/snooze",
        {"delay": 1.5},
        STATUS.body,
    ),
    (
        "cancelRun",
        lambda q: q.cancel_run(TASK_ID, 0),
        f"POST /task/{TASK_ID}/runs/0/cancel",
        {},
        STATUS.body,
    ),
    (
        "taskAttempts",
        lambda q: q.attempts(TASK_ID),
        f"GET /task/{TASK_ID}/attempts",
        None,
        ATTEMPTS,
    ),
    (
        "createTasks",
        lambda q: q.create_tasks([TaskToCreate(task_id=TASK_ID, task=DEFINITION)]),
        "POST /tasks/bulk",
        {"tasks": [{"taskId": TASK_ID, "task": DEFINITION.to_wire()}], "mode": "each"},
        {"tasks": [{"taskId": TASK_ID, "created": True}]},
    ),
    (
        "claimBulk",
        lambda q: q.claim_bulk("prov/type", tasks=100, wait=20, **WORKER),
        "POST /claim-bulk/prov%2Ftype",
        {"workerGroup": "g", "workerId": "w", "tasks": 100, "wait": 20},
        {"tasks": [CLAIM]},
    ),
    (
        "reportRuns",
        lambda q: q.report_runs([RunReport(task_id=TASK_ID, run_id=0, outcome="completed")]),
        "POST /runs/report",
        {"reports": [{"taskId": TASK_ID, "runId": 0, "outcome": "completed"}]},
        {"reports": [{"taskId": TASK_ID, "runId": 0, "state": "completed"}]},
    ),
    (
        "createTasks fast",
        lambda q: q.create_new_tasks([TaskToCreate(task_id=TASK_ID, task=DEFINITION)]),
        "POST /tasks/bulk",
        {"tasks": [{"taskId": TASK_ID, "task": DEFINITION.to_wire()}], "mode": "fast"},
        {"count": 1},
    ),
    (
        "searchTasks",
        lambda q: q.search_tasks_page(SearchTasksRequest(states=("failed",), order="time"), limit=3),
        "POST /tasks/list?limit=3",
        {"states": ["failed"], "order": "time", "descending": False},
        {"tasks": [], "continuationToken": "next"},
    ),
    ("deleteTask", lambda q: q.delete_task(TASK_ID), f"DELETE /task/{TASK_ID}", None, STATUS.body),
    (
        "deleteTasks",
        lambda q: q.delete_tasks(DeleteTasksRequest(all=True)),
        "POST /tasks/delete",
        {"all": True},
        {"deleted": 3, "skipped": 1},
    ),
]


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (lambda q: q.report_completed(TASK_ID, 0, output=[1]), {"output": [1]}),
        (lambda q: q.report_failed(TASK_ID, 0, error="e", trace="t"), {"error": "e", "trace": "t"}),
        (lambda q: q.report_failed(TASK_ID, 0, retry=False), {"retry": False}),
        (lambda q: q.report_failed(TASK_ID, 0, retry_at=LATER), {"retryAt": "2024-05-01T14:00:00.000Z"}),
        (
            lambda q: q.report_exception(TASK_ID, 0, "internal-error", error="e"),
            {"reason": "internal-error", "error": "e"},
        ),
        (lambda q: q.cancel_run(TASK_ID, 0, error="e"), {"error": "e"}),
    ],
)
async def test_what_a_worker_has_to_say_is_sent_along(call: Call, body: Any) -> None:
    async with RecordingServer(STATUS) as server, Queue(server.url) as queue:
        await call(queue)
    assert server.seen[0].json == body


@pytest.mark.parametrize(
    ("kind", "call", "request_line", "body", "answer"),
    [(Queue, *row[1:]) for row in [*ENDPOINTS, *EXTENSIONS]] + [(kind, *row[1:]) for kind, row in SERVICES],
    ids=[row[0] for row in [*ENDPOINTS, *EXTENSIONS]]
    + [f"{kind.service}-{row[0]}" for kind, row in SERVICES],
)
async def test_an_endpoint_is_called_as_the_api_has_it(
    kind: type[ServiceClient], call: Call, request_line: str, body: Any, answer: Any
) -> None:
    async with RecordingServer(Answer(body=answer)) as server, kind(server.url) as service:
        await call(service)
    (request,) = server.seen
    method, path = request_line.split(" ")
    assert (request.method, request.target) == (method, f"/api/{kind.service}/v1{path}")
    if body is None:
        assert request.body == b""
        assert "Content-Type" not in request.headers
    else:
        assert request.json == body
        assert request.headers["Content-Type"] == "application/json"


def test_every_endpoint_of_the_queue_has_a_method() -> None:
    names = {entry["name"] for entry in load("queue-api.json")["entries"]}
    assert {row[0] for row in [*ENDPOINTS, *ARTIFACTS, *TASK_QUEUES]} == names
    methods = {re.sub("([A-Z])", lambda found: "_" + found[1].lower(), name) for name in names}
    assert methods <= set(dir(Queue))


async def test_every_byte_of_an_argument_is_percent_encoded() -> None:
    async with RecordingServer(STATUS) as server, client(server) as queue:
        await queue.status("a/b c%2F?ü#..")
    assert server.seen[0].target == "/api/queue/v1/task/a%2Fb%20c%252F%3F%C3%BC%23../status"


async def test_a_root_url_may_have_a_path_and_final_slashes() -> None:
    async with RecordingServer(STATUS) as server, client(server.url + "/tc//") as queue:
        await queue.status(TASK_ID)
        assert queue.root_url == server.url + "/tc"
    assert server.seen[0].target == f"/tc/api/queue/v1/task/{TASK_ID}/status"


async def test_answers_are_values() -> None:
    async with RecordingServer(STATUS) as server, client(server) as queue:
        status = await queue.status(TASK_ID)
    assert isinstance(status, TaskStatus)
    assert (status.state, status.runs[0].run_id) == ("pending", 0)


async def test_a_listing_follows_the_continuation_tokens() -> None:
    pages = [
        Answer(body={**GROUP, "tasks": [ENTRY, ENTRY], "continuationToken": "a+b/c="}),
        Answer(body={**GROUP, "tasks": [ENTRY]}),
    ]
    async with RecordingServer(*pages) as server, client(server) as queue:
        assert len([entry async for entry in queue.list_task_group(GROUP_ID, page_size=2)]) == 3
    assert [request.target.partition("?")[2] for request in server.seen] == [
        "limit=2",
        "limit=2&continuationToken=a%2Bb%2Fc%3D",
    ]


async def test_many_tasks_are_looked_up_over_all_pages() -> None:
    other = samples.status(OTHER_ID, "running")
    pages = [
        Answer(
            body={
                "statuses": [{"taskId": TASK_ID, "status": samples.status()}],
                "continuationToken": "next",
            }
        ),
        Answer(body={"statuses": [{"taskId": other["taskId"], "status": other}]}),
    ]
    async with RecordingServer(*pages) as server, client(server) as queue:
        found = await queue.statuses([TASK_ID, other["taskId"]])
    assert {task_id: status.state for task_id, status in found.items()} == {
        TASK_ID: "pending",
        other["taskId"]: "running",
    }
    assert [request.json for request in server.seen] == [{"taskIds": [TASK_ID, other["taskId"]]}] * 2

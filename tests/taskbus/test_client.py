"""The client's own mechanics: what goes over the wire, retries, and what an answer becomes."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from schemas.task import TaskStatus
from taskbus.client import LONG_POLL_SECONDS, Queue
from taskbus.errors import (
    ApiError,
    AuthenticationFailed,
    Conflict,
    ConnectionFailed,
    Expired,
    InputError,
    InputTooLarge,
    InputValidationError,
    InsufficientScopes,
    InvalidRequestArguments,
    InvalidResponse,
    MalformedPayload,
    NotFound,
    ServerError,
    TaskbusError,
)
from taskbus.tasks import task_definition
from tests.contract.reference import load
from tests.taskbus import samples
from tests.taskbus.recording_server import Answer, RecordingServer, refusal
from tests.taskbus.samples import GROUP_ID, NOW, TASK_ID

STATUS = Answer(body={"status": samples.status()})
GROUP = {"taskGroupId": GROUP_ID, "schedulerId": "-", "expires": "2025-05-01T13:00:00.000Z"}
ENTRY = {"status": samples.status(), "task": samples.definition()}
CLAIM = samples.claim(TASK_ID)
DEFINITION = task_definition({"command": ["true"]}, queue="prov/type", created=NOW)
WORKER: dict[str, Any] = {"worker_group": "g", "worker_id": "w"}

Call = Callable[[Queue], Awaitable[object]]


class Waits(list[float]):
    """Takes the place of sleeping."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


def client(server: RecordingServer | str, **options: Any) -> Queue:
    options = {"sleep": Waits().sleep, "jitter": lambda: 0.0, **options}
    return Queue(server if isinstance(server, str) else server.url, **options)


async def listed(entries: Any) -> list[Any]:
    return [entry async for entry in entries]


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


@pytest.mark.parametrize(
    ("call", "request_line", "body", "answer"),
    [row[1:] for row in ENDPOINTS],
    ids=[row[0] for row in ENDPOINTS],
)
async def test_an_endpoint_is_called_as_the_api_has_it(
    call: Call, request_line: str, body: Any, answer: Any
) -> None:
    async with RecordingServer(Answer(body=answer)) as server, client(server) as queue:
        await call(queue)
    (request,) = server.seen
    method, path = request_line.split(" ")
    assert (request.method, request.target) == (method, "/api/queue/v1" + path)
    if body is None:
        assert request.body == b""
        assert "Content-Type" not in request.headers
    else:
        assert request.json == body
        assert request.headers["Content-Type"] == "application/json"


def test_every_endpoint_of_the_categories_we_serve_has_a_method() -> None:
    categories = {"Tasks", "Task Groups", "Task-Groups", "Worker Interface", "Monitoring"}
    names = {entry["name"] for entry in load("queue-api.json")["entries"] if entry["category"] in categories}
    assert {row[0] for row in ENDPOINTS} == names
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
    other = samples.status("AAAAAAAAQAiAAAAAAAAAAA", "running")
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


REFUSALS: list[tuple[int, str, type[ApiError]]] = [
    (400, "MalformedPayload", MalformedPayload),
    (400, "InvalidRequestArguments", InvalidRequestArguments),
    (400, "InputValidationError", InputValidationError),
    (400, "InputError", InputError),
    (401, "AuthenticationFailed", AuthenticationFailed),
    (403, "InsufficientScopes", InsufficientScopes),
    (404, "ResourceNotFound", NotFound),
    (409, "RequestConflict", Conflict),
    (410, "ResourceExpired", Expired),
    (413, "InputTooLarge", InputTooLarge),
    (418, "SomethingNew", ApiError),
]


@pytest.mark.parametrize(("status", "code", "kind"), REFUSALS, ids=[row[1] for row in REFUSALS])
async def test_a_refusal_is_an_error_of_its_code_and_never_repeated(
    status: int, code: str, kind: type[ApiError]
) -> None:
    async with RecordingServer(refusal(status, code, "no `such`\nthing")) as server, client(server) as queue:
        with pytest.raises(ApiError) as raised:
            await queue.status(TASK_ID)
    error = raised.value
    assert type(error) is kind
    assert (error.status, error.code, error.message) == (status, code, "no `such`\nthing")
    assert error.request_info is not None
    assert error.request_info.method == "task"
    assert len(server.seen) == 1


async def test_a_refusal_that_is_not_the_apis_says_what_came() -> None:
    async with RecordingServer(Answer(404, {"error": "Not found"})) as server, client(server) as queue:
        with pytest.raises(ApiError, match=r'^\{"error": "Not found"\} \(HTTP 404\)$') as raised:
            await queue.status(TASK_ID)
    assert not isinstance(raised.value, NotFound)


async def test_redirects_are_not_followed() -> None:
    answer = Answer(302, "elsewhere", headers={"Location": "/"})
    async with RecordingServer(answer) as server, client(server) as queue:
        with pytest.raises(ApiError):
            await queue.status(TASK_ID)
    assert len(server.seen) == 1


async def test_server_errors_are_retried_with_growing_pauses() -> None:
    waits = Waits()
    answers = [refusal(500, "InternalServerError", "incident 1")] * 3 + [Answer(502, b"<html>"), STATUS]
    async with RecordingServer(*answers) as server, client(server, sleep=waits.sleep) as queue:
        assert (await queue.create_task(TASK_ID, DEFINITION)).state == "pending"
    assert waits == [0.1, 0.2, 0.4, 0.8]
    assert [request.json for request in server.seen] == [DEFINITION.to_wire()] * 5


async def test_a_server_that_keeps_failing_is_given_up_after_five_retries() -> None:
    waits = Waits()
    failing = refusal(500, "InternalServerError", "incident 7")
    async with RecordingServer(failing) as server, client(server, sleep=waits.sleep) as queue:
        with pytest.raises(ServerError, match="incident 7"):
            await queue.ping()
    assert len(server.seen) == 6
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6]


async def test_jitter_shortens_a_pause_by_at_most_half_and_no_pause_exceeds_thirty_seconds() -> None:
    waits = Waits()
    failing = refusal(500, "InternalServerError", "incident")
    options = {"sleep": waits.sleep, "jitter": lambda: 1.0, "retries": 12}
    async with RecordingServer(failing) as server, client(server, **options) as queue:
        with pytest.raises(ServerError):
            await queue.ping()
    assert waits[:3] == [0.05, 0.1, 0.2]
    assert waits[-3:] == [15.0, 15.0, 15.0]


async def test_a_connection_that_is_cut_is_tried_again() -> None:
    answers = [Answer(disconnect=True), Answer(disconnect=True), STATUS]
    async with RecordingServer(*answers) as server, client(server) as queue:
        assert (await queue.rerun_task(TASK_ID)).state == "pending"
    assert len(server.seen) == 3


async def test_a_server_that_is_not_there_is_named_with_the_reason_and_what_to_do() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with client(url) as queue:
            with pytest.raises(ConnectionFailed) as raised:
                await queue.ping()
    assert str(raised.value).startswith(f"cannot reach {url}: Connection refused.")
    assert "taskbus serve" in str(raised.value)
    assert "TASKBUS_ROOT_URL" in str(raised.value)


async def test_an_answer_that_does_not_come_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskbus.client.LONG_POLL_SECONDS", 0.01)
    async with RecordingServer(Answer(silence=True)) as server, client(server, retries=1) as queue:
        with pytest.raises(ConnectionFailed, match="no answer within"):
            await queue.claim_work("prov/type", **WORKER)
    assert len(server.seen) == 2


def test_the_long_poll_may_take_longer_than_the_server_holds_it() -> None:
    assert LONG_POLL_SECONDS >= 20 + 10


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"{}", b'{"status": {"taskId": 5}}'])
async def test_an_answer_of_another_service_is_reported_as_such(body: bytes) -> None:
    async with RecordingServer(Answer(body=body)) as server, client(server) as queue:
        with pytest.raises(InvalidResponse, match="Check the root URL") as raised:
            await queue.status(TASK_ID)
    assert server.url in str(raised.value)


async def test_no_more_calls_are_under_way_than_connections_are_allowed() -> None:
    class Gate(RecordingServer):
        open_now = most = 0

        async def _handle(self, request: Any) -> Any:
            self.open_now += 1
            self.most = max(self.most, self.open_now)
            await asyncio.sleep(0)
            self.open_now -= 1
            return await super()._handle(request)

    async with Gate(STATUS) as server, client(server, connections=3) as queue:
        await asyncio.gather(*(queue.status(TASK_ID) for _ in range(20)))
    assert len(server.seen) == 20
    assert server.most <= 3


async def test_every_attempt_is_signed_anew() -> None:
    signed: list[tuple[str, str, bytes | None]] = []

    def auth(method: str, url: str, body: bytes | None) -> str:
        signed.append((method, url, body))
        return f"Hawk nonce={len(signed)}"

    answers = [refusal(500, "InternalServerError", "incident"), STATUS]
    async with RecordingServer(*answers) as server, client(server, auth=auth) as queue:
        await queue.create_task(TASK_ID, DEFINITION)
        url = f"{server.url}/api/queue/v1/task/{TASK_ID}"
    assert signed == [("PUT", url, DEFINITION.to_json())] * 2
    assert [request.headers["Authorization"] for request in server.seen] == ["Hawk nonce=1", "Hawk nonce=2"]


async def test_without_credentials_there_is_no_authorization_header() -> None:
    async with RecordingServer(STATUS) as server, client(server) as queue:
        await queue.status(TASK_ID)
    assert "Authorization" not in server.seen[0].headers


def test_the_root_url_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKBUS_ROOT_URL", raising=False)
    monkeypatch.delenv("TASKCLUSTER_ROOT_URL", raising=False)
    assert Queue().root_url == "http://127.0.0.1:8080"
    monkeypatch.setenv("TASKCLUSTER_ROOT_URL", "https://tc.example.com/")
    assert Queue().root_url == "https://tc.example.com"
    monkeypatch.setenv("TASKBUS_ROOT_URL", "https://bus.example.com")
    assert Queue().root_url == "https://bus.example.com"
    assert Queue("http://given").root_url == "http://given"


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "http://host:port", "queue"])
def test_a_root_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="root_url"):
        Queue(url)


async def test_a_client_that_was_not_opened_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await client("http://127.0.0.1:1").ping()


def test_all_errors_have_one_base() -> None:
    assert issubclass(ApiError, TaskbusError)
    assert issubclass(ConnectionFailed, TaskbusError)
    assert issubclass(InvalidResponse, TaskbusError)

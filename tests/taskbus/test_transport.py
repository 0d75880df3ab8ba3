"""What the client does when the server refuses, fails, vanishes or is another one."""

import asyncio
import re
import socket
from typing import Any

import pytest

from taskbus import hawk
from taskbus.client import LONG_POLL_SECONDS, Queue
from taskbus.credentials import Credentials
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
    TaskException,
)
from taskbus.tasks import task_definition
from tests.taskbus import samples
from tests.taskbus.recording_server import Answer, RecordingServer, Waits, client, refusal
from tests.taskbus.samples import NOW, TASK_ID

STATUS = Answer(body={"status": samples.status()})
DEFINITION = task_definition({"command": ["true"]}, queue="prov/type", created=NOW)
DEMO = Credentials("static/demo", "vuOoBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA")
WORKER: dict[str, Any] = {"worker_group": "g", "worker_id": "w"}


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


async def test_every_attempt_is_signed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    signed: list[tuple[str, str, bytes | None]] = []

    def authorization(self: Credentials, method: str, url: str, body: bytes | None) -> str:
        signed.append((method, url, body))
        return f"Hawk nonce={len(signed)}"

    monkeypatch.setattr(Credentials, "authorization", authorization)
    answers = [refusal(500, "InternalServerError", "incident"), STATUS]
    async with RecordingServer(*answers) as server, client(server, credentials=DEMO) as queue:
        await queue.create_task(TASK_ID, DEFINITION)
        url = f"{server.url}/api/queue/v1/task/{TASK_ID}"
    assert signed == [("PUT", url, DEFINITION.to_json())] * 2
    assert [request.headers["Authorization"] for request in server.seen] == ["Hawk nonce=1", "Hawk nonce=2"]


@pytest.mark.parametrize("prefix", ["", "/tc", "/a%2Fb"])
async def test_what_is_signed_is_what_is_sent(prefix: str) -> None:
    answer = Answer(body={"taskId": TASK_ID, "tasks": []})
    async with RecordingServer(answer) as server:
        root_url = server.url + prefix + "/"
        async with client(root_url, credentials=DEMO) as queue:
            await queue.claim_work("prov/type", **WORKER)
            await queue.list_dependent_tasks_page(TASK_ID, limit=5, continuation_token="a/b+c=d")
    port = int(server.url.rpartition(":")[2])
    claim, listed = server.seen
    assert claim.target == f"{prefix}/api/queue/v1/claim-work/prov%2Ftype"
    assert listed.target.endswith("/dependents?limit=5&continuationToken=a%2Fb%2Bc%3Dd")
    for seen in server.seen:
        given = dict(re.findall(r'(\w+)="([^"]*)"', seen.headers["Authorization"]))
        assert seen.headers["Authorization"] == hawk.header(
            DEMO.client_id,
            DEMO.access_token.encode(),
            seen.method,
            hawk.Target("127.0.0.1", port, seen.target),
            timestamp=int(given["ts"]),
            nonce=given["nonce"],
            content_type=seen.headers.get("Content-Type", ""),
            body=seen.body,
        )


async def test_a_client_can_act_with_other_credentials_over_the_same_connections() -> None:
    other = Credentials("other", "token")
    async with RecordingServer(STATUS) as server, client(server, credentials=DEMO) as queue:
        await queue.using(other).status(TASK_ID)
        await queue.using(None).status(TASK_ID)
        await queue.status(TASK_ID)
    who = [request.headers.get("Authorization", "").partition(",")[0] for request in server.seen]
    assert who == ['Hawk id="other"', "", 'Hawk id="static/demo"']


async def test_credentials_come_from_the_environment_unless_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in DEMO.to_env().items():
        monkeypatch.setenv(name, value)
    assert Queue().credentials == DEMO
    assert Queue(credentials=None).credentials is None
    monkeypatch.delenv("TASKCLUSTER_ACCESS_TOKEN")
    with pytest.raises(ValueError, match="TASKCLUSTER_ACCESS_TOKEN"):
        Queue()


async def test_without_credentials_there_is_no_authorization_header() -> None:
    async with RecordingServer(STATUS) as server, client(server, credentials=None) as queue:
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


def test_an_exception_with_a_reason_the_queue_does_not_know_cannot_be_raised() -> None:
    with pytest.raises(ValueError, match=r"reason: expected one of worker-shutdown, .*, got 'canceled'"):
        TaskException("canceled")  # type: ignore[arg-type]

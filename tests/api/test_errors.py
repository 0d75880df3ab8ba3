"""What a refused call answers (``queue-behaviour.md`` 1.4)."""

import asyncio
import re
from typing import Final

import pytest
from structlog.testing import capture_logs

from queue_service.store.database import StoreUnavailable
from tests.api.running_queue import RunningQueue

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def test_a_refusal_has_exactly_these_members(queue: RunningQueue) -> None:
    body = (await queue.call("GET", f"/task/{TASK_ID}/status")).json()
    assert set(body) == {"code", "message", "requestInfo"}
    assert body["requestInfo"] == {
        "method": "status",
        "params": {"taskId": TASK_ID},
        "payload": {},
        "time": "2024-05-01T12:00:00.000Z",
    }


async def test_the_message_ends_with_a_footer_of_four_lines(queue: RunningQueue) -> None:
    reply = await queue.call("GET", f"/task/{TASK_ID}/status")
    text, footer = reply.message.rsplit("\n\n---\n\n", 1)
    assert TASK_ID in text
    assert footer == (
        "* method:     status\n"
        "* errorCode:  ResourceNotFound\n"
        "* statusCode: 404\n"
        "* time:       2024-05-01T12:00:00.000Z"
    )


async def test_a_refusal_shows_the_payload_as_it_was_parsed(queue: RunningQueue) -> None:
    sent = {"newPriority": "urgent", "why": ["ü", 1.5, None, {"deep": True}]}
    body = (await queue.call("POST", f"/task/{TASK_ID}/priority", sent)).json()
    assert body["requestInfo"]["method"] == "changeTaskPriority"
    assert body["requestInfo"]["payload"] == sent


async def test_a_refusal_shows_a_payload_that_is_an_array(queue: RunningQueue) -> None:
    reply = await queue.call("POST", f"/task/{TASK_ID}/priority", ["newPriority"])
    assert reply.code == "InputValidationError"
    assert reply.json()["requestInfo"]["payload"] == ["newPriority"]


async def test_a_body_that_is_not_json_is_shown_as_no_payload(queue: RunningQueue) -> None:
    reply = await queue.send(
        "POST", f"/task/{TASK_ID}/priority", [b"{"], headers={"Content-Type": "application/json"}
    )
    assert reply.code == "MalformedPayload"
    assert reply.json()["requestInfo"]["payload"] == {}


async def test_a_number_beyond_all_floats_leaves_the_refusal_json(queue: RunningQueue) -> None:
    reply = await queue.send(
        "POST",
        f"/task/{TASK_ID}/priority",
        [b'{"newPriority": 1e999}'],
        headers={"Content-Type": "application/json"},
    )
    assert (reply.status, reply.code) == (400, "InputValidationError")


async def test_all_violations_are_reported_each_with_place_and_expectation(queue: RunningQueue) -> None:
    body = queue.definition(
        retries=50,
        priority="urgent",
        surprise=1,
        routes=["a", "a"],
        deadline="tomorrow",
        tags={"kind": 7},
        metadata={"name": "n" * 256, "owner": "ann@example.com", "source": "ftp://example.com", "more": ""},
    )
    del body["payload"]
    reply = await queue.call("PUT", f"/task/{TASK_ID}", body)
    assert (reply.status, reply.code) == (400, "InputValidationError")
    violations = dict(
        line.removeprefix(" * ").split(": ", 1)
        for line in reply.message.splitlines()
        if line.startswith(" * ")
    )
    expected = {
        "`/retries`": "49",
        "`/priority`": "'highest'",
        "`/surprise`": "not a known member",
        "`/routes`": "twice",
        "`/deadline`": "RFC 3339",
        "`/tags/kind`": "must be a string",
        "`/metadata/name`": "255",
        "`/metadata/description`": "required",
        "`/metadata/source`": "https?://",
        "`/metadata/more`": "not a known member",
        "`/payload`": "required",
    }
    assert set(violations) == set(expected)
    assert not [
        f"{place}: {violations[place]}" for place, words in expected.items() if words not in violations[place]
    ]


async def test_a_refusal_with_very_many_violations_says_how_many_are_left_out(queue: RunningQueue) -> None:
    reply = await queue.call("POST", "/tasks", {"taskIds": [1] * 5000})
    assert reply.code == "InputValidationError"
    assert "4900 more" in reply.message


async def test_invalid_credentials_are_401_and_name_the_scheme(queue: RunningQueue) -> None:
    queue.permit.distrust()
    reply = await queue.call("GET", f"/task/{TASK_ID}")
    assert (reply.status, reply.code) == (401, "AuthenticationFailed")
    assert reply.header("www-authenticate") == "hawk"


async def test_missing_scopes_are_403_without_that_header(queue: RunningQueue) -> None:
    queue.permit.deny()
    reply = await queue.call("GET", f"/task/{TASK_ID}")
    assert (reply.status, reply.code) == (403, "InsufficientScopes")
    assert reply.header("www-authenticate") is None


# ---- the service's own trouble ------------------------------------------------------------------------


def breaks_down(queue: RunningQueue, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """From now on every transaction fails with this error."""

    def read() -> None:
        raise error

    async def write(script: object) -> None:
        raise error

    monkeypatch.setattr(queue.database, "read", read)
    monkeypatch.setattr(queue.database, "write", write)


CALLS: Final = (
    ("GET", f"/task/{TASK_ID}", None),
    ("POST", f"/task/{TASK_ID}/cancel", None),
    ("POST", f"/task-group/{TASK_ID}/seal", None),
    ("POST", "/claim-work/prov/type", {"workerGroup": "g", "workerId": "w"}),
)


@pytest.mark.parametrize(("method", "target", "body"), CALLS)
async def test_a_bug_is_500_with_an_incident_that_the_log_knows(
    queue: RunningQueue,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    target: str,
    body: object,
) -> None:
    with monkeypatch.context() as broken, capture_logs() as logged:
        breaks_down(queue, broken, RuntimeError("the secret reason"))
        reply = await (queue.call(method, target, body) if body else queue.call(method, target))
    assert (reply.status, reply.code) == (500, "InternalServerError")
    incident = UUID.search(reply.message)
    assert incident is not None
    assert "secret" not in reply.message
    (told,) = [entry for entry in logged if entry.get("incident") == incident[0]]
    assert told["log_level"] == "error"
    assert told["exc_info"]


@pytest.mark.parametrize(("method", "target", "body"), CALLS)
async def test_a_database_that_is_away_is_503_and_may_be_retried(
    queue: RunningQueue, monkeypatch: pytest.MonkeyPatch, method: str, target: str, body: object
) -> None:
    with monkeypatch.context() as broken:
        breaks_down(queue, broken, StoreUnavailable("the database cannot be reached"))
        reply = await (queue.call(method, target, body) if body else queue.call(method, target))
    assert (reply.status, reply.code) == (503, "InternalServerError")
    assert reply.header("retry-after") is not None
    assert "cannot be reached" in reply.message


async def test_a_create_that_failed_can_be_repeated(
    queue: RunningQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = queue.definition()
    with monkeypatch.context() as broken:
        breaks_down(queue, broken, StoreUnavailable("the database cannot be reached"))
        assert (await queue.call("PUT", f"/task/{TASK_ID}", body)).status == 503
    assert (await queue.stored())["tasks"] == 0
    assert (await queue.call("PUT", f"/task/{TASK_ID}", body)).status == 200


async def test_more_calls_than_may_wait_are_503(queue: RunningQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue.api._changes, "_max_waiting", 1)
    calls = [queue.call("POST", f"/task/{TASK_ID}/cancel") for _ in range(3)]
    replies = await asyncio.gather(*calls)
    assert sorted(reply.status for reply in replies) == [404, 503, 503]

"""Log lines about a call and its task can be found by their ids, and hold no secret."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from queue_service.log_context import about
from queue_service.logs import configure_logs
from queue_service.store.database import StoreUnavailable
from tests.api.running_queue import RunningQueue
from tests.api.secured_queue import SecuredQueue


class Lines:
    """The log as it would be in a file."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    def about(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in lines if line["event"] == event]


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Iterator[Lines]:
    """What is logged at the level of the test's parameter, debug if it has none."""
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    stream = io.StringIO()
    configure_logs(getattr(request, "param", "DEBUG"), "json")
    structlog.configure(cache_logger_on_first_use=False)  # a logger that is kept would write here for ever
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield Lines(stream)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


@pytest.fixture(params=["sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """What is logged does not depend on the kind of database."""
    return str(request.param)


async def test_a_call_is_one_line_at_debug(queue: RunningQueue, log: Lines) -> None:
    task_id = await queue.claimed()
    await queue.call("POST", f"/task/{task_id}/runs/0/completed", headers={"x-taskcluster-trace-id": "t-1"})
    (line,) = [line for line in log.about("call") if line["method"] == "reportCompleted"]
    assert line["level"] == "debug"
    assert (line["verb"], line["status"]) == ("POST", 200)
    assert (line["taskId"], line["runId"], line["traceId"]) == (task_id, "0", "t-1")
    assert line["clientId"] == "tester"


@pytest.mark.parametrize("log", ["INFO"], indirect=True)
async def test_at_info_a_call_is_no_line(queue: RunningQueue, log: Lines) -> None:
    await queue.create()
    assert log.text == ""


async def test_whatever_is_logged_during_a_call_tells_whose_it_is(
    queue: RunningQueue, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await queue.create()

    async def unavailable(*_: object) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(queue.api._changes, "submit", unavailable)
    await queue.call("POST", f"/task/{task_id}/cancel", headers={"x-taskcluster-trace-id": "t-2"})
    (line,) = log.about("call not served")
    assert (line["taskId"], line["traceId"]) == (task_id, "t-2")


async def test_what_a_batch_logs_is_not_told_of_the_call_that_came_first(
    queue: RunningQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    run = queue.api._run_creations

    async def watched(creations: Any) -> Any:
        seen.append(dict(about.get()))
        return await run(creations)

    monkeypatch.setattr(queue.api._creations, "_run", watched)
    await queue.create()
    assert seen == [{}]


async def test_a_trace_id_of_any_length_makes_a_line_of_bounded_length(
    queue: RunningQueue, log: Lines
) -> None:
    await queue.call("GET", "/ping", headers={"x-taskcluster-trace-id": "x" * 10_000})
    (line,) = log.about("call")
    assert len(line["traceId"]) == 200


async def test_no_credentials_are_logged(secured: SecuredQueue, log: Lines) -> None:
    created = await secured.client("project/one", "auth:reset-access-token:*")
    await created.scopes()
    assert [line["clientId"] for line in log.about("call")] == [secured.root.caller.client_id, "project/one"]
    for secret in (secured.root.caller.key, created.caller.key, "mac=", "Hawk"):
        assert secret not in log.text

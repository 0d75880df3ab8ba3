"""Whether replies and messages are what the reference promises, judged by code that knows nothing of ours.

Replies: ``queue-behaviour.md`` 1.4 and the ``output`` schemas; messages: section 10. Without the reference
pages beside the repository nothing is judged.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from schemas.task import TaskDefinition
from tests.api.asgi import Reply
from tests.contract.extensions import extensions_of
from tests.contract.reference import REFERENCE, Validator, load

BASE: Final = "/api/queue/v1"
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

EXTENSIONS: Final = extensions_of(TaskDefinition)
"""Members of a definition that only tasks have that use them."""

MEMBERS: Final[dict[str, tuple[set[str], set[str]]]] = {
    "task-defined": ({"status", "task"}, set()),
    "task-pending": ({"status", "runId", "task"}, set()),
    "task-running": ({"status", "runId", "workerGroup", "workerId", "takenUntil", "task"}, set()),
    "task-completed": ({"status", "runId", "workerGroup", "workerId", "task"}, set()),
    "task-failed": ({"status", "runId", "workerGroup", "workerId", "task"}, set()),
    "task-exception": ({"status", "runId", "task"}, {"workerGroup", "workerId"}),
    "artifact-created": ({"status", "runId", "workerGroup", "workerId", "artifact"}, set()),
    "task-group-resolved": ({"taskGroupId", "schedulerId", "expires"}, {"sealed"}),
    "task-group-sealed": ({"taskGroupId", "schedulerId", "expires"}, {"sealed"}),
    "task-priority-changed": ({"status", "oldPriority", "newPriority"}, set()),
    "task-group-priority-changed": ({"taskGroupId", "schedulerId", "newPriority", "tasksAffected"}, set()),
}
"""Members of each message beside ``version``: those it always has, and those it may have."""


@dataclass(frozen=True)
class Told:
    """A message in the outbox; ``exchange`` is the short name."""

    exchange: str
    routing_key: str
    cc: tuple[str, ...]
    body: dict[str, Any]

    @property
    def event(self) -> tuple[str, int | None]:
        """What the event table of section 10 lists: the exchange and the run."""
        return self.exchange, self.body.get("runId")

    @property
    def task_id(self) -> str:
        return str(self.body["status"]["taskId"])


class Contract:
    """The reference as a judge. Raises AssertionError that names the place."""

    def __init__(self) -> None:
        self._validator = Validator()
        reference = load("queue-api.json")
        self._codes: dict[str, int] = reference["errorCodes"]
        multi = reference["multiSegmentParams"]
        self._entries: list[tuple[dict[str, Any], re.Pattern[str]]] = [
            (entry, _route_pattern(entry["route"], {name for name in multi if entry["name"] in multi[name]}))
            for entry in reference["entries"]
        ]
        exchanges = load("queue-exchanges.json")
        self._prefix: str = exchanges["exchangePrefix"]
        self._exchanges = {entry["exchange"]: entry for entry in exchanges["entries"]}

    def check_reply(self, method: str, target: str, reply: Reply) -> None:
        """The reply to a call below the base path."""
        entry = self._entry(method, target)
        done = reply.status in (200, 303) and method != "HEAD"
        if done and entry is not None and entry["output"] is not None:
            body = _plain(reply.json())
            errors = self._validator.errors(entry["output"].removesuffix(".json"), body)
            assert not errors, f"{entry['name']} answers what its schema forbids: {errors}"
            _check_times(body)
        if reply.status == 424:
            assert set(reply.json()) == {"reason", "message"}  # an error artifact (8.5)
        elif reply.status >= 400 and reply.body and set(reply.json()) != {"error"}:
            body = reply.json()
            if entry is None:  # calls of ours may tell more
                body.pop("details", None)
            self._check_error(reply.status, body)

    def check_message(self, told: Told, *, routes: tuple[str, ...], tags: dict[str, str] | None) -> None:
        """A message of the outbox; ``routes`` and ``tags`` are those of its task."""
        entry = self._exchanges[told.exchange]
        errors = self._validator.errors(entry["schema"].removesuffix(".json"), told.body)
        assert not errors, f"{told.exchange} has what its schema forbids: {errors}"
        always, maybe = MEMBERS[told.exchange]
        assert always | {"version"} <= set(told.body) <= always | maybe | {"version"}
        _check_times(told.body)
        if "task" in told.body:
            assert told.body["task"] == {"tags": tags}
        assert told.routing_key == ".".join(_word(word, told.body) for word in entry["routingKey"])
        assert told.cc == (tuple(f"route.{route}" for route in routes) if "status" in told.body else ())

    def short_name(self, full_exchange: str) -> str:
        assert full_exchange.startswith(self._prefix)
        return full_exchange.removeprefix(self._prefix)

    def _entry(self, method: str, target: str) -> dict[str, Any] | None:
        path = target.partition("?")[0]
        verb = "get" if method == "HEAD" else method.lower()
        for entry, pattern in self._entries:
            if entry["method"] == verb and pattern.fullmatch(path):
                return entry
        return None

    def _check_error(self, status: int, body: Any) -> None:
        assert set(body) == {"code", "message", "requestInfo"}
        assert set(body["requestInfo"]) == {"method", "params", "payload", "time"}
        assert status == 503 or status == self._codes[body["code"]]
        assert TIME.fullmatch(body["requestInfo"]["time"])


@cache
def contract() -> Contract | None:
    """The judge, or None where the reference pages are not at hand."""
    return Contract() if REFERENCE.is_dir() else None


def _plain(value: Any) -> Any:
    """The reply with every definition freed of extensions, which our own shape has to judge."""
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if not isinstance(value, dict):
        return value
    if "payload" in value and EXTENSIONS & value.keys():
        definition = TaskDefinition.model_validate(value)
        assert definition.to_wire() == value
        return {name: member for name, member in value.items() if name not in EXTENSIONS}
    if value.get("uniqueSkippedAsDuplicate") is True:
        value = {name: member for name, member in value.items() if name != "uniqueSkippedAsDuplicate"}
    if "traceparent" in value and "credentials" in value:
        value = {name: member for name, member in value.items() if name != "traceparent"}
    if "takenUntil" in value and "credentials" in value:
        value = {name: member for name, member in value.items() if name not in ("job", "cancelRequested")}
    return {name: _plain(member) for name, member in value.items()}


def _route_pattern(route: str, multi: set[str]) -> re.Pattern[str]:
    parts = [
        (".+" if part[1:-1] in multi else "[^/]+") if part.startswith("<") else re.escape(part)
        for part in route.split("/")
    ]
    return re.compile("/".join(parts) + "/?")


def _word(word: dict[str, Any], body: dict[str, Any]) -> str:
    name = word["name"]
    if "constant" in word:
        return str(word["constant"])
    if name in ("runId", "workerGroup", "workerId"):
        value = body.get(name)
    else:
        value = body.get("status", body).get(name)
    text = "_" if value is None or name == "reserved" else str(value)
    assert "." not in text
    assert len(text) <= word["maxSize"]
    return text


def _check_times(value: Any, name: str = "") -> None:
    """Every time has exactly three digits and ``Z`` (1.5); what the task's owner wrote is left alone."""
    if isinstance(value, dict):
        for key, member in value.items():
            if key not in ("payload", "extra", "tags", "metadata"):
                _check_times(member, key)
    elif isinstance(value, list):
        for member in value:
            _check_times(member, name)
    elif name in _TIMES:
        assert TIME.fullmatch(value), f"{name} is {value}"


_TIMES: Final = {
    "created",
    "deadline",
    "expires",
    "sealed",
    "scheduled",
    "started",
    "resolved",
    "takenUntil",
}

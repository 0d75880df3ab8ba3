"""What a frame of a worker means: the protocols ``work.v1`` and ``work.v2`` (A.2, A.9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from queue_service.features.worker_socket.connection import DEFAULT_CAPACITY, V2
from queue_service.features.worker_socket.matching import folded
from schemas.jobs import LogReport, OutputReport, ProgressReport, StepReport
from schemas.work import (
    Descriptions,
    ExtendFrame,
    HelloFrame,
    ProgressFrame,
    ReportFrame,
    SnoozeFrame,
    WorkDescription,
)

_DESCRIPTIONS: Final = TypeAdapter(Descriptions)
_REPORTS: Final[dict[str, type[StepReport] | type[LogReport] | type[OutputReport]]] = {
    "step": StepReport,
    "log": LogReport,
    "output": OutputReport,
}
BEYOND_DEADLINES: Final = timedelta(days=36_500)
"""More time than any task has."""
_ENVELOPE: Final = frozenset({"kind", "task_id", "run_id", "id", "step"})


class BadFrame(Exception):
    """The frame cannot be understood. ``code`` is that of the error frame of ``work.v2``."""

    def __init__(self, code: str, message: str, task_id: str | None = None, id: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.task_id = task_id
        self.id = id

    def to_frame(self) -> dict[str, Any]:
        return error_frame(self.code, str(self), self.task_id, self.id)


@dataclass(frozen=True, slots=True)
class Registration:
    """What a connection takes from now on."""

    tasks: Sequence[WorkDescription]
    capacity: int = DEFAULT_CAPACITY


@dataclass(frozen=True, slots=True)
class Result:
    """An answer to an item: ``error`` is None for one that was done."""

    task_id: str
    run_id: int | None
    data: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """More time for an item, or a pause of it."""

    kind: str
    task_id: str
    run_id: int
    seconds: timedelta


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an item is."""

    task_id: str
    run_id: int
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """A step, a line or the output of a typed job. One with an ``id`` is answered."""

    task_id: str
    run_id: int
    id: int | None
    told: StepReport | LogReport | OutputReport
    step: str = ""


@dataclass(frozen=True, slots=True)
class Drain:
    """No further items."""


Frame = Registration | Result | Ask | Progress | Report | Drain


def error_frame(code: str, message: str, task_id: str | None = None, id: int | None = None) -> dict[str, Any]:
    """That a frame of ``work.v2`` was refused; ``id`` is that of the frame, where it had one."""
    named = {"task_id": task_id, "id": id}
    told = {name: value for name, value in named.items() if value is not None}
    return {"kind": "error", "code": code, "message": message, **told}


def from_query(query: bytes) -> Registration | None:
    """The registration in the query of the URL (WS-6); None when it names no task. Raises BadFrame."""
    names: list[str] = []
    filters: dict[str, list[str]] = {}
    for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if key == "bewit":
            continue
        values = [one.strip() for one in value.split(",") if one.strip()]
        if key == "task":
            names += values
        else:
            filters.setdefault(key, []).extend(values)
    if not names:
        return None
    return Registration(_checked([{"name": name, "filter": filters} for name in names]))


def token_of(text: str) -> str | None:
    """The token of an authorization frame; None for any other frame. Raises ValueError for no JSON."""
    value = from_json(text)
    if not isinstance(value, dict) or value.get("kind") != "authorization":
        return None
    token = value.get("jwt")
    if not isinstance(token, str):
        return None
    return token.removeprefix("Bearer ").strip()


def read(text: str, protocol: str) -> Frame | None:
    """What the frame says; None for one that says nothing. Raises BadFrame, and ValueError for no JSON."""
    if not text.strip():
        return None
    value = from_json(text)
    if isinstance(value, list):
        if protocol == V2:
            raise BadFrame("UnknownFrame", "work.v2 registers with a frame of the kind `hello`")
        return Registration(_checked(value))
    if not isinstance(value, dict):
        raise BadFrame("UnknownFrame", "a frame is a JSON object, or the array of a registration")
    if "kind" in value and "result" not in value:
        return _typed(value, protocol)
    return _result(value, protocol)


def _typed(value: dict[str, Any], protocol: str) -> Frame | None:
    kind = value["kind"]
    if kind == "authorization":
        return None  # the caller is known already
    if protocol != V2:
        raise BadFrame("UnknownFrame", f"work.v1 has no frame of the kind {kind!r}")
    task_id = value.get("task_id") if isinstance(value.get("task_id"), str) else None
    id = value.get("id") if type(value.get("id")) is int else None
    try:
        match kind:
            case "hello":
                hello = HelloFrame.model_validate(value)
                return Registration(_checked([one.to_wire() for one in hello.tasks]), hello.capacity)
            case "progress":
                progress = ProgressFrame.model_validate(value)
                return Progress(progress.task_id, progress.run_id, _facts(progress))
            case "step" | "log" | "output":
                return _report(value)
            case "extend":
                extend = ExtendFrame.model_validate(value)
                by = timedelta(seconds=min(extend.seconds, BEYOND_DEADLINES.total_seconds()))
                return Ask(kind, extend.task_id, extend.run_id, by)
            case "snooze":
                snooze = SnoozeFrame.model_validate(value)
                return Ask(kind, snooze.task_id, snooze.run_id, timedelta(seconds=snooze.seconds))
            case "drain":
                return Drain()
    except ValidationError as error:
        raise BadFrame("InvalidFrame", _violations(error), task_id, id) from None
    raise BadFrame("UnknownFrame", f"work.v2 has no frame of the kind {kind!r}", task_id)


def _facts(progress: ProgressFrame) -> dict[str, Any]:
    members = progress.to_wire()
    return {name: fact for name, fact in members.items() if name not in ("kind", "task_id", "run_id")}


def _report(value: dict[str, Any]) -> Report:
    """Raises ValidationError."""
    frame = ReportFrame.model_validate(value)
    rest = {name: told for name, told in value.items() if name not in _ENVELOPE}
    told = _REPORTS[frame.kind].model_validate(rest)
    if frame.kind == "step" and frame.step is None:
        raise BadFrame("InvalidFrame", "`/step`: names the step", frame.task_id, frame.id)
    return Report(frame.task_id, frame.run_id, frame.id, told, frame.step or "")


def progress_report(progress: Progress) -> ProgressReport:
    """The progress of a typed job. Raises BadFrame for one that says nothing."""
    try:
        return ProgressReport.model_validate(progress.facts)
    except ValidationError as error:
        raise BadFrame("InvalidFrame", _violations(error), progress.task_id) from None


def _result(value: dict[str, Any], protocol: str) -> Result:
    task_id, run_id, result = value.get("task_id"), value.get("run_id"), value.get("result")
    if not isinstance(task_id, str) or not isinstance(result, str):
        raise BadFrame("UnknownFrame", "an answer has `task_id` and `result`")
    if run_id is not None and (not isinstance(run_id, int) or isinstance(run_id, bool)):
        raise BadFrame("InvalidFrame", "`/run_id`: must be an integer", task_id)
    if protocol == V2 and run_id is None:
        raise BadFrame("InvalidFrame", "`/run_id`: work.v2 repeats the run of the item", task_id)
    match result:
        case "done":
            return Result(task_id, run_id, data=value.get("data"))
        case "error":
            error = value.get("error")
            return Result(task_id, run_id, error=error if isinstance(error, str) else "")
    raise BadFrame("InvalidFrame", f"`/result`: must be `done` or `error`, not {result!r}", task_id)


def _checked(tasks: list[Any]) -> Sequence[WorkDescription]:
    try:
        described = _DESCRIPTIONS.validate_python(tasks)
    except ValidationError as error:
        raise BadFrame("InvalidFrame", _violations(error)) from None
    seen = set()
    for one in described:
        key = (
            folded(one.name),
            tuple(sorted((name, tuple(sorted(set(values)))) for name, values in one.filter.items())),
        )
        if key in seen:
            raise BadFrame("InvalidFrame", f"`{one.name}` is there twice with the same filter")
        seen.add(key)
    return described


def _violations(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)[:5]
    return "; ".join(f"`/{'/'.join(map(str, one['loc']))}`: {one['msg']}" for one in found)[:1000]

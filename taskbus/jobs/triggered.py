"""Jobs that start by themselves: what a class is decorated with becomes a trigger of the service."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from schemas.durations import parse_duration
from schemas.triggers import CreateTriggerRequest, Misfire, Overlap
from taskbus.jobs.insertion import job_task
from taskbus.jobs.job import Job
from taskbus.jobs.options import Duration
from taskbus.trigger_files import DeclaredTrigger

if TYPE_CHECKING:
    from events.bindings import Binding

GROUP: Final = "jobs"
"""Of triggers that are given no name."""
_NO_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
_TIMES: Final = ("created", "deadline", "expires")

Args = Mapping[str, Any]
"""Arguments of the job, in which ``${…}`` and other JSON-e stand for what the trigger knows."""


def by_clock(
    job_type: type[Job],
    *,
    cron: str | Sequence[str] | None,
    every: Duration | None,
    tz: str,
    random_offset: Duration | None,
    immediate: bool,
    window: Mapping[str, Any] | None,
    misfire: Misfire,
    overlap: Overlap,
    retries: int,
    args: Args,
    name: str | None,
) -> DeclaredTrigger:
    """The trigger of a job that the clock starts. Raises ValueError for what cannot be one."""
    if (cron is None) == (every is None):
        raise ValueError("expected exactly one of cron and every")
    further = {"random_offset": random_offset, "window": window}
    common = {"immediate": immediate, **{key: value for key, value in further.items() if value is not None}}
    by = {"interval": {"duration": every, **common}} if cron is None else {
        "cron": {"cron": cron, "timezone": tz, **common}
    }  # fmt: skip
    members = {"misfire": misfire, "overlap": overlap, "retry": {"retries": retries}}
    return _declared(job_type, {**by, **members}, args, name)


def by_message(
    job_type: type[Job],
    bindings: "Sequence[Binding[Any]]",
    *,
    limit: int | None,
    args: Args,
    name: str | None,
) -> DeclaredTrigger:
    """The trigger of a job that messages start. Raises ValueError for what cannot be one."""
    if not bindings:
        raise ValueError("expected at least one binding, such as TaskCompleted(task_queue_id=...)")
    message: dict[str, Any] = {
        "bindings": [
            {"exchange": one.exchange, "routing_key_pattern": one.routing_key_pattern} for one in bindings
        ]
    }
    if limit is not None:
        message["limit"] = limit
    return _declared(job_type, {"message": message}, args, name)


def _declared(
    job_type: type[Job], members: Mapping[str, Any], args: Args, name: str | None
) -> DeclaredTrigger:
    group, _, trigger_id = (name or f"{GROUP}/{_NO_ID.sub('_', job_type.kind)}").partition("/")
    if not group or not trigger_id:
        raise ValueError(f"name: expected <group>/<id>, got {name!r}")
    _check_args(job_type, args)
    definition = CreateTriggerRequest.model_validate({**members, "task": _template(job_type, args)})
    return DeclaredTrigger(group, trigger_id, definition)


def _check_args(job_type: type[Job], args: Args) -> None:
    fields = job_type.model_fields
    for unknown in args.keys() - fields.keys():
        raise ValueError(f"args: {job_type.__name__} has no argument {unknown!r}")
    for name, field in fields.items():
        if field.is_required() and name not in args:
            raise ValueError(f"args: {job_type.__name__} needs {name!r}")


def _template(job_type: type[Job], args: Args) -> dict[str, Any]:
    """The task of the job, with times that are counted from its firing."""
    options = job_type.options
    payload = {"kind": job_type.kind, "args": dict(args)}
    request = job_task(payload, options, {}, datetime.now(UTC))
    members = {key: value for key, value in request.to_wire().items() if key not in _TIMES}
    deadline = parse_duration(options.deadline)
    expires = deadline + parse_duration(options.expires)
    times = {"deadline": deadline, "expires": expires}
    return {
        **members,
        **{key: {"$fromNow": f"{round(after.total_seconds())} seconds"} for key, after in times.items()},
    }

"""Task definitions written briefly: durations instead of times, defaults instead of boilerplate."""

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypedDict, Unpack

from schemas.extensions import Retention, RetryPolicy
from schemas.queue import CreateTaskRequest
from schemas.task import Priority, Requires

Duration = str | timedelta
"""A timedelta, or a number with its unit: ``10s``, ``5m``, ``1h``, ``2d``."""

DEFAULT_OWNER: Final = "nobody@localhost"
DEFAULT_SOURCE: Final = "https://source.invalid/unknown"

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])", re.ASCII)


def parse_duration(text: Duration) -> timedelta:
    """How long ``10s``, ``5m``, ``1.5h`` or ``2d`` is. Raises ValueError for anything else, and for zero."""
    if isinstance(text, timedelta):
        duration = text
    else:
        match = _DURATION.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"expected a duration such as 10s, 5m, 1h or 2d, got {text!r}")
        number, unit = match.groups()
        try:
            duration = timedelta(**{_UNITS[unit]: float(number)})
        except OverflowError:
            raise ValueError(f"expected a duration of at most some years, got {text!r}") from None
    if duration <= timedelta(0):
        raise ValueError(f"expected a duration longer than nothing, got {text!r}")
    return duration


class TaskOptions(TypedDict, total=False):
    """What may be said about a task besides its queue and payload; what is left out has the default shown."""

    name: str
    """``"task"``; for a command the command itself."""
    description: str
    owner: str
    """``"nobody@localhost"``"""
    source: str
    """Where the task comes from, a URL; ``"https://source.invalid/unknown"``."""
    created: datetime
    """Now."""
    deadline: Duration
    """When the task is given up, counted from ``created``; ``"1h"``."""
    expires: Duration
    """When the task is forgotten, counted from ``created``; a year after the deadline."""
    task_group_id: str
    """The task id: a group of its own."""
    scheduler_id: str
    project_id: str
    dependencies: Sequence[str]
    requires: Requires
    """``"all-completed"``, or ``"all-resolved"`` to run after failures as well."""
    routes: Sequence[str]
    """Further routing keys of the task's messages, without the prefix ``route.``"""
    priority: Priority
    retries: int
    scopes: Sequence[str]
    tags: Mapping[str, str]
    extra: Mapping[str, Any]
    run_at: datetime
    """The task does not start before."""
    held: bool
    """Whether it waits for ``schedule_task``."""
    max_attempts: int
    """How often it is tried before a failure that its worker reports with an error is final; 1."""
    retry_policy: RetryPolicy | Mapping[str, Any]
    """How long it waits before each further attempt; 1 s, 16 s, 81 s, … (``docs/attempts.md``)."""
    retention: Retention | Mapping[str, Any]
    """How long it is kept after its end, by how it ended."""


def task_definition(
    payload: Mapping[str, Any], *, queue: str, **options: Unpack[TaskOptions]
) -> CreateTaskRequest:
    """A task for ``Queue.create_task``; ``queue`` is ``<provisionerId>/<workerType>``.

    Raises ValueError (pydantic.ValidationError) that names the wrong members.
    """
    created = options.pop("created", None) or datetime.now(UTC)
    deadline = created + parse_duration(options.pop("deadline", "1h"))
    lifetime = options.pop("expires", None)
    metadata = {
        "name": options.pop("name", "task"),
        "description": options.pop("description", ""),
        "owner": options.pop("owner", DEFAULT_OWNER),
        "source": options.pop("source", DEFAULT_SOURCE),
    }
    times = {"created": created, "deadline": deadline}
    if lifetime is not None:
        times["expires"] = created + parse_duration(lifetime)
    return CreateTaskRequest.model_validate(
        {"task_queue_id": queue, "payload": payload, "metadata": metadata, **times, **options}
    )


def command_task(
    command: Sequence[str] | str,
    *,
    queue: str,
    env: Mapping[str, str] | None = None,
    max_run_time: Duration | None = None,
    artifacts: Mapping[str, str] | None = None,
    **options: Unpack[TaskOptions],
) -> CreateTaskRequest:
    """A task that runs a command on ``taskbus worker``; ``taskbus.shell`` tells what the worker does.

    ``command`` is a program with its arguments, or one string that ``sh -c`` runs. ``max_run_time`` is
    rounded up to whole seconds. ``artifacts`` are the paths of what to keep by artifact names; a path that
    ends with ``/`` is a directory. Raises ValueError as :func:`task_definition` does.
    """
    payload: dict[str, Any] = {"command": command if isinstance(command, str) else list(command)}
    if env:
        payload["env"] = dict(env)
    if max_run_time is not None:
        payload["maxRunTime"] = -(-parse_duration(max_run_time) // timedelta(seconds=1))
    if artifacts:
        payload["artifacts"] = [
            {"name": name, "path": path, "type": "directory" if path.endswith("/") else "file"}
            for name, path in artifacts.items()
        ]
    shown = command if isinstance(command, str) else shlex.join(command)
    options.setdefault("name", shown[:255])
    return task_definition(payload, queue=queue, **options)

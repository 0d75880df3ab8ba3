"""Taskbus for programs: the client of a task queue, workers, and short ways to define tasks.

Create tasks with :class:`Queue` and :func:`command_task` or :func:`task_definition`; work on them with
:class:`Worker`, or attach an :class:`AttachedWorker` that is handed :class:`Work`. Work that is a class with
typed arguments and a function is a job: see :mod:`taskbus.jobs`. :class:`Auth` says who may do what,
:class:`Index` finds tasks by names. To listen to what happens, use the package ``events``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from schemas.ids import slugid
    from taskbus.attached import AttachedTask, AttachedWorker
    from taskbus.attached_connection import AttachedItem
    from taskbus.auth import Auth
    from taskbus.client import Queue
    from taskbus.credentials import Credentials
    from taskbus.errors import (
        ApiError,
        ArtifactError,
        AuthenticationFailed,
        Conflict,
        ConnectionFailed,
        DecodeError,
        EventsMissed,
        Expired,
        InputError,
        InputTooLarge,
        InputValidationError,
        InsufficientScopes,
        InvalidRequestArguments,
        InvalidResponse,
        LeaseExpired,
        MalformedPayload,
        NotFound,
        NoWorker,
        ServerError,
        TaskbusError,
        TaskException,
        TaskFailed,
        WorkerLost,
        WorkFailed,
        WorkNotDone,
        WorkTimeout,
    )
    from taskbus.event_stream import Events, StreamedEvent
    from taskbus.hooks import Hooks
    from taskbus.index import Index
    from taskbus.kv import Kv
    from taskbus.purge_cache import PurgeCache
    from taskbus.runs import ClaimedRun, Handler
    from taskbus.shell import CommandHandler
    from taskbus.streaming import ServerEvent
    from taskbus.tasks import command_task, parse_duration, task_definition
    from taskbus.triggers import Triggers
    from taskbus.work import Work
    from taskbus.worker import Worker

__all__ = [
    "ApiError",
    "ArtifactError",
    "AttachedItem",
    "AttachedTask",
    "AttachedWorker",
    "Auth",
    "AuthenticationFailed",
    "ClaimedRun",
    "CommandHandler",
    "Conflict",
    "ConnectionFailed",
    "Credentials",
    "DecodeError",
    "Events",
    "EventsMissed",
    "Expired",
    "Handler",
    "Hooks",
    "Index",
    "InputError",
    "InputTooLarge",
    "InputValidationError",
    "InsufficientScopes",
    "InvalidRequestArguments",
    "InvalidResponse",
    "Kv",
    "LeaseExpired",
    "MalformedPayload",
    "NoWorker",
    "NotFound",
    "PurgeCache",
    "Queue",
    "ServerError",
    "ServerEvent",
    "StreamedEvent",
    "TaskException",
    "TaskFailed",
    "TaskbusError",
    "Triggers",
    "Work",
    "WorkFailed",
    "WorkNotDone",
    "WorkTimeout",
    "Worker",
    "WorkerLost",
    "command_task",
    "parse_duration",
    "slugid",
    "task_definition",
]

_ELSEWHERE: Final = {
    "AttachedItem": "taskbus.attached_connection",
    "AttachedTask": "taskbus.attached",
    "AttachedWorker": "taskbus.attached",
    "Auth": "taskbus.auth",
    "ClaimedRun": "taskbus.runs",
    "CommandHandler": "taskbus.shell",
    "Credentials": "taskbus.credentials",
    "Events": "taskbus.event_stream",
    "Handler": "taskbus.runs",
    "Hooks": "taskbus.hooks",
    "Index": "taskbus.index",
    "Kv": "taskbus.kv",
    "PurgeCache": "taskbus.purge_cache",
    "Queue": "taskbus.client",
    "ServerEvent": "taskbus.streaming",
    "StreamedEvent": "taskbus.event_stream",
    "Triggers": "taskbus.triggers",
    "Work": "taskbus.work",
    "Worker": "taskbus.worker",
    "command_task": "taskbus.tasks",
    "parse_duration": "taskbus.tasks",
    "slugid": "schemas.ids",
    "task_definition": "taskbus.tasks",
}


def __getattr__(name: str) -> Any:
    # On first use: the HTTP client alone would double the time `taskbus --help` takes.
    if name not in __all__:
        raise AttributeError(f"module 'taskbus' has no attribute {name!r}")
    value = getattr(import_module(_ELSEWHERE.get(name, "taskbus.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

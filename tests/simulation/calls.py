"""Calls as clients make them, and how a server's handlers take them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final, cast

from queue_service.api.endpoint import Answer, Call
from queue_service.core.errors import QueueError
from queue_service.operations.batching import Overloaded
from queue_service.store.database import StoreUnavailable
from schemas.attempts import CancelRunRequest, CompletionReport, FailureReport, SnoozeRequest
from schemas.kv import PutValueRequest
from schemas.queue import (
    ChangeTaskPriorityRequest,
    ClaimWorkRequest,
    CreateTaskRequest,
    TaskClaimRequest,
    TaskExceptionRequest,
)
from schemas.triggers import CreateTriggerRequest
from schemas.worksets import (
    AckRequest,
    AddMembersRequest,
    ExtendRequest,
    NackRequest,
    PopRequest,
    WorksetSettings,
)

NAMESPACE: Final = ("acme", "sim")
TRIGGER_GROUP: Final = "sim"
UNAVAILABLE: Final = "unavailable"


@dataclass(frozen=True, eq=False)
class Request:
    """One attempt at a call. ``method`` is the handler's name; what it does not need is None."""

    method: str
    task_id: str | None = None
    group_id: str | None = None
    queue_id: str | None = None
    run_id: int | None = None
    worker: str | None = None
    wanted: int = 1
    word: str | None = None
    """A priority, or the reason of an exception."""
    definition: dict[str, Any] | None = None
    set_name: str | None = None
    lease_id: str | None = None
    key: str | None = None
    trigger_id: str | None = None
    body: dict[str, Any] = field(default_factory=dict)
    """What the call says besides, as on the wire."""

    def __str__(self) -> str:
        about = (
            self.task_id
            or self.group_id
            or self.queue_id
            or self.lease_id
            or self.set_name
            or self.trigger_id
            or ""
        )[:6]
        known = (self.run_id, self.worker, self.word, self.key, self.body or None)
        parts = (about, *(part for part in known if part is not None))
        return f"{self.method}({', '.join(map(str, parts))})"


@dataclass(frozen=True)
class Reply:
    """``error`` is a code of the wire, or that the service could not do it now."""

    error: str | None
    body: dict[str, Any]


class _Everything:
    """The permit of a client that may do everything."""

    client_id = "simulation"
    scopes = ("*",)
    expires = datetime(2100, 1, 1, tzinfo=UTC)

    def require(self, scopes: Any, parameters: Any) -> None:
        pass


async def answer(
    handlers: Sequence[object], request: Request, gone: Callable[[], Awaitable[object]]
) -> Reply:
    """What the server answers by its handlers. Raises what no client should meet."""
    (handler,) = (getattr(one, request.method) for one in handlers if hasattr(one, request.method))
    try:
        document = await handler(_call(request, gone))
    except QueueError as error:
        return Reply(error.code, {"message": error.message})
    except (StoreUnavailable, Overloaded):
        return Reply(UNAVAILABLE, {})
    body = document.body if isinstance(document, Answer) else document
    return Reply(None, body if isinstance(body, dict) else body.to_wire())


def _call(request: Request, gone: Callable[[], Awaitable[object]]) -> Call[Any]:
    given = {
        "taskId": request.task_id,
        "taskGroupId": request.group_id,
        "taskQueueId": request.queue_id,
        "taskQueues": request.queue_id,
        "runId": None if request.run_id is None else str(request.run_id),
        "tenant": NAMESPACE[0],
        "kvNamespace": NAMESPACE[1],
        "set": request.set_name,
        "leaseId": request.lease_id,
        "key": request.key,
        "triggerGroup": None if request.trigger_id is None else TRIGGER_GROUP,
        "triggerId": request.trigger_id,
    }
    return Call(
        endpoint=cast(Any, SimpleNamespace(scopes=None)),
        params={name: value for name, value in given.items() if value is not None},
        lists={},
        headers={},
        query={"ifVersion": request.word} if request.method == "delete_value" and request.word else {},
        body=_body(request),
        payload={},
        size=100,
        permit=_Everything(),
        signed=cast(Any, None),
        disconnected=gone,
    )


_SHAPES: Final[dict[str, Any]] = {
    "snooze_run": SnoozeRequest,
    "cancel_run": CancelRunRequest,
    "configure_set": WorksetSettings,
    "add_members": AddMembersRequest,
    "pop_members": PopRequest,
    "ack": AckRequest,
    "nack": NackRequest,
    "extend": ExtendRequest,
    "put_value": PutValueRequest,
    "create_trigger": CreateTriggerRequest,
}


def _body(request: Request) -> Any:
    worker_group, _, worker_id = (request.worker or "").partition("/")
    worker = {"workerGroup": worker_group, "workerId": worker_id}
    match request.method:
        case "create_task":
            return CreateTaskRequest.model_validate(request.definition)
        case "claim_work":
            return ClaimWorkRequest.model_validate({**worker, "tasks": request.wanted})
        case "claim_task":
            return TaskClaimRequest.model_validate(worker)
        case "report_completed":
            return CompletionReport()
        case "report_failed":
            return FailureReport.model_validate(request.body)
        case (
            "snooze_run" | "cancel_run" | "add_members" | "pop_members" | "ack" | "nack" | "extend" as method
        ):
            return _SHAPES[method].model_validate(request.body)
        case "configure_set" | "put_value" | "create_trigger" as method:
            return _SHAPES[method].model_validate(request.body)
        case "report_exception":
            return TaskExceptionRequest.model_validate({"reason": request.word})
        case "change_task_priority" | "change_task_group_priority":
            return ChangeTaskPriorityRequest.model_validate({"newPriority": request.word})
    return None

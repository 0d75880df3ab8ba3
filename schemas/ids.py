"""Identifiers: one annotated string per kind, with the exact pattern the wire allows.

Patterns: ``queue-schemas.json``. URL parameters use :data:`PARAMETER_PATTERNS`, which are a little
wider for ``workerType`` (``queue-behaviour.md`` 1.1). All patterns are meant for ``fullmatch``.
"""

from typing import Annotated, Final

import slugid as _slugid
from pydantic import Field, StringConstraints

SLUGID_PATTERN: Final = r"[A-Za-z0-9_-]{8}[Q-T][A-Za-z0-9_-][CGKOSWaeimquy26-][A-Za-z0-9_-]{10}[AQgw]"
GENERIC_ID_PATTERN: Final = r"[a-zA-Z0-9_-]{1,38}"
WORKER_TYPE_PATTERN: Final = r"[a-z]([-a-z0-9]{0,36}[a-z0-9])?"
TASK_QUEUE_ID_PATTERN: Final = GENERIC_ID_PATTERN + "/" + WORKER_TYPE_PATTERN
PROJECT_ID_PATTERN: Final = r"[a-zA-Z0-9._/-]{1,500}"
PRINTABLE_PATTERN: Final = r"[ -~]*"
CLIENT_ID_PATTERN: Final = r"[A-Za-z0-9!@/:.+|_-]{1,500}"
ROLE_ID_PATTERN: Final = r"[ -~]{1,500}"
INDEX_PATH_PATTERN: Final = r"(?!.{256})[a-zA-Z0-9_!~*'()%-]+(?:\.[a-zA-Z0-9_!~*'()%-]+)*"
TENANT_PATTERN: Final = r"[a-z0-9][a-z0-9-]{0,37}"
KV_NAMESPACE_PATTERN: Final = r"(?!.{201})[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*"
KEY_PATTERN: Final = r"[^\x00-\x1f\x7f-\x9f]{1,512}"
SET_PATTERN: Final = r"[A-Za-z0-9._-]{1,100}(?:\.dead)?"
HOOK_GROUP_ID_PATTERN: Final = r"[A-Za-z0-9_-]{1,1000}"
HOOK_ID_PATTERN: Final = r"[A-Za-z0-9_/-]{1,1000}"
TRIGGER_ID_PATTERN: Final = r"[A-Za-z0-9_-]{1,100}"
ACCESS_TOKEN_PATTERN: Final = r"[A-Za-z0-9_-]{22,66}"


def slugid() -> str:
    """A fresh 22-character id that never starts with a dash (a version 4 UUID)."""
    made = _slugid.nice()
    return made.decode() if isinstance(made, bytes) else str(made)


def _whole(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=f"^(?:{pattern})$", strict=True)


Slugid = Annotated[str, _whole(SLUGID_PATTERN)]
TaskId = Annotated[str, _whole(SLUGID_PATTERN), Field(description="22-character slugid of the task")]
TaskGroupId = Annotated[str, _whole(SLUGID_PATTERN), Field(description="22-character slugid of the group")]
ProvisionerId = Annotated[str, _whole(GENERIC_ID_PATTERN)]
WorkerType = Annotated[str, _whole(WORKER_TYPE_PATTERN)]
TaskQueueId = Annotated[
    str, _whole(TASK_QUEUE_ID_PATTERN), Field(description="<provisionerId>/<workerType>, where workers claim")
]
WorkerGroup = Annotated[str, _whole(GENERIC_ID_PATTERN)]
WorkerId = Annotated[str, _whole(GENERIC_ID_PATTERN)]
SchedulerId = Annotated[str, _whole(GENERIC_ID_PATTERN)]
ProjectId = Annotated[str, _whole(PROJECT_ID_PATTERN)]
Scope = Annotated[str, _whole(PRINTABLE_PATTERN)]
ClientId = Annotated[str, _whole(CLIENT_ID_PATTERN)]
RoleId = Annotated[str, _whole(ROLE_ID_PATTERN)]

PARAMETER_PATTERNS: Final[dict[str, str]] = {
    "taskId": SLUGID_PATTERN,
    "taskGroupId": SLUGID_PATTERN,
    "taskQueueId": TASK_QUEUE_ID_PATTERN,
    "taskQueues": rf"\*|{TASK_QUEUE_ID_PATTERN}",
    "provisionerId": GENERIC_ID_PATTERN,
    "workerType": GENERIC_ID_PATTERN,
    "workerGroup": GENERIC_ID_PATTERN,
    "workerId": GENERIC_ID_PATTERN,
    "runId": r"[0-9]+",
    "name": r"[\x20-\x7e]+",
    "clientId": CLIENT_ID_PATTERN,
    "roleId": ROLE_ID_PATTERN,
    "indexPath": INDEX_PATH_PATTERN,
    "namespace": INDEX_PATH_PATTERN,
    "hookGroupId": HOOK_GROUP_ID_PATTERN,
    "hookId": HOOK_ID_PATTERN,
    "triggerGroup": TRIGGER_ID_PATTERN,
    "triggerId": TRIGGER_ID_PATTERN,
    "token": PRINTABLE_PATTERN,
    "workerPoolId": TASK_QUEUE_ID_PATTERN,
    "tenant": TENANT_PATTERN,
    "kvNamespace": KV_NAMESPACE_PATTERN,
    "key": KEY_PATTERN,
    "set": SET_PATTERN,
    "leaseId": SLUGID_PATTERN,
    "jobId": SLUGID_PATTERN,
    "jobType": r"[A-Za-z][A-Za-z0-9_.-]{0,62}[A-Za-z0-9]",
    "step": r"[\x20-\x7e]{1,64}",
}
"""What a URL parameter must match as a whole, by its name."""

QUERY_PATTERNS: Final[dict[str, str]] = {
    "continuationToken": r"[\s\S]+",
    "limit": r"[0-9]+",
    "wait": r"0|[1-9]|[1-5][0-9]|60",
    "quarantined": r"true|false",
    "prefix": r"[^\x00-\x1f\x7f-\x9f]*",
    "pageSize": r"[0-9]+",
    "values": r"true|false",
    "valueFormat": r"json|raw-string",
    "ifVersion": r"[0-9]+",
    "since": r"[0-9TtZz:.+ -]+",
    "exchange": r"[ -~]{1,255}",
    "routingKey": r"[^\x00-\x1f\x7f-\x9f]{0,255}",
    "lastEventId": r"[ -~]{0,64}",
    "types": r"[a-z]+(?:,[a-z]+)*",
    "type": r"[A-Za-z][A-Za-z0-9_.-]{0,62}[A-Za-z0-9]",
    "state": r"PENDING|RUNNING|DONE|ERROR|CANCELLED",
    "envId": r"[A-Za-z0-9_.:-]{1,64}",
    "tag": r"[^=]+=[\s\S]*",
    "createdAfter": r"[0-9TtZz:.+ -]+",
    "version": r"[0-9]+",
}
"""What a query-string value must match as a whole, by its key."""

"""Example bodies of the calls that control task queues, for the API documentation."""

from typing import Any, Final

_QUEUE: Final = "proj-taskbus/b-linux"
_PAUSED: Final = "2024-05-01T12:00:00.000Z"
_LIMITS: Final[dict[str, Any]] = {
    "concurrency": {"limit": 2, "key": "{customer}"},
    "rate": {"count": 100, "per": 60},
    "fairShare": 0.1,
}

REQUESTS: Final[dict[str, dict[str, Any]]] = {"task-queue-limits": {"example": _LIMITS}}
"""By schema and label."""

RESPONSES: Final[dict[str, dict[str, Any]]] = {
    "task-queue-states-response": {"example": {"taskQueues": [{"taskQueueId": _QUEUE, "pausedAt": _PAUSED}]}},
    "task-queue-limits": {"example": _LIMITS},
    "task-queue-load-response": {
        "example": {
            "taskQueueId": _QUEUE,
            "pending": 12,
            "delayed": 3,
            "running": 2,
            "pausedAt": _PAUSED,
            "limits": _LIMITS,
        },
    },
}

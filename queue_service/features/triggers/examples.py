"""Example bodies of the API documentation: a nightly report over a gapless window."""

from typing import Any, Final

_TASK_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
_WINDOW: Final = {"from": "2024-04-30T22:00:00.000Z", "to": "2024-05-01T22:00:00.000Z"}
_DEFINITION: Final[dict[str, Any]] = {
    "description": "A report of each day, none left out.",
    "cron": {
        "cron": ["0 3 * * *"],
        "timezone": "Europe/Berlin",
        "immediate": False,
        "window": {
            "size": 86400,
            "offset": 0,
            "start": {"startTime": "2024-04-30T22:00:00.000Z"},
            "catchUp": 7,
        },
    },
    "misfire": "one",
    "overlap": "allow",
    "retry": {"timeout": 30, "retries": 2},
    "payloadSchema": {"type": "object", "additionalProperties": False},
    "task": {
        "taskQueueId": "reports/daily",
        "payload": {"from": "${window.from}", "to": "${window.to}"},
        "metadata": {
            "name": "daily report",
            "description": "",
            "owner": "reports@example.com",
            "source": "https://example.com/reports",
        },
    },
}
_TRIGGER: Final = {
    "group": "reports",
    "id": "nightly",
    "state": "active",
    "created": "2024-05-01T12:00:00.000Z",
    "nextTick": "2024-05-02T01:00:00.000Z",
    "fires": 1,
    "watermark": {
        "name": "watermark/reports/nightly",
        "time": "2024-04-30T22:00:00.000Z",
        "openRanges": 1,
    },
    **_DEFINITION,
}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "create-trigger-request": {"nightly report": _DEFINITION},
    "trigger-definition": {"nightly report": _TRIGGER},
    "list-triggers-response": {"one trigger": {"triggers": [_TRIGGER]}},
    "fire-trigger-request": {"a branch": {"payload": {"branch": "main"}}, "nothing": {}},
    "fire-trigger-response": {"a task": {"fireId": 12, "taskId": _TASK_ID}, "declined": {}},
    "list-trigger-fires-response": {
        "one firing": {
            "fires": [
                {
                    "fireId": 12,
                    "firedBy": "cron",
                    "time": "2024-05-02T01:00:00.012Z",
                    "scheduledFor": "2024-05-02T01:00:00.000Z",
                    "window": _WINDOW,
                    "outcome": "created",
                    "taskId": _TASK_ID,
                    "taskState": "completed",
                }
            ]
        }
    },
    "delete-trigger-response": {"deleted": {"deleted": True}},
}

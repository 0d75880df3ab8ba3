"""Example bodies of the API documentation: a nightly build."""

from typing import Any, Final

_TASK_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
_NOW: Final = "2024-05-01T03:00:00.000Z"
_DEFINITION: Final = {
    "metadata": {
        "name": "Nightly",
        "description": "Builds what was pushed during the day.",
        "owner": "releng@example.com",
        "emailOnError": True,
    },
    "task": {
        "taskQueueId": "taskbus-ci/b-linux-medium",
        "deadline": {"$fromNow": "4 hours"},
        "payload": {"command": ["make", "nightly"], "env": {"FIRED_BY": "${firedBy}"}},
        "metadata": {
            "name": "nightly",
            "description": "The nightly build.",
            "owner": "releng@example.com",
            "source": "https://example.com/nightly",
        },
    },
    "bindings": [
        {
            "exchange": "exchange/taskcluster-queue/v1/task-completed",
            "routingKeyPattern": "route.index.project.taskbus.main.#",
        }
    ],
    "schedule": ["0 3 * * *"],
    "triggerSchema": {"type": "object"},
}
_HOOK: Final = {"hookGroupId": "project-releng", "hookId": "nightly", **_DEFINITION}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "create-hook-request": {"nightly": _DEFINITION},
    "hook-definition": {"nightly": _HOOK},
    "list-hook-groups-response": {"two groups": {"groups": ["project-docs", "project-releng"]}},
    "list-hooks-response": {"one hook": {"hooks": [_HOOK]}},
    "hook-status": {
        "fired": {
            "lastFire": {"result": "success", "taskId": _TASK_ID, "time": _NOW},
            "nextScheduledDate": "2024-05-02T03:00:00.000Z",
        },
        "never fired": {"lastFire": {"result": "no-fire"}},
    },
    "trigger-hook": {"a branch": {"branch": "main"}},
    "trigger-hook-response": {
        "a task": {"taskId": _TASK_ID, "status": {"taskId": _TASK_ID}},
        "declined": {},
    },
    "trigger-token-response": {"a secret": {"token": "a-22-character-secret-"}},
    "list-lastFires-response": {
        "one firing": {
            "lastFires": [
                {
                    "hookGroupId": "project-releng",
                    "hookId": "nightly",
                    "firedBy": "schedule",
                    "taskId": _TASK_ID,
                    "taskCreateTime": _NOW,
                    "result": "success",
                    "error": "",
                    "taskState": "completed",
                }
            ]
        }
    },
}

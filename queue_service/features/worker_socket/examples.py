"""Example bodies of the API documentation: tags of cloud resources that attached workers update."""

from typing import Any, Final

from queue_service.api.examples import RESPONSES

_TASK_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
_STATUS: Final = next(iter(RESPONSES["task-status-response"].values()))["status"]

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "create-work-request": {
        "tag a resource": {
            "name": "tag",
            "attrs": {"cloud": "aws", "account": "123456789012"},
            "data": {"update": {"owner": "releng"}},
            "timeout": 30,
            "retries": 2,
        }
    },
    "work-response": {"created": {"status": _STATUS}, "done": {"status": _STATUS, "output": {"tagged": 1}}},
    "held-work": {
        "no worker yet": {
            "items": [
                {
                    "taskId": _TASK_ID,
                    "name": "tag",
                    "attrs": {"cloud": "aws"},
                    "heldUntil": "2024-05-01T12:00:30.000Z",
                }
            ]
        }
    },
    "attached-workers": {
        "one worker": {
            "workers": [
                {
                    "workerGroup": "KhFN1SbArXTPSVFNUvaOlQ",
                    "workerId": "bArXTPSVFNUvaOlinQfN1A",
                    "protocol": "work.v2",
                    "capacity": 10,
                    "inFlight": 3,
                    "draining": False,
                    "attached": "2024-05-01T11:00:00.000Z",
                    "tasks": [{"name": "tag", "filter": {"cloud": ["aws", "gcp"]}}],
                }
            ]
        }
    },
}

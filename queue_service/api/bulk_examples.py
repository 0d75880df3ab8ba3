"""Example bodies of the calls that do many things at once, for the API documentation."""

from typing import Any, Final

Examples = dict[str, dict[str, Any]]

_FIRST: Final = "fN1SbArXTPSVFNUvaOlinQ"
_SECOND: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
_EXISTING: Final = "dSlITZ4yQgmvxxAi4A8fHQ"
_WORKER: Final = {"workerGroup": "eu-central-1", "workerId": "i-0f3a2b1c4d5e6f708"}


def _invoice(customer: int) -> dict[str, Any]:
    return {
        "taskQueueId": "billing/mail",
        "created": "2024-05-01T12:00:00.000Z",
        "deadline": "2024-05-02T12:00:00.000Z",
        "payload": {"kind": "send-invoice", "args": {"customer": customer}},
        "metadata": {
            "name": "send-invoice",
            "description": "Send the invoice of April",
            "owner": "ann@example.com",
            "source": "https://example.com/billing",
        },
    }


_TASKS: Final = [{"taskId": _FIRST, "task": _invoice(7)}, {"taskId": _SECOND, "task": _invoice(8)}]

REQUESTS: Final[Examples] = {
    "create-tasks-request": {
        "two tasks": {"tasks": _TASKS},
        "new tasks only": {"tasks": _TASKS, "mode": "fast"},
    },
    "claim-bulk-request": {
        "what there is": {**_WORKER, "tasks": 500},
        "wait for the first": {**_WORKER, "tasks": 500, "wait": 10},
    },
    "search-tasks-request": {
        "failures, the newest first": {
            "states": ["failed", "exception"],
            "taskQueueIds": ["billing/mail"],
            "order": "time",
            "descending": True,
        },
        "by tags and metadata": {
            "tagsAll": {"kind": "build"},
            "metadata": {"owner": "ann@example.com"},
            "created": {"from": "2024-05-01T00:00:00.000Z"},
        },
    },
    "delete-tasks-request": {
        "what is done": {"states": ["completed"], "taskQueueIds": ["billing/mail"]},
        "everything": {"all": True},
    },
    "report-runs-request": {
        "three ends": {
            "reports": [
                {"taskId": _FIRST, "runId": 0, "outcome": "completed"},
                {"taskId": _SECOND, "runId": 1, "outcome": "failed", "error": "the printer is on fire"},
                {"taskId": _EXISTING, "runId": 0, "outcome": "exception", "reason": "worker-shutdown"},
            ]
        }
    },
}
"""Bodies that clients send, by schema and label."""

RESPONSES: Final[Examples] = {
    "create-tasks-response": {
        "each": {
            "tasks": [
                {"taskId": _FIRST, "created": True},
                {"taskId": _EXISTING, "uniqueSkippedAsDuplicate": True},
            ]
        },
        "fast": {"count": 2},
    },
    "search-tasks-response": {"nothing on this page": {"tasks": [], "continuationToken": "Zk4x"}},
    "delete-tasks-response": {"done": {"deleted": 214, "skipped": 2}},
    "report-runs-response": {
        "one refused": {
            "reports": [
                {"taskId": _FIRST, "runId": 0, "state": "completed"},
                {
                    "taskId": _SECOND,
                    "runId": 1,
                    "error": {"code": "RequestConflict", "message": "Run 1 is completed, not running."},
                },
            ]
        }
    },
}
"""Bodies that the service answers, by schema and label."""

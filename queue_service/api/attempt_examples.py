"""Example bodies of the calls about attempts, for the API documentation."""

from typing import Any, Final

Examples = dict[str, dict[str, Any]]

_ERROR: Final = {"error": "the server answered 503", "trace": "Traceback (most recent call last): …"}

REQUESTS: Final[Examples] = {
    "completion-report": {
        "an output": {"output": {"rows": 1250}},
        "an old worker's failure": {"success": False},
    },
    "failure-report": {
        "to be tried again": _ERROR,
        "at a time": {"error": "the quota is used up", "retryAt": "2024-05-01T13:00:00.000Z"},
        "final": {"error": "there is no such customer", "retry": False},
    },
    "snooze-request": {"ten minutes": {"delay": 600}, "at once": {"delay": 0}},
    "cancel-run-request": {"a reason": {"error": "the customer has left"}, "nothing to say": {}},
}
"""Bodies that clients send, by schema and label."""

RESPONSES: Final[Examples] = {
    "attempts-response": {
        "delayed": {
            "taskId": "fN1SbArXTPSVFNUvaOlinQ",
            "attempt": 1,
            "maxAttempts": 5,
            "snoozes": 0,
            "availableAt": "2024-05-01T12:00:01.000Z",
            "errors": [{"at": "2024-05-01T12:00:00.000Z", "attempt": 1, "runId": 0, **_ERROR}],
            "workedBy": ["eu-central-1/i-0f3a2b1c4d5e6f708"],
        },
        "completed": {
            "taskId": "fN1SbArXTPSVFNUvaOlinQ",
            "attempt": 1,
            "maxAttempts": 1,
            "snoozes": 3,
            "errors": [],
            "output": {"rows": 1250},
            "workedBy": ["eu-central-1/i-0f3a2b1c4d5e6f708"],
        },
    }
}
"""Bodies that the service answers, by schema and label."""

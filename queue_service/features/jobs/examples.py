"""Example bodies of the API documentation: a file that is extracted, transformed and loaded."""

from typing import Any, Final

_JOB_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
_AT: Final = "2024-05-01T12:00:00.000Z"
_DEFINITION: Final = {
    "description": "Loads a CSV file into a table.",
    "paramsSchema": {
        "type": "object",
        "properties": {"fileId": {"type": "string"}, "envId": {"type": "string"}},
        "required": ["fileId"],
    },
    "steps": [{"name": "Extract"}, {"name": "Transform"}, {"name": "Load"}],
    "taskQueueId": "jobs/etl",
    "defaults": {"maxAttempts": 3, "timeout": 600},
    "resumable": True,
}
_STORED: Final = {**_DEFINITION, "stepOrder": "sequential", "secretParams": [], "aliases": []}
_TYPE: Final = {
    "type": "FILE_ETL",
    "version": 2,
    "registered": _AT,
    "liveWorkers": 3,
    "definition": {
        **_STORED,
        "steps": [{"name": name, "always": False} for name in ("Extract", "Transform", "Load")],
    },
}
_STEPS: Final = [
    {"name": "Extract", "state": "DONE", "started": _AT, "finished": "2024-05-01T12:00:07.500Z"},
    {"name": "Transform", "state": "RUNNING", "started": "2024-05-01T12:00:07.510Z", "percent": 40.0},
    {"name": "Load", "state": "PENDING"},
]
_JOB: Final = {
    "jobId": _JOB_ID,
    "type": "FILE_ETL",
    "typeVersion": 2,
    "state": "RUNNING",
    "params": {"fileId": "orders.csv", "envId": "prod"},
    "envId": "prod",
    "priority": "lowest",
    "attempt": 1,
    "maxAttempts": 3,
    "created": "2024-05-01T11:59:59.000Z",
    "started": _AT,
    "progress": {"percent": 46.0, "at": "2024-05-01T12:00:07.510Z"},
    "steps": _STEPS,
    "errors": [],
    "links": {"task": f"/api/queue/v1/task/{_JOB_ID}", "stream": f"/api/jobs/{_JOB_ID}/stream"},
}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "job-type-definition": {"three steps": _DEFINITION},
    "job-type-response": {"registered": _TYPE},
    "job-types-response": {"one type": {"types": [_TYPE]}},
    "job-catalogue-response": {
        "one type": {"types": [{"type": "FILE_ETL", "definition": _TYPE["definition"]}]}
    },
    "submit-job-request": {
        "load a file": {
            "type": "FILE_ETL",
            "params": {"fileId": "orders.csv"},
            "envId": "prod",
            "jobId": _JOB_ID,
        }
    },
    "job-response": {"running": _JOB},
    "jobs-response": {"one job": {"jobs": [{name: _JOB[name] for name in _JOB if name != "errors"}]}},
    "cancel-job-request": {"let it finish": {"mode": "graceful", "reason": "wrong file"}},
    "step-report": {"begun": {"state": "RUNNING", "message": "reading orders.csv"}},
    "progress-report": {"a step": {"step": "Transform", "current": 400, "total": 1000}},
    "log-report": {"a line": {"message": "17 rows have no price", "level": "warning"}},
    "output-report": {"so far": {"output": {"rows": 400}}},
    "job-report-response": {"running": {"state": "RUNNING", "steps": _STEPS}},
    "job-run-response": {
        "second run": {
            "jobId": _JOB_ID,
            "runId": 1,
            "type": "FILE_ETL",
            "typeVersion": 2,
            "state": "RUNNING",
            "params": {"fileId": "orders.csv", "envId": "prod"},
            "steps": _STEPS,
            "completedSteps": ["Extract"],
            "cursor": {"row": 400},
        }
    },
}

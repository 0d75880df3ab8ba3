"""Example bodies of the API documentation: one build task on its way from createTask to the index.

By name of the schema; a schema whose body has several shapes has several examples, each with a label. Times
are those of a day in 2024: who tries ``createTask`` sets ``created`` to now.
"""

from typing import Any, Final

from queue_service.api import attempt_examples, bulk_examples, control_examples

Examples = dict[str, dict[str, Any]]

_TASK_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
_IMAGE: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
_GROUP: Final = "dSlITZ4yQgmvxxAi4A8fHQ"
_UPLOAD: Final = "GsHzlN4dQZmzrqmiGSBQ3A"
_REVISION: Final = "5f0c2d6ae0f14a53b1a1e6a9bd0e9f1c2f3a4b5c"
_NOW: Final = "2024-05-01T12:00:00.000Z"
_UNTIL: Final = "2024-05-01T12:20:00.000Z"
_DEADLINE: Final = "2024-05-02T12:00:00.000Z"
_EXPIRES: Final = "2025-05-02T12:00:00.000Z"
_QUEUE: Final = {
    "provisionerId": "proj-taskbus",
    "workerType": "b-linux",
    "taskQueueId": "proj-taskbus/b-linux",
}
_WORKER: Final = {"workerGroup": "eu-central-1", "workerId": "i-0f3a2b1c4d5e6f708"}
_SCOPES: Final = ["docker-worker:cache:taskbus-level-3-pip"]

_DEFINITION: Final[dict[str, Any]] = {
    **_QUEUE,
    "schedulerId": "taskbus-level-3",
    "projectId": "taskbus",
    "taskGroupId": _GROUP,
    "dependencies": [_IMAGE],
    "requires": "all-completed",
    "routes": ["index.taskbus.v2.main.latest.wheel", f"index.taskbus.v2.main.revision.{_REVISION}.wheel"],
    "priority": "medium",
    "retries": 5,
    "created": _NOW,
    "deadline": _DEADLINE,
    "expires": _EXPIRES,
    "scopes": _SCOPES,
    "payload": {
        "image": {"type": "task-image", "taskId": _IMAGE, "path": "public/image.tar.zst"},
        "command": ["/bin/bash", "-c", "python -m build --wheel --outdir /builds/artifacts"],
        "env": {"PYTHONHASHSEED": "0"},
        "maxRunTime": 3600,
        "artifacts": {"public/build": {"type": "directory", "path": "/builds/artifacts"}},
    },
    "metadata": {
        "name": "build-wheel-linux64/opt",
        "description": "Build the wheel that the tests install",
        "owner": "ann@example.com",
        "source": f"https://example.com/taskbus/taskbus/file/{_REVISION}/ci/build",
    },
    "tags": {"kind": "build", "label": "build-wheel-linux64/opt", "os": "linux"},
    "extra": {"index": {"rank": 1714564800, "data": {"revision": _REVISION}}},
}
_SMALLEST: Final[dict[str, Any]] = {
    "taskQueueId": "proj-taskbus/b-linux",
    "created": _NOW,
    "deadline": _DEADLINE,
    "payload": {"command": ["make", "check"]},
    "metadata": {
        "name": "check",
        "description": "Format, lint, types and tests",
        "owner": "ann@example.com",
        "source": "https://example.com/taskbus/taskbus",
    },
}
_RUNNING: Final = {
    "runId": 0,
    "state": "running",
    "reasonCreated": "scheduled",
    **_WORKER,
    "takenUntil": _UNTIL,
    "scheduled": _NOW,
    "started": _NOW,
}
_STATUS: Final[dict[str, Any]] = {
    "taskId": _TASK_ID,
    **_QUEUE,
    "schedulerId": "taskbus-level-3",
    "projectId": "taskbus",
    "taskGroupId": _GROUP,
    "priority": "medium",
    "deadline": _DEADLINE,
    "expires": _EXPIRES,
    "retriesLeft": 5,
    "state": "running",
    "runs": [_RUNNING],
}
_CREDENTIALS: Final = {
    "clientId": f"task-client/{_TASK_ID}/0/on/eu-central-1/i-0f3a2b1c4d5e6f708/until/1714566000.000",
    "accessToken": "an-example-of-a-temporary-token",
    "certificate": '{"version":1,"scopes":[],"start":1714564800000,"expiry":1714566000000,"signature":"…"}',
}
_RECLAIM: Final = {
    "status": _STATUS,
    "runId": 0,
    **_WORKER,
    "takenUntil": _UNTIL,
    "credentials": _CREDENTIALS,
}
_CLAIM: Final = {**_RECLAIM, "task": _DEFINITION}
_MEMBER: Final = {"status": _STATUS, "task": _DEFINITION}
_TASK_GROUP: Final = {"taskGroupId": _GROUP, "schedulerId": "taskbus-level-3", "expires": _EXPIRES}
_ARTIFACT: Final = {
    "storageType": "s3",
    "name": "public/build/taskbus-0.1.0-py3-none-any.whl",
    "expires": _EXPIRES,
    "contentType": "application/zip",
}
_URL: Final = "https://taskbus.example.com/blobs/public/6Jt0mQ3SQ0yQz4s1dVtHqA"
_SHA256: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_CLIENT: Final[dict[str, Any]] = {
    "clientId": "project/taskbus/ci",
    "expires": "2030-01-01T00:00:00.000Z",
    "description": "Creates the tasks of Taskbus's own CI",
    "created": _NOW,
    "lastModified": _NOW,
    "lastDateUsed": _NOW,
    "lastRotated": _NOW,
    "scopes": ["assume:project:taskbus:ci"],
    "expandedScopes": ["assume:project:taskbus:ci", "queue:create-task:medium:proj-taskbus/*"],
    "disabled": False,
    "deleteOnExpiration": False,
}
_ROLE: Final[dict[str, Any]] = {
    "roleId": "project:taskbus:ci",
    "scopes": ["queue:create-task:medium:proj-taskbus/*"],
    "description": "What the CI of Taskbus may do",
    "created": _NOW,
    "lastModified": _NOW,
    "expandedScopes": ["queue:create-task:medium:proj-taskbus/*"],
}
_SEEN: Final = {
    "expires": "2024-05-06T12:00:00.000Z",
    "lastDateActive": _NOW,
    "description": "",
    "stability": "experimental",
}
_RUN: Final = {"taskId": _TASK_ID, "runId": 0}
_COUNTS: Final = {**_QUEUE, "pendingTasks": 12}
_INDEXED: Final = {
    "namespace": "taskbus.v2.main.latest.wheel",
    "taskId": _TASK_ID,
    "rank": 1714564800,
    "data": {"revision": _REVISION},
    "expires": _EXPIRES,
}
_PURGE: Final = {"workerPoolId": "proj-taskbus/b-linux", "cacheName": "taskbus-level-3-pip", "before": _NOW}


def _one(example: Any) -> dict[str, Any]:
    return {"example": example}


REQUESTS: Final[Examples] = {
    "create-task-request": {"a build of a graph": _DEFINITION, "the smallest task": _SMALLEST},
    "tasks-request": _one({"taskIds": [_TASK_ID, _IMAGE]}),
    "change-task-priority-request": _one({"newPriority": "high"}),
    "claim-work-request": _one({**_WORKER, "tasks": 4}),
    "task-claim-request": _one(_WORKER),
    "task-exception-request": _one({"reason": "worker-shutdown"}),
    "post-artifact-request": {
        "bytes to upload": {
            "storageType": "s3",
            "expires": _EXPIRES,
            "contentType": "application/zip",
            "contentLength": 183042,
        },
        "an object": {"storageType": "object", "expires": _EXPIRES, "contentType": "application/zip"},
        "a log that is still written": {
            "storageType": "reference",
            "expires": _EXPIRES,
            "contentType": "text/plain; charset=utf-8",
            "url": "https://i-0f3a2b1c4d5e6f708.example.com:60098/log/NyVA4lvUR8mCBtcVwZ7qfg",
        },
        "another name of an artifact": {
            "storageType": "link",
            "expires": _EXPIRES,
            "contentType": "text/plain; charset=utf-8",
            "artifact": "public/logs/live_backing.log",
        },
        "why there is none": {
            "storageType": "error",
            "expires": _EXPIRES,
            "reason": "file-missing-on-worker",
            "message": "The task wrote no file /builds/artifacts/taskbus.whl.",
        },
    },
    "finish-artifact-request": _one({"uploadId": _UPLOAD}),
    "quarantine-worker-request": _one(
        {"quarantineUntil": "2024-06-01T00:00:00.000Z", "quarantineInfo": "its disk is full"}
    ),
    "update-worker-request": _one({"expires": "2024-05-06T12:00:00.000Z"}),
    "expand-scopes-request": _one({"scopes": ["assume:project:taskbus:ci"]}),
    "create-client-request": _one(
        {
            "expires": "2030-01-01T00:00:00.000Z",
            "description": "Creates the tasks of Taskbus's own CI",
            "scopes": ["assume:project:taskbus:ci"],
            "deleteOnExpiration": False,
        }
    ),
    "create-role-request": _one(
        {
            "scopes": ["queue:create-task:medium:proj-taskbus/*"],
            "description": "What the CI of Taskbus may do",
        }
    ),
    "authenticate-hawk-request": _one(
        {
            "method": "get",
            "resource": f"/api/queue/v1/task/{_TASK_ID}",
            "host": "taskbus.example.com",
            "port": 443,
            "authorization": 'Hawk id="project/taskbus/ci", ts="1714564800", nonce="j4h3g2", mac="…"',
        }
    ),
    "test-authenticate-request": _one({"clientScopes": ["test:*"], "requiredScopes": ["test:scope"]}),
    "create-upload-request": _one(
        {
            "projectId": "taskbus",
            "uploadId": _UPLOAD,
            "expires": _EXPIRES,
            "hashes": {"sha256": _SHA256},
            "proposedUploadMethods": {"putUrl": {"contentType": "application/zip", "contentLength": 183042}},
        }
    ),
    "finish-upload-request": _one(
        {"projectId": "taskbus", "uploadId": _UPLOAD, "hashes": {"sha256": _SHA256}}
    ),
    "download-object-request": _one({"acceptDownloadMethods": {"getUrl": True, "simple": True}}),
    "list-tasks-at-index": _one({"indexes": ["taskbus.v2.main.latest.wheel", "taskbus.v2.main.latest.docs"]}),
    "insert-task-request": _one({key: _INDEXED[key] for key in ("taskId", "rank", "data", "expires")}),
    "purge-cache-request": _one({"cacheName": "taskbus-level-3-pip"}),
    **attempt_examples.REQUESTS,
    **bulk_examples.REQUESTS,
    **control_examples.REQUESTS,
}
"""Bodies that clients send, by schema and label."""

RESPONSES: Final[Examples] = {
    "task": _one(_DEFINITION),
    "task-status-response": _one({"status": _STATUS}),
    "tasks-response": _one({"tasks": [{"taskId": _TASK_ID, "task": _DEFINITION}]}),
    "tasks-statuses-response": _one({"statuses": [{"taskId": _TASK_ID, "status": _STATUS}]}),
    "list-dependent-tasks-response": _one({"taskId": _IMAGE, "tasks": [_MEMBER]}),
    "task-group-response": _one(_TASK_GROUP),
    "list-task-group-response": _one({**_TASK_GROUP, "tasks": [_MEMBER], "continuationToken": "Zk4x"}),
    "cancel-task-group-response": _one(
        {"taskGroupId": _GROUP, "taskGroupSize": 2, "cancelledCount": 1, "taskIds": [_TASK_ID]}
    ),
    "task-group-priority-change-response": _one(
        {
            "taskGroupId": _GROUP,
            "schedulerId": "taskbus-level-3",
            "newPriority": "high",
            "tasksAffected": 1,
            "taskIds": [_TASK_ID],
        }
    ),
    "claim-work-response": {"a claim": {"tasks": [_CLAIM]}, "no work": {"tasks": []}},
    "task-claim-response": _one(_CLAIM),
    "task-reclaim-response": _one(_RECLAIM),
    "post-artifact-response": {
        "where to put the bytes": {
            "storageType": "s3",
            "putUrl": f"{_URL}?signature=q1w2e3",
            "expires": "2024-05-01T12:45:00.000Z",
            "contentType": "application/zip",
        },
        "nothing to upload": {"storageType": "link"},
    },
    "get-artifact-response": _one({"storageType": "s3", "url": _URL}),
    "artifact-response": _one(_ARTIFACT),
    "list-artifacts-response": _one({"artifacts": [_ARTIFACT]}),
    "artifact-content-response": {
        "bytes": {"storageType": "s3", "url": _URL},
        "why there are none": {
            "storageType": "error",
            "reason": "file-missing-on-worker",
            "message": "The task wrote no file /builds/artifacts/taskbus.whl.",
        },
    },
    "provisioner-response": _one({"provisionerId": "proj-taskbus", **_SEEN}),
    "list-provisioners-response": _one({"provisioners": [{"provisionerId": "proj-taskbus", **_SEEN}]}),
    "taskqueue-response": _one({"taskQueueId": _QUEUE["taskQueueId"], **_SEEN}),
    "list-taskqueues-response": _one({"taskQueues": [{"taskQueueId": _QUEUE["taskQueueId"], **_SEEN}]}),
    "workertype-response": _one({**_QUEUE, **_SEEN}),
    "list-workertypes-response": _one({"workerTypes": [{**_QUEUE, **_SEEN}]}),
    "worker-response": _one(
        {
            **_QUEUE,
            **_WORKER,
            "quarantineUntil": "1970-01-01T00:00:00.000Z",
            "expires": "2024-05-06T12:00:00.000Z",
            "firstClaim": _NOW,
            "recentTasks": [_RUN],
            "lastDateActive": _NOW,
        }
    ),
    "list-workers-response": _one(
        {"workers": [{**_WORKER, "firstClaim": _NOW, "lastDateActive": _NOW, "latestTask": _RUN}]}
    ),
    "pending-tasks-response": _one(_COUNTS),
    "task-queue-counts-response": _one({**_COUNTS, "claimedTasks": 4}),
    "list-pending-tasks-response": _one({"tasks": [{**_RUN, "task": _DEFINITION, "inserted": _NOW}]}),
    "list-claimed-tasks-response": _one(
        {"tasks": [{**_RUN, **_WORKER, "claimed": _NOW, "task": _DEFINITION}]}
    ),
    "scopes-response": _one({"scopes": _CLIENT["expandedScopes"]}),
    "get-client-response": _one(_CLIENT),
    "create-client-response": _one(
        {**_CLIENT, "accessToken": "an-example-of-an-access-token-shown-this-once"}
    ),
    "list-clients-response": _one({"clients": [_CLIENT]}),
    "get-role-response": _one(_ROLE),
    "get-all-roles-response": _one([_ROLE]),
    "list-roles2-response": _one({"roles": [_ROLE]}),
    "get-role-ids-response": _one({"roleIds": [_ROLE["roleId"]]}),
    "authenticate-hawk-response": {
        "who sent it": {
            "status": "auth-success",
            "scheme": "hawk",
            "clientId": _CLIENT["clientId"],
            "scopes": _CLIENT["expandedScopes"],
            "expires": _CLIENT["expires"],
        },
        "not believed": {"status": "auth-failed", "message": "Bad mac"},
    },
    "test-authenticate-response": _one({"clientId": "tester", "scopes": ["test:*"]}),
    "create-upload-response": _one(
        {
            "projectId": "taskbus",
            "uploadId": _UPLOAD,
            "expires": _EXPIRES,
            "uploadMethod": {
                "putUrl": {
                    "url": _URL,
                    "expires": "2024-05-01T12:45:00.000Z",
                    "headers": {"Content-Type": "application/zip"},
                }
            },
        }
    ),
    "download-object-response": _one(
        {"method": "getUrl", "url": _URL, "expires": _UNTIL, "hashes": {"sha256": _SHA256}}
    ),
    "get-object-response": _one({"projectId": "taskbus", "expires": _EXPIRES}),
    "indexed-task-response": _one(_INDEXED),
    "list-tasks-response": _one({"tasks": [_INDEXED]}),
    "list-namespaces-response": _one(
        {"namespaces": [{"namespace": "taskbus.v2", "name": "v2", "expires": _EXPIRES}]}
    ),
    "purge-cache-request-list": _one({"requests": [_PURGE]}),
    "all-purge-cache-request-list": _one({"requests": [_PURGE]}),
    **attempt_examples.RESPONSES,
    **bulk_examples.RESPONSES,
    **control_examples.RESPONSES,
}
"""Bodies that the service answers, by schema and label."""

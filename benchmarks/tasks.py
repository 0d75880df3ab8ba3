"""The calls of the load: task definitions of the size and shape that a CI system sends."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from benchmarks.load import request_bytes
from schemas.ids import slugid
from schemas.times import format_time

BASE: Final = "/api/queue/v1"
PROVISIONER: Final = "proj-bench"
GROUP_SIZE: Final = 100
"""Tasks that share a task group, as those of one push do."""


def definition(number: int, worker_type: str, group_id: str, now: datetime) -> dict[str, Any]:
    """A task definition of about 1.4 KB."""
    return {
        "provisionerId": PROVISIONER,
        "workerType": worker_type,
        "schedulerId": "bench-level-1",
        "projectId": "bench",
        "taskGroupId": group_id,
        "priority": "low",
        "retries": 5,
        "created": format_time(now),
        "deadline": format_time(now + timedelta(hours=4)),
        "expires": format_time(now + timedelta(days=28)),
        "routes": [
            f"index.bench.v2.main.pushlog-id.{number // GROUP_SIZE}.linux.test-unit-{number % GROUP_SIZE}",
            f"checks.bench.main.{group_id}",
        ],
        "scopes": ["secrets:get:project/bench/level-1", "docker-worker:cache:bench-level-1-checkouts"],
        "payload": {
            "image": {
                "type": "indexed",
                "namespace": "bench.cache.docker.python.latest",
                "path": "public/image",
            },
            "command": [
                "/bin/bash",
                "-lc",
                f"cd /builds/checkout && make test-unit PART={number % GROUP_SIZE}",
            ],
            "env": {
                "REPOSITORY": "https://example.com/bench/bench",
                "REVISION": f"{number:040x}",
                "PYTHONUNBUFFERED": "1",
                "TEST_PART": str(number % GROUP_SIZE),
            },
            "maxRunTime": 3600,
            "cache": {"bench-level-1-checkouts": "/builds/checkouts"},
            "artifacts": {"public/logs": {"type": "directory", "path": "/builds/logs"}},
        },
        "metadata": {
            "name": f"test-unit-linux/opt-{number % GROUP_SIZE}",
            "description": "Unit tests of one part of the tree, on Linux, against the optimized build",
            "owner": "developer@example.com",
            "source": f"https://example.com/bench/bench/file/{number:040x}/ci/unit.yml",
        },
        "tags": {"kind": "test", "os": "linux", "createdForUser": "developer@example.com", "label": "unit"},
        "extra": {"parent": group_id, "chunks": {"current": number % GROUP_SIZE, "total": GROUP_SIZE}},
    }


def create_calls(count: int, worker_type: str) -> list[bytes]:
    """createTask calls for so many tasks of one task queue, ``GROUP_SIZE`` in a group."""
    return [
        request_bytes("PUT", f"{BASE}/task/{task_id}", json.dumps(body, separators=(",", ":")).encode())
        for task_id, body in definitions(count, worker_type)
    ]


def definitions(count: int, worker_type: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ids and definitions of so many tasks of one task queue, ``GROUP_SIZE`` in a group."""
    now = datetime.now(UTC)
    for number in range(count):
        if number % GROUP_SIZE == 0:
            group_id = slugid()
        yield slugid(), definition(number, worker_type, group_id, now)


def groups_of(count: int) -> int:
    """How many groups :func:`create_calls` makes."""
    return -(-count // GROUP_SIZE)


def claim_call(worker_type: str, worker_id: str, wanted: int) -> bytes:
    """A claimWork call of one worker."""
    queue = quote(f"{PROVISIONER}/{worker_type}", safe="")
    body = {"workerGroup": "bench", "workerId": worker_id, "tasks": wanted}
    return request_bytes("POST", f"{BASE}/claim-work/{queue}", json.dumps(body).encode())


def completed_calls(claims: Sequence[dict[str, Any]]) -> list[bytes]:
    """A reportCompleted call for each element of a claimWork answer."""
    return [
        request_bytes(
            "POST", f"{BASE}/task/{claim['status']['taskId']}/runs/{claim['runId']}/completed", b"{}"
        )
        for claim in claims
    ]

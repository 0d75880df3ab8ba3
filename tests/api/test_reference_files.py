"""References and schemas as files: for everybody, from anywhere, and only once while they do not change."""

import json
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from tests.api.asgi import Reply, request
from tests.api.running_queue import RunningQueue
from tests.contract import client_generator

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

PATHS: Final = [
    "/references/manifest.json",
    "/references/queue/v1/api.json",
    "/references/queue/v1/exchanges.json",
    "/references/index/v1/api.json",
    "/schemas/queue/v1/create-task-request.json",
    "/schemas/index/v1/insert-task-request.json",
    "/schemas/common/manifest-v3.json",
]


async def fetched(queue: RunningQueue, path: str, method: str = "GET", **headers: str) -> Reply:
    return await request(queue.application, method, path, headers=headers)


@pytest.mark.parametrize("path", PATHS)
async def test_a_file_is_for_everybody(queue: RunningQueue, path: str) -> None:
    queue.permit.distrust()
    reply = await fetched(queue, path, authorization="Hawk nonsense")
    assert reply.status == 200
    assert reply.header("content-type") == "application/json"
    assert reply.header("access-control-allow-origin") == "*"
    assert isinstance(reply.json(), dict)


@pytest.mark.parametrize("path", PATHS)
async def test_a_file_is_sent_once_while_it_does_not_change(queue: RunningQueue, path: str) -> None:
    first = await fetched(queue, path)
    tag = first.header("etag") or ""
    assert (first.header("cache-control") or "").startswith("public, max-age=")
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await fetched(queue, path, **{"if-none-match": known})
        assert (again.status, again.body, again.header("etag")) == (304, b"", tag)
    assert (await fetched(queue, path, **{"if-none-match": '"other"'})).body == first.body


async def test_a_file_may_be_asked_for_from_any_page(queue: RunningQueue) -> None:
    reply = await fetched(queue, PATHS[0], "OPTIONS")
    assert (reply.status, reply.body, reply.header("allow")) == (200, b"", "GET,HEAD,OPTIONS")


async def test_head_tells_the_length_of_a_file(queue: RunningQueue) -> None:
    whole, head = await fetched(queue, PATHS[1]), await fetched(queue, PATHS[1], "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == str(len(whole.body))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/references/"),
        ("GET", "/references/queue/v2/api.json"),
        ("GET", "/references/nothing/v1/api.json"),
        ("GET", "/references/../references/manifest.json"),
        ("GET", "/schemas/queue/v1/nothing.json"),
        ("POST", "/references/manifest.json"),
        ("DELETE", "/schemas/common/manifest-v3.json"),
    ],
)
async def test_what_is_not_there_is_not_found(queue: RunningQueue, method: str, path: str) -> None:
    reply = await fetched(queue, path, method)
    assert (reply.status, reply.json()) == (404, {"error": "Not found"})


async def test_a_generated_client_creates_a_task_by_its_schema(queue: RunningQueue) -> None:
    files: dict[str, Any] = {}
    for path in (PATHS[0], *(await fetched(queue, PATHS[0])).json()["references"]):
        files[path] = (await fetched(queue, path)).json()
    method = client_generator.services(files.__getitem__)["queue"]["createTask"]
    (entry,) = [
        entry for entry in files["/references/queue/v1/api.json"]["entries"] if entry["name"] == "createTask"
    ]
    schema = (await fetched(queue, f"/schemas/queue/{entry['input'].removesuffix('#')}")).json()
    task_id, body = "VXcJ7lLRTuKhEcZBHVS7Zw", queue.definition()
    Draft202012Validator(schema).validate(body)
    reply = await request(
        queue.application,
        method.method.upper(),
        "/api/queue/v1" + method.route.replace("<taskId>", task_id),
        headers={"content-type": "application/json"},
        body=[json.dumps(body).encode()],
    )
    assert reply.json()["status"]["taskId"] == task_id

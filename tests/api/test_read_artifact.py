"""What is known of artifacts, and how to get at their bytes (``queue-behaviour.md`` 8.3 to 8.5)."""

import json
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from queue_service.core.artifacts import MAX_LINKS
from schemas.times import format_time
from tests.api.asgi import Reply
from tests.api.running_queue import RunningQueue

UNKNOWN: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
URL: Final = "https://logs.example.com/live"
STORAGE_TYPE: Final = "x-taskcluster-artifact-storage-type"

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
each_spelling = pytest.mark.parametrize("run", ["", "/runs/0"], ids=["latest", "by run"])


async def given(queue: RunningQueue, task_id: str, name: str, kind: str, **members: Any) -> dict[str, Any]:
    """Create an artifact, which must succeed; what was answered."""
    expires = members.pop("expires", queue.clock.now() + timedelta(hours=1))
    body = {"storageType": kind, "expires": format_time(expires), **members}
    return await queue.post(f"/task/{task_id}/runs/0/artifacts/{name}", body)


async def s3(queue: RunningQueue, task_id: str, name: str, **members: Any) -> str:
    """Create an s3 artifact and upload its bytes; where they lie."""
    reply = await given(queue, task_id, name, "s3", contentType="text/plain", **members)
    queue.blobs.put(reply["putUrl"], name.encode())
    return queue.blobs.urls[reply["putUrl"]].key


async def reference(queue: RunningQueue, task_id: str, name: str, **members: Any) -> None:
    await given(queue, task_id, name, "reference", url=URL, contentType="text/plain", **members)


async def link(queue: RunningQueue, task_id: str, name: str, target: str) -> None:
    await given(queue, task_id, name, "link", artifact=target)


async def finished_object(queue: RunningQueue, task_id: str, name: str) -> str:
    """Create an object artifact with all that belongs to it; the name of the object."""
    begun = await given(queue, task_id, name, "object", contentType="text/plain")
    settled = {"projectId": begun["projectId"], "uploadId": begun["uploadId"]}
    inline = {"dataInline": {"contentType": "text/plain", "objectData": "aGVsbG8="}}
    created = {**settled, "expires": begun["expires"], "proposedUploadMethods": inline}
    await queue.call("PUT", f"/upload/{begun['name']}", created, service="object")
    await queue.call("POST", f"/finish-upload/{begun['name']}", settled, service="object")
    target = f"/task/{task_id}/runs/0/artifacts/{name}"
    assert (await queue.call("PUT", target, {"uploadId": begun["uploadId"]})).status == 204
    return str(begun["name"])


async def get(queue: RunningQueue, task_id: str, name: str, run: str = "", verb: str = "GET") -> Reply:
    return await queue.call(verb, f"/task/{task_id}{run}/artifacts/{name}")


def asked_names(queue: RunningQueue) -> list[list[str]]:
    """The names that each authorization was about."""
    return [
        [scope.removeprefix("queue:get-artifact:") for scope in asked["AllOf"]]
        for asked in queue.permit.asked
        if isinstance(asked, dict) and "get-artifact" in str(asked)
    ]


# ---- lists --------------------------------------------------------------------------------------------


async def test_a_list_shows_what_is_known_of_each_artifact(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    await s3(queue, task_id, "b", contentLength=7)
    await reference(queue, task_id, "a")
    await given(queue, task_id, "c", "object", contentType="x/y", contentLength=0)
    await given(queue, task_id, "d", "error", reason="too-large-file-on-worker", message="too large")
    expires = format_time(queue.clock.now() + timedelta(hours=1))
    entries: list[dict[str, object]] = [
        {"storageType": "reference", "name": "a", "contentType": "text/plain"},
        {"storageType": "s3", "name": "b", "contentType": "text/plain", "contentLength": 7},
        {"storageType": "object", "name": "c", "contentType": "x/y", "contentLength": 0},
        {"storageType": "error", "name": "d", "contentType": "application/binary"},
    ]
    for run in ("", "/runs/0"):
        reply = await queue.get(f"/task/{task_id}{run}/artifacts")
        assert reply == {"artifacts": [entry | {"expires": expires} for entry in entries]}


@each_spelling
async def test_a_list_is_paged_by_name(queue: RunningQueue, run: str) -> None:
    task_id = await queue.claimed()
    names = [" ", "!", "A", "a", "a/", "a//b", "public/x", "~"]
    for name in reversed(names):
        await reference(queue, task_id, name.replace(" ", "%20").replace("!", "%21"))
    found, query = [], "?limit=3"
    while query:
        reply = await queue.get(f"/task/{task_id}{run}/artifacts{query}")
        found.append([artifact["name"] for artifact in reply["artifacts"]])
        token = reply.get("continuationToken")
        query = f"?limit=5&continuationToken={token}" if token else ""
    assert found == [names[:3], names[3:]]


@on_sqlite
async def test_a_list_of_what_does_not_exist_is_404(queue: RunningQueue) -> None:
    claimed = await queue.claimed()
    waiting = await queue.create(dependencies=[claimed])
    for target in (
        f"/task/{UNKNOWN}/artifacts",
        f"/task/{UNKNOWN}/runs/0/artifacts",
        f"/task/{waiting}/artifacts",
        f"/task/{waiting}/runs/0/artifacts",
        f"/task/{claimed}/runs/1/artifacts",
        f"/task/{claimed}/runs/{10**20}/artifacts",
    ):
        assert (await queue.call("GET", target)).code == "ResourceNotFound", target


async def test_the_latest_run_is_the_last_whatever_its_state(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    await reference(queue, task_id, "public/a")
    await queue.post(f"/task/{task_id}/runs/0/completed")
    assert len((await queue.get(f"/task/{task_id}/artifacts"))["artifacts"]) == 1
    await queue.post(f"/task/{task_id}/rerun")
    assert await queue.get(f"/task/{task_id}/artifacts") == {"artifacts": []}
    assert len((await queue.get(f"/task/{task_id}/runs/0/artifacts"))["artifacts"]) == 1
    for place in ("artifacts", "artifact-info", "artifact-content"):
        assert (await queue.call("GET", f"/task/{task_id}/{place}/public/a")).code == "ResourceNotFound"


@each_spelling
async def test_info_does_not_follow_links(queue: RunningQueue, run: str) -> None:
    task_id = await queue.claimed()
    await link(queue, task_id, "public/a", "public/missing")
    info = await queue.get(f"/task/{task_id}{run}/artifact-info/public%2Fa")
    assert info == {
        "storageType": "link",
        "name": "public/a",
        "contentType": "application/binary",
        "expires": format_time(queue.clock.now() + timedelta(hours=1)),
    }


@on_sqlite
@each_spelling
async def test_info_of_what_is_not_there_is_404(queue: RunningQueue, run: str) -> None:
    task_id = await queue.claimed()
    await given(queue, task_id, "unfinished", "object", contentType="x/y")
    for target in (f"/task/{task_id}{run}/artifact-info/a", f"/task/{UNKNOWN}{run}/artifact-info/a"):
        assert (await queue.call("GET", target)).code == "ResourceNotFound"
    unfinished = await queue.call("GET", f"/task/{task_id}{run}/artifact-info/unfinished")
    assert unfinished.code == "ResourceNotFound"


# ---- download -----------------------------------------------------------------------------------------


@each_spelling
async def test_a_download_leads_to_the_bytes(queue: RunningQueue, run: str) -> None:
    task_id = await queue.claimed()
    await s3(queue, task_id, "private/a")
    reply = await get(queue, task_id, "private%2Fa", run)
    url = reply.header("location")
    assert url is not None
    assert (reply.status, reply.header(STORAGE_TYPE)) == (303, "s3")
    assert reply.json() == {"storageType": "s3", "url": url}
    assert queue.blobs.fetch(url) == b"private/a"
    until = queue.clock.now() + timedelta(minutes=30)
    assert url.endswith(f"until={until.timestamp():.0f}")


async def test_a_public_artifact_may_be_read_by_anybody(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    await s3(queue, task_id, "public/a")
    url = (await get(queue, task_id, "public/a")).header("location")
    assert str(url).endswith("?public")


async def test_a_reference_and_an_object_are_redirects_too(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    await reference(queue, task_id, "reference")
    await finished_object(queue, task_id, "object")
    reply = await get(queue, task_id, "reference")
    assert (reply.status, reply.header("location")) == (303, URL)
    assert reply.json() == {"storageType": "reference", "url": URL}
    reply = await get(queue, task_id, "object")
    assert (reply.status, reply.header(STORAGE_TYPE)) == (303, "object")
    assert queue.blobs.fetch(reply.json()["url"]) == b"hello"


async def test_an_error_artifact_is_424_with_its_reason(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    why = {"reason": "file-not-readable-on-worker", "message": "no right to read it"}
    await given(queue, task_id, "a", "error", **why)
    reply = await get(queue, task_id, "a")
    assert (reply.status, reply.header(STORAGE_TYPE), reply.json()) == (424, "error", why)
    content = await queue.get(f"/task/{task_id}/artifact-content/a")
    assert content == {"storageType": "error", **why}


@on_sqlite
async def test_head_answers_as_get_without_a_body(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    await reference(queue, task_id, "a")
    reply = await get(queue, task_id, "a", verb="HEAD")
    assert (reply.status, reply.header("location"), reply.body) == (303, URL, b"")


@each_spelling
async def test_links_are_followed_with_a_scope_for_every_name(queue: RunningQueue, run: str) -> None:
    task_id = await queue.claimed()
    await link(queue, task_id, "a", "b")
    await link(queue, task_id, "b", "c")
    await reference(queue, task_id, "c")
    queue.permit.asked.clear()
    reply = await get(queue, task_id, "a", run)
    assert (reply.status, reply.header(STORAGE_TYPE), reply.header("location")) == (303, "reference", URL)
    assert asked_names(queue) == [["a"], ["a", "b"], ["a", "b", "c"]]


@on_sqlite
@pytest.mark.parametrize("place", ["artifacts", "artifact-content"])
async def test_a_circle_of_links_is_refused(queue: RunningQueue, place: str) -> None:
    task_id = await queue.claimed()
    await link(queue, task_id, "self", "self")
    await link(queue, task_id, "a", "b")
    await link(queue, task_id, "b", "a")
    for name in ("self", "a"):
        reply = await queue.call("GET", f"/task/{task_id}/{place}/{name}")
        assert (reply.status, reply.code) == (400, "InputError")


@on_sqlite
async def test_a_chain_of_links_has_an_end(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    for number in range(MAX_LINKS + 1):
        await link(queue, task_id, f"a{number}", f"a{number + 1}")
    await reference(queue, task_id, f"a{MAX_LINKS + 1}")
    assert (await get(queue, task_id, "a1")).status == 303
    assert (await get(queue, task_id, "a0")).code == "InputError"


@on_sqlite
async def test_a_link_to_nothing_is_404(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    await link(queue, task_id, "a", "missing")
    assert (await get(queue, task_id, "a")).code == "ResourceNotFound"
    assert asked_names(queue)[-1] == ["a", "missing"]


@each_spelling
async def test_an_artifact_is_gone_when_it_has_expired(queue: RunningQueue, run: str) -> None:
    task_id = await queue.claimed()
    expires: datetime = queue.clock.now() + timedelta(minutes=1)
    await reference(queue, task_id, "a", expires=expires)
    await link(queue, task_id, "b", "a")
    queue.clock.advance(minutes=1)
    assert (await get(queue, task_id, "a", run)).status == 303
    queue.clock.advance(milliseconds=1)
    for name in ("a", "b"):
        reply = await get(queue, task_id, name, run)
        assert (reply.status, reply.code) == (410, "ResourceExpired")
    assert (await queue.call("GET", f"/task/{task_id}{run}/artifact-info/a")).status == 200


@on_sqlite
async def test_a_caller_without_the_scope_learns_nothing(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    await link(queue, task_id, "a", "b")
    queue.permit.deny()
    for name in ("a", "b"):
        assert (await get(queue, task_id, name)).code == "InsufficientScopes"


# ---- content ------------------------------------------------------------------------------------------


@each_spelling
async def test_content_tells_programs_how_to_fetch(queue: RunningQueue, run: str) -> None:
    task_id = await queue.claimed()
    await s3(queue, task_id, "a")
    await reference(queue, task_id, "b")
    await link(queue, task_id, "c", "b")
    content = await queue.get(f"/task/{task_id}{run}/artifact-content/a")
    assert content == {"storageType": "s3", "url": content["url"]}
    assert queue.blobs.fetch(content["url"]) == b"a"
    for name in ("b", "c"):
        content = await queue.get(f"/task/{task_id}{run}/artifact-content/{name}")
        assert content == {"storageType": "reference", "url": URL}


async def test_the_content_of_an_object_comes_with_credentials(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    name = await finished_object(queue, task_id, "a")
    content = await queue.get(f"/task/{task_id}/artifact-content/a")
    assert (content["storageType"], content["name"]) == ("object", name)
    certificate = json.loads(content["credentials"]["certificate"])
    assert certificate["scopes"] == [f"object:download:{name}"]
    assert certificate["expiry"] == (queue.clock.now() + timedelta(hours=1)).timestamp() * 1000


@on_sqlite
async def test_the_latest_artifact_is_looked_up_before_or_after_authorization(queue: RunningQueue) -> None:
    queue.permit.deny()
    content = await queue.call("GET", f"/task/{UNKNOWN}/artifact-content/a")
    download = await queue.call("GET", f"/task/{UNKNOWN}/artifacts/a")
    assert (content.code, download.code) == ("ResourceNotFound", "InsufficientScopes")

"""The object service: uploads and downloads by the methods that its clients know."""

import asyncio
import base64
from datetime import timedelta
from typing import Any, Final

import pytest

from queue_service.blobs.store import BlobsUnavailable
from schemas.times import format_time
from tests.api.asgi import Reply
from tests.api.running_queue import RunningQueue

NAME: Final = "t/VXcJ7lLRTuKhEcZBHVS7Zw/0/public/log"
UPLOAD_ID: Final = "dSlITZ4yQgmvxxAi4A8fHQ"
OTHER_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
PUT: Final = {"putUrl": {"contentType": "text/plain", "contentLength": 5}}
INLINE: Final = {
    "dataInline": {"contentType": "text/plain", "objectData": base64.b64encode(b"hello").decode()}
}
HASHES: Final = {"sha256": "ab" * 32, "sha512": "cd" * 64}

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


async def create(
    queue: RunningQueue, methods: dict[str, Any] | None = None, *, name: str = NAME, **members: Any
) -> Reply:
    body = {
        "projectId": "none",
        "uploadId": UPLOAD_ID,
        "expires": format_time(queue.clock.now() + timedelta(days=7)),
        "proposedUploadMethods": PUT if methods is None else methods,
        **members,
    }
    return await queue.call("PUT", f"/upload/{name}", body, service="object")


async def finish(queue: RunningQueue, *, name: str = NAME, **members: Any) -> Reply:
    body = {"projectId": "none", "uploadId": UPLOAD_ID, **members}
    return await queue.call("POST", f"/finish-upload/{name}", body, service="object")


async def start(queue: RunningQueue, *methods: str, name: str = NAME) -> Reply:
    body = {"acceptDownloadMethods": dict.fromkeys(methods, True)}
    return await queue.call("PUT", f"/start-download/{name}", body, service="object")


async def uploaded(queue: RunningQueue, **members: Any) -> None:
    """Upload and finish the object, which must succeed."""
    assert (await create(queue, INLINE)).status == 200
    assert (await finish(queue, **members)).status == 204


# ---- uploads ------------------------------------------------------------------------------------------


async def test_a_small_object_travels_inside_the_call(queue: RunningQueue) -> None:
    reply = await create(queue, {**INLINE, **PUT})
    assert reply.json() == {
        "projectId": "none",
        "uploadId": UPLOAD_ID,
        "expires": format_time(queue.clock.now() + timedelta(days=7)),
        "uploadMethod": {"dataInline": True},
    }
    assert list(queue.blobs.bytes.values()) == [b"hello"]
    reply = await finish(queue, hashes=HASHES)
    assert (reply.status, reply.body) == (204, b"")


async def test_a_large_object_is_uploaded_by_url(queue: RunningQueue) -> None:
    method = (await create(queue)).json()["uploadMethod"]["putUrl"]
    assert method == {
        "url": method["url"],
        "expires": format_time(queue.clock.now() + timedelta(minutes=45)),
        "headers": {"Content-Type": "text/plain", "Content-Length": "5"},
    }
    promised = queue.blobs.urls[method["url"]]
    assert (promised.content_type, promised.content_length) == ("text/plain", 5)
    queue.blobs.put(method["url"], b"hello")
    assert (await finish(queue)).status == 204


async def test_an_upload_can_be_begun_without_a_method(queue: RunningQueue) -> None:
    assert (await create(queue, {})).json()["uploadMethod"] == {}
    assert (await create(queue, PUT)).status == 200


async def test_every_url_of_an_upload_leads_to_the_same_place(queue: RunningQueue) -> None:
    replies = [await create(queue) for _ in range(2)]
    first, second = (queue.blobs.urls[reply.json()["uploadMethod"]["putUrl"]["url"]] for reply in replies)
    assert first.key == second.key


@pytest.mark.parametrize(
    "change",
    [{"uploadId": OTHER_ID}, {"projectId": "other"}, {"expires": "2024-05-20T12:00:00.000Z"}],
    ids=["uploadId", "projectId", "expires"],
)
async def test_nobody_else_can_add_to_an_upload(queue: RunningQueue, change: dict[str, Any]) -> None:
    await create(queue)
    assert (await create(queue, **change)).code == "RequestConflict"


async def test_of_many_that_begin_the_same_object_at_once_one_wins(
    queue: RunningQueue, second: RunningQueue
) -> None:
    ids = [UPLOAD_ID, OTHER_ID]
    replies = await asyncio.gather(
        *(create(side, uploadId=ids[n % 2]) for n in range(8) for side in (queue, second))
    )
    won = {reply.json()["uploadId"] for reply in replies if reply.status == 200}
    assert len(won) == 1
    assert {reply.status for reply in replies} == {200, 409}


@on_sqlite
@pytest.mark.parametrize("data", ["hello!", "aGVsbG8", "aGVs\nbG8=", "ä"])
async def test_what_is_not_base64_is_refused(queue: RunningQueue, data: str) -> None:
    inline = {"dataInline": {"contentType": "text/plain", "objectData": data}}
    assert (await create(queue, inline)).code == "InputError"
    assert (await queue.stored())["objects"] == 0


@on_sqlite
@pytest.mark.parametrize(
    "methods",
    [
        {"dataInline": {"contentType": "text/plain", "objectData": "a" * (64 * 1024 + 1)}},
        {"putUrl": {"contentType": "text/plain\r\nx: y", "contentLength": 5}},
        {"putUrl": {"contentType": "text/plain", "contentLength": -1}},
        {"putUrl": {"contentType": "text/plain", "contentLength": 10**18}},
        {"carrierPigeon": {}},
    ],
    ids=["too large", "header", "negative", "huge", "unknown"],
)
async def test_a_method_out_of_form_is_refused(queue: RunningQueue, methods: dict[str, Any]) -> None:
    assert (await create(queue, methods)).code == "InputValidationError"


async def test_a_finished_object_never_changes(queue: RunningQueue) -> None:
    await uploaded(queue, hashes=HASHES)
    assert (await create(queue, INLINE)).code == "RequestConflict"
    assert (await finish(queue, hashes=HASHES)).status == 204
    assert (await finish(queue, uploadId=OTHER_ID)).status == 204
    assert (await finish(queue, hashes={"sha256": "00" * 32})).code == "RequestConflict"
    assert (await start(queue, "getUrl")).json()["hashes"] == HASHES


async def test_an_upload_is_finished_when_its_bytes_are_there(queue: RunningQueue) -> None:
    assert (await finish(queue)).code == "ResourceNotFound"
    method = (await create(queue)).json()["uploadMethod"]["putUrl"]
    assert (await finish(queue)).code == "InputError"
    assert (await start(queue, "getUrl")).code == "ResourceNotFound"
    queue.blobs.put(method["url"], b"hello")
    assert (await finish(queue, uploadId=OTHER_ID)).code == "RequestConflict"
    assert (await start(queue, "getUrl")).code == "ResourceNotFound"
    assert (await finish(queue)).status == 204
    assert (await start(queue, "getUrl")).status == 200


# ---- downloads ----------------------------------------------------------------------------------------


async def test_a_download_is_a_url_with_hashes(queue: RunningQueue) -> None:
    await uploaded(queue, hashes=HASHES)
    reply = (await start(queue, "getUrl", "simple")).json()
    assert reply == {
        "method": "getUrl",
        "url": reply["url"],
        "expires": format_time(queue.clock.now() + timedelta(minutes=30)),
        "hashes": HASHES,
    }
    assert queue.blobs.fetch(reply["url"]) == b"hello"


async def test_a_simple_download_is_a_url(queue: RunningQueue) -> None:
    await uploaded(queue)
    reply = (await start(queue, "simple")).json()
    assert reply == {"method": "simple", "url": reply["url"]}
    assert queue.blobs.fetch(reply["url"]) == b"hello"


async def test_a_client_that_accepts_nothing_is_answered_406(queue: RunningQueue) -> None:
    await uploaded(queue)
    reply = await start(queue)
    assert (reply.status, reply.code) == (406, "NoMatchingMethod")


@on_sqlite
@pytest.mark.parametrize("name", [NAME, NAME.replace("/", "%2F")], ids=["plain", "encoded"])
async def test_a_browser_is_redirected(queue: RunningQueue, name: str) -> None:
    await uploaded(queue)
    reply = await queue.call("GET", f"/download/{name}", service="object")
    assert reply.status == 303
    assert queue.blobs.fetch(str(reply.header("location"))) == b"hello"


async def test_metadata_tells_project_and_expiry(queue: RunningQueue) -> None:
    await create(queue, INLINE)
    assert (await queue.call("GET", f"/metadata/{NAME}", service="object")).code == "ResourceNotFound"
    await finish(queue)
    assert (await queue.call("GET", f"/metadata/{NAME}", service="object")).json() == {
        "projectId": "none",
        "expires": format_time(queue.clock.now() + timedelta(days=7)),
    }


async def test_an_expired_object_is_gone(queue: RunningQueue) -> None:
    await uploaded(queue)
    queue.clock.advance(days=7, milliseconds=1)
    assert (await start(queue, "getUrl")).code == "ResourceExpired"


# ---- who may ------------------------------------------------------------------------------------------


@on_sqlite
async def test_each_call_asks_for_its_scope(queue: RunningQueue) -> None:
    await uploaded(queue)
    await start(queue, "getUrl")
    await queue.call("GET", f"/metadata/{NAME}", service="object")
    await queue.call("GET", f"/download/{NAME}", service="object")
    upload, download = f"object:upload:none:{NAME}", f"object:download:{NAME}"
    assert queue.permit.asked == [upload, upload, download, download, download]


@on_sqlite
async def test_a_caller_without_the_scope_learns_and_changes_nothing(queue: RunningQueue) -> None:
    queue.permit.deny()
    for reply in (
        await create(queue, INLINE),
        await finish(queue),
        await start(queue, "getUrl"),
        await queue.call("GET", f"/metadata/{NAME}", service="object"),
        await queue.call("GET", f"/download/{NAME}", service="object"),
    ):
        assert reply.code == "InsufficientScopes"
    assert (await queue.stored())["objects"] == 0
    assert queue.blobs.bytes == {}


@on_sqlite
@pytest.mark.parametrize("name", ["x" * 1101, "%0A", ""])
async def test_a_name_out_of_form_is_refused(queue: RunningQueue, name: str) -> None:
    assert (await create(queue, name=name)).status == 400


@on_sqlite
async def test_a_store_that_cannot_be_reached_is_503(
    queue: RunningQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(key: str) -> int | None:
        raise BlobsUnavailable("the bucket does not answer")

    await create(queue, INLINE)
    monkeypatch.setattr(queue.blobs, "size", away)
    reply = await finish(queue)
    assert (reply.status, reply.header("retry-after")) == (503, "1")
    monkeypatch.undo()
    assert (await finish(queue)).status == 204

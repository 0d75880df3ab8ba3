"""createArtifact and finishArtifact: what is answered, stored and told (``queue-behaviour.md`` 8.1, 8.2)."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from queue_service.core.limits import Limits
from schemas.times import format_time
from tests.api.asgi import Reply
from tests.api.running_queue import RunningQueue, at

UNKNOWN: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
WORKER: Final = {"workerGroup": "eu-central", "workerId": "worker-1"}
NAME: Final = "public/logs/live_backing.log"
BODIES: Final[dict[str, dict[str, Any]]] = {
    "s3": {"contentType": "text/plain", "contentLength": 5},
    "object": {"contentType": "text/plain", "contentLength": 5},
    "reference": {"contentType": "text/plain", "url": "https://logs.example.com/live?a=1"},
    "link": {"artifact": "public/other"},
    "error": {"reason": "file-missing-on-worker", "message": "there is no build/target.zip"},
}
ANNOUNCED: Final = ("reference", "link", "error")

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
each_kind = pytest.mark.parametrize("kind", BODIES)


def body(queue: RunningQueue, kind: str, **members: Any) -> dict[str, Any]:
    """A valid body of this storage type that expires in an hour."""
    sent = {"storageType": kind, "expires": queue.clock.now() + timedelta(hours=1), **BODIES[kind], **members}
    return {
        name: format_time(value) if isinstance(value, datetime) else value
        for name, value in sent.items()
        if value is not None
    }


async def post(
    queue: RunningQueue, task_id: str, kind: str, name: str = NAME, run_id: int = 0, **members: Any
) -> Reply:
    target = f"/task/{task_id}/runs/{run_id}/artifacts/{name}"
    return await queue.call("POST", target, body(queue, kind, **members))


async def listed(queue: RunningQueue, task_id: str) -> list[dict[str, Any]]:
    return list((await queue.get(f"/task/{task_id}/runs/0/artifacts"))["artifacts"])


async def claimed(queue: RunningQueue, **members: Any) -> str:
    """A task whose run 0 a worker has, its messages looked at."""
    task_id = await queue.claimed(**members)
    await queue.messages()
    return task_id


# ---- replies ------------------------------------------------------------------------------------------


async def test_an_s3_artifact_gets_a_url_for_its_bytes(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    reply = await post(queue, task_id, "s3")
    until = queue.clock.now() + timedelta(minutes=45)
    url = reply.json()["putUrl"]
    assert reply.json() == {
        "storageType": "s3",
        "contentType": "text/plain",
        "expires": format_time(until),
        "putUrl": url,
    }
    promised = queue.blobs.urls[url]
    assert (promised.content_type, promised.expires) == ("text/plain", until)
    assert promised.content_length is None  # the bytes may come compressed
    assert promised.key.startswith("public/")
    private = (await post(queue, task_id, "s3", name="private/log")).json()["putUrl"]
    assert queue.blobs.urls[private].key.startswith("private/")


async def test_an_object_artifact_gets_credentials_for_its_upload(queue: RunningQueue) -> None:
    task_id = await claimed(queue, projectId="some/project")
    expires = queue.clock.now() + timedelta(hours=1)
    reply = (await post(queue, task_id, "object", expires=expires)).json()
    name = f"t/{task_id}/0/{NAME}"
    assert {key: reply[key] for key in ("name", "projectId", "expires")} == {
        "name": name,
        "projectId": "some/project",
        "expires": format_time(expires),
    }
    certificate = json.loads(reply["credentials"]["certificate"])
    assert reply["credentials"]["clientId"] == f"artifact-upload/{task_id}/0/on/eu-central/worker-1"
    assert certificate["scopes"] == [f"object:upload:some/project:{name}"]
    assert certificate["expiry"] == expires.timestamp() * 1000


async def test_credentials_for_an_upload_last_a_day_at_most(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    expires = queue.clock.now() + timedelta(days=7)
    reply = (await post(queue, task_id, "object", expires=expires)).json()
    certificate = json.loads(reply["credentials"]["certificate"])
    assert certificate["expiry"] == (queue.clock.now() + timedelta(days=1)).timestamp() * 1000
    assert reply["expires"] == format_time(expires)


@pytest.mark.parametrize("kind", ANNOUNCED)
async def test_what_has_no_bytes_answers_its_storage_type(queue: RunningQueue, kind: str) -> None:
    assert (await post(queue, await claimed(queue), kind)).json() == {"storageType": kind}


# ---- messages -----------------------------------------------------------------------------------------


@each_kind
async def test_what_is_there_is_told_each_time_but_for_s3(queue: RunningQueue, kind: str) -> None:
    task_id = await claimed(queue)
    assert (await post(queue, task_id, kind)).status == 200
    again = await post(queue, task_id, kind)
    assert again.status == (409 if kind == "object" else 200)
    events = [("artifact-created", 0)] * 2 if kind in ANNOUNCED else []
    assert await queue.events() == events


async def test_the_message_describes_the_artifact_and_its_run(queue: RunningQueue) -> None:
    task_id = await claimed(queue, routes=["ci.try"])
    expires = queue.clock.now() + timedelta(hours=1)
    await post(queue, task_id, "link", contentType="text/html", expires=expires)
    (told,) = await queue.messages()
    assert told.body["artifact"] == {
        "storageType": "link",
        "name": NAME,
        "expires": format_time(expires),
        "contentType": "text/html",
    }
    assert told.body["status"] == await queue.status(task_id)
    assert told.cc == ("route.ci.try",)


async def test_artifacts_and_the_end_of_their_run_are_told_in_order(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    await post(queue, task_id, "error")
    await queue.post(f"/task/{task_id}/runs/0/failed")
    assert await queue.events() == [("artifact-created", 0), ("task-failed", 0)]


async def test_a_refused_call_stores_and_tells_nothing(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    stored = await queue.stored()
    assert (await post(queue, task_id, "reference", url="not a url")).code == "InputValidationError"
    assert (await post(queue, task_id, "reference", run_id=1)).code == "InputError"
    assert await queue.stored() == stored


# ---- who, when ----------------------------------------------------------------------------------------


@each_kind
async def test_an_unknown_task_or_run_is_400_and_not_404(queue: RunningQueue, kind: str) -> None:
    task_id = await claimed(queue)
    for target, run_id in ((UNKNOWN, 0), (task_id, 1), (task_id, 10**12)):
        reply = await post(queue, target, kind, run_id=run_id)
        assert (reply.status, reply.code) == (400, "InputError")


async def test_a_run_that_was_never_claimed_takes_no_artifacts(queue: RunningQueue) -> None:
    task_id = await queue.create()
    assert (await post(queue, task_id, "s3")).code == "InputError"
    await queue.post(f"/task/{task_id}/cancel")
    assert (await post(queue, task_id, "s3")).code == "InputError"


async def test_an_artifact_may_expire_with_its_task_and_not_later(
    queue: RunningQueue,
) -> None:
    expires = queue.clock.now() + timedelta(days=3)
    task_id = await claimed(queue, expires=expires)
    assert (await post(queue, task_id, "s3", expires=expires.isoformat())).status == 200
    late = await post(queue, task_id, "s3", expires=expires + timedelta(milliseconds=1))
    assert (late.status, late.code) == (400, "InputError")


@on_sqlite
async def test_an_artifact_that_expired_a_quarter_of_an_hour_ago_is_refused(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    drift = queue.clock.now() - Limits().drift
    assert (await post(queue, task_id, "s3", expires=drift)).status == 200
    assert (await post(queue, task_id, "s3", "b", expires=drift - timedelta(milliseconds=1))).status == 400


@each_kind
async def test_a_resolved_run_takes_no_artifacts_and_no_repeats(queue: RunningQueue, kind: str) -> None:
    task_id = await claimed(queue)
    await post(queue, task_id, kind)
    await queue.post(f"/task/{task_id}/runs/0/completed")
    for name in (NAME, "other"):
        assert (await post(queue, task_id, kind, name)).code == "RequestConflict"


async def test_a_run_takes_artifacts_for_25_minutes_after_an_exception(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    await queue.post(f"/task/{task_id}/runs/0/exception", {"reason": "worker-shutdown"})
    queue.clock.advance(minutes=24, seconds=59.999)
    assert (await post(queue, task_id, "s3")).status == 200
    assert (await post(queue, task_id, "s3", run_id=1)).code == "InputError"
    queue.clock.advance(milliseconds=1)
    assert (await post(queue, task_id, "s3")).code == "RequestConflict"


# ---- names --------------------------------------------------------------------------------------------


@on_sqlite
@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("public/a.txt", "public/a.txt"),
        ("public%2Fa.txt", "public/a.txt"),
        ("a//b/", "a//b/"),
        ("/", "/"),
        ("..%2F..%2Fetc/passwd", "../../etc/passwd"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("%20~%25", " ~%"),
        ("%252F", "%2F"),
        ("x" * 1024, "x" * 1024),
    ],
)
async def test_a_name_is_what_stands_after_artifacts_decoded_once(
    queue: RunningQueue, spelled: str, name: str
) -> None:
    task_id = await claimed(queue)
    assert (await post(queue, task_id, "reference", spelled)).status == 200
    assert [artifact["name"] for artifact in await listed(queue, task_id)] == [name]
    reply = await queue.call("GET", f"/task/{task_id}/runs/0/artifacts/{spelled}")
    assert (reply.status, reply.header("location")) == (303, BODIES["reference"]["url"])
    assert (await queue.messages())[0].body["artifact"]["name"] == name


@on_sqlite
@pytest.mark.parametrize("spelled", ["", "%0A", "a%0Ab", "%C3%A9", "%7F", "%00"])
async def test_a_name_of_other_characters_is_invalid(queue: RunningQueue, spelled: str) -> None:
    reply = await post(queue, await claimed(queue), "s3", spelled)
    assert (reply.status, reply.code) == (400, "InvalidRequestArguments")


@on_sqlite
async def test_a_name_of_1025_characters_is_refused(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    stored = await queue.stored()
    assert (await post(queue, task_id, "s3", "x" * 1025)).status == 400
    assert (await queue.call("GET", f"/task/{task_id}/runs/0/artifacts/{'x' * 1025}")).status == 404
    assert await queue.stored() == stored


@on_sqlite
@pytest.mark.parametrize("target", ["/artifacts/", "/runs/0/artifacts/", "/artifact-info/"])
async def test_an_empty_name_is_not_the_list(queue: RunningQueue, target: str) -> None:
    task_id = await claimed(queue)
    reply = await queue.call("GET", f"/task/{task_id}{target}")
    assert (reply.status, reply.code) == (400, "InvalidRequestArguments")


@on_sqlite
@pytest.mark.parametrize(
    "wrong",
    [
        {"storageType": "azure"},
        {"storageType": None},
        {"storageType": ["s3"]},
        {"surprise": 1},
        {"contentType": "x" * 256},
        {"contentLength": -1},
        {"expires": "2024-05-02"},
        {"contentType": None},
    ],
    ids=str,
)
async def test_a_body_of_no_kind_violates_the_schema(queue: RunningQueue, wrong: dict[str, Any]) -> None:
    task_id = await claimed(queue)
    sent = {k: v for k, v in (body(queue, "s3") | wrong).items() if v is not None}
    reply = await queue.call("POST", f"/task/{task_id}/runs/0/artifacts/{NAME}", sent)
    assert (reply.status, reply.code) == (400, "InputValidationError")
    assert await listed(queue, task_id) == []


# ---- repeats ------------------------------------------------------------------------------------------


async def test_a_repeat_of_an_s3_artifact_uploads_to_the_same_place(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    first = (await post(queue, task_id, "s3")).json()
    queue.clock.advance(minutes=10)
    later = queue.clock.now() + timedelta(days=1)
    again = (await post(queue, task_id, "s3", expires=later, contentLength=7)).json()
    assert again["expires"] == format_time(queue.clock.now() + timedelta(minutes=45))
    urls = queue.blobs.urls
    assert urls[first["putUrl"]].key == urls[again["putUrl"]].key
    (artifact,) = await listed(queue, task_id)
    assert artifact["expires"] == format_time(later)
    assert artifact["contentLength"] == 5


async def test_a_live_log_becomes_a_link_to_its_copy(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    await post(queue, task_id, "reference")
    assert (await post(queue, task_id, "link")).json() == {"storageType": "link"}
    kinds = [told.body["artifact"]["storageType"] for told in await queue.messages()]
    assert kinds == ["reference", "link"]
    (artifact,) = await listed(queue, task_id)
    assert (artifact["storageType"], artifact["contentType"]) == ("link", "text/plain")


@pytest.mark.parametrize(
    ("stored", "kind", "members"),
    [
        ("s3", "reference", {}),
        ("s3", "s3", {"contentType": "text/html"}),
        ("object", "object", {}),
        ("link", "reference", {}),
        ("link", "link", {"artifact": "public/else"}),
        ("error", "error", {"message": "other"}),
        ("reference", "error", {}),
    ],
)
async def test_what_readers_rely_on_never_changes(
    queue: RunningQueue, stored: str, kind: str, members: dict[str, Any]
) -> None:
    task_id = await claimed(queue)
    await post(queue, task_id, stored)
    before = await listed(queue, task_id), len(await queue.messages())
    reply = await post(queue, task_id, kind, **members)
    assert (reply.status, reply.code) == (409, "RequestConflict")
    assert f"`{stored}`" in reply.message
    assert (await listed(queue, task_id), len(await queue.messages())) == (before[0], 0)


async def test_an_artifact_never_expires_sooner_than_was_said(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    await post(queue, task_id, "s3")
    sooner = queue.clock.now() + timedelta(hours=1) - timedelta(milliseconds=1)
    assert (await post(queue, task_id, "s3", expires=sooner)).code == "RequestConflict"


async def test_of_many_equal_calls_at_once_one_creates(queue: RunningQueue, second: RunningQueue) -> None:
    task_id = await claimed(queue)
    replies = await asyncio.gather(
        *(post(side, task_id, "s3", contentLength=n) for n in range(10) for side in (queue, second))
    )
    assert {reply.status for reply in replies} == {200}
    keys = {
        side.blobs.urls[reply.json()["putUrl"]].key
        for reply, side in zip(replies, [queue, second] * 10, strict=True)
    }
    assert len(keys) == 1
    assert len(await listed(queue, task_id)) == 1


async def test_of_many_different_calls_at_once_one_wins(queue: RunningQueue, second: RunningQueue) -> None:
    task_id = await claimed(queue)
    replies = await asyncio.gather(
        *(post(side, task_id, "error", message=str(n)) for n in range(10) for side in (queue, second))
    )
    won = [reply.status for reply in replies].count(200)
    assert won == (2 if queue is second else won)
    assert {reply.status for reply in replies} == {200, 409}
    assert len(await queue.messages()) == won


# ---- finishArtifact -----------------------------------------------------------------------------------


async def finish(
    queue: RunningQueue, task_id: str, upload_id: str, name: str = NAME, run_id: int = 0
) -> Reply:
    return await queue.call("PUT", f"/task/{task_id}/runs/{run_id}/artifacts/{name}", {"uploadId": upload_id})


async def uploaded(queue: RunningQueue, task_id: str) -> str:
    """An object artifact, uploaded completely and not finished yet; its uploadId."""
    begun = (await post(queue, task_id, "object")).json()
    settled = {"projectId": begun["projectId"], "uploadId": begun["uploadId"]}
    inline = {"dataInline": {"contentType": "text/plain", "objectData": "aGVsbG8="}}
    name = begun["name"]
    created = {**settled, "expires": begun["expires"], "proposedUploadMethods": inline}
    assert (await queue.call("PUT", f"/upload/{name}", created, service="object")).status == 200
    assert (await queue.call("POST", f"/finish-upload/{name}", settled, service="object")).status == 204
    return str(begun["uploadId"])


async def test_an_object_is_seen_and_told_when_it_is_finished(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    upload_id = await uploaded(queue, task_id)
    assert await queue.events() == []
    assert (await queue.call("GET", f"/task/{task_id}/artifact-info/{NAME}")).status == 404
    assert (await queue.call("GET", f"/task/{task_id}/artifacts/{NAME}")).status == 404
    reply = await finish(queue, task_id, upload_id)
    assert (reply.status, reply.body) == (204, b"")
    (told,) = await queue.messages()
    assert told.body["artifact"]["storageType"] == "object"
    assert "contentLength" not in told.body["artifact"]
    assert (await queue.call("GET", f"/task/{task_id}/artifact-info/{NAME}")).status == 200


async def test_finishing_again_tells_again_even_with_another_upload_id(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    upload_id = await uploaded(queue, task_id)
    for used in (upload_id, upload_id, UNKNOWN):
        assert (await finish(queue, task_id, used)).status == 204
    assert await queue.events() == [("artifact-created", 0)] * 3


async def test_finish_is_refused_in_the_order_of_the_wire(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    assert (await finish(queue, UNKNOWN, UNKNOWN)).status == 404
    assert (await finish(queue, task_id, UNKNOWN)).status == 404
    assert (await finish(queue, task_id, UNKNOWN, run_id=1)).status == 404
    await post(queue, task_id, "s3", "other")
    assert (await finish(queue, task_id, UNKNOWN, "other")).code == "InputError"
    begun = (await post(queue, task_id, "object")).json()
    wrong = await finish(queue, task_id, UNKNOWN)
    assert (wrong.code, "`uploadId`" in wrong.message) == ("InputError", True)
    early = await finish(queue, task_id, begun["uploadId"])
    assert (early.code, "not finished" in early.message) == ("InputError", True)
    assert await queue.events() == []


async def test_an_upload_that_was_cut_leaves_no_visible_artifact(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    begun = (await post(queue, task_id, "object")).json()
    settled = {"projectId": begun["projectId"], "uploadId": begun["uploadId"]}
    put = {"putUrl": {"contentType": "text/plain", "contentLength": 5}}
    created = {**settled, "expires": begun["expires"], "proposedUploadMethods": put}
    name = begun["name"]
    assert (await queue.call("PUT", f"/upload/{name}", created, service="object")).status == 200
    cut = await queue.call("POST", f"/finish-upload/{name}", settled, service="object")
    assert (cut.status, cut.code) == (400, "InputError")
    assert (await finish(queue, task_id, begun["uploadId"])).status == 400
    assert (await queue.call("GET", f"/task/{task_id}/artifacts/{NAME}")).status == 404
    assert await queue.events() == []


async def test_an_s3_artifact_is_seen_at_once(queue: RunningQueue) -> None:
    task_id = await claimed(queue)
    await post(queue, task_id, "s3")
    assert (await queue.call("GET", f"/task/{task_id}/artifact-info/{NAME}")).status == 200
    assert at((await listed(queue, task_id))[0]["expires"]) == queue.clock.now() + timedelta(hours=1)

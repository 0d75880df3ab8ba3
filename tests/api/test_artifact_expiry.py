"""Expired artifacts lose their record and their bytes (``queue-behaviour.md`` 11)."""

from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from queue_service import faults
from queue_service.operations.forgetting import SLOWEST_UPLOAD
from schemas.times import format_time
from tests.api.running_queue import RunningQueue

GRACE: Final = timedelta(minutes=30)
MILLISECOND: Final = timedelta(milliseconds=1)
UPLOAD_ID: Final = "dSlITZ4yQgmvxxAi4A8fHQ"

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


class Crash(BaseException):
    """The process ends here."""


async def s3(queue: RunningQueue, task_id: str, name: str, expires: datetime) -> str:
    """Create an s3 artifact and upload its bytes; their key."""
    body = {"storageType": "s3", "contentType": "text/plain", "expires": format_time(expires)}
    url = (await queue.post(f"/task/{task_id}/runs/0/artifacts/{name}", body))["putUrl"]
    queue.blobs.put(url, name.encode())
    return queue.blobs.urls[url].key


async def begun_object(queue: RunningQueue, name: str, expires: datetime, upload_id: str = UPLOAD_ID) -> None:
    inline = {"dataInline": {"contentType": "text/plain", "objectData": "aGVsbG8="}}
    body: dict[str, Any] = {
        "projectId": "none",
        "uploadId": upload_id,
        "expires": format_time(expires),
        "proposedUploadMethods": inline,
    }
    assert (await queue.call("PUT", f"/upload/{name}", body, service="object")).status == 200


async def finished_object(
    queue: RunningQueue, name: str, expires: datetime, upload_id: str = UPLOAD_ID
) -> None:
    await begun_object(queue, name, expires, upload_id)
    settled = {"projectId": "none", "uploadId": upload_id}
    assert (await queue.call("POST", f"/finish-upload/{name}", settled, service="object")).status == 204


async def names(queue: RunningQueue, task_id: str) -> list[str]:
    reply = await queue.get(f"/task/{task_id}/artifacts")
    return [artifact["name"] for artifact in reply["artifacts"]]


async def test_record_and_bytes_go_half_an_hour_after_expiry(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    expires = queue.clock.now() + timedelta(hours=2)
    early = await s3(queue, task_id, "early", expires)
    late = await s3(queue, task_id, "late", expires + MILLISECOND)
    queue.clock.set(expires + GRACE)
    await queue.sweep()
    assert await names(queue, task_id) == ["early", "late"]
    assert (await queue.call("GET", f"/task/{task_id}/artifacts/early")).status == 410
    queue.clock.advance(milliseconds=1)
    await queue.sweep()
    assert await names(queue, task_id) == ["late"]
    assert (await queue.call("GET", f"/task/{task_id}/artifacts/early")).status == 404
    assert (queue.blobs.deleted, list(queue.blobs.bytes)) == ([early], [late])
    assert (await queue.stored())["blob_deletions"] == 0
    assert await queue.messages() == []


async def test_artifacts_go_with_their_task(queue: RunningQueue) -> None:
    expires = queue.clock.now() + timedelta(days=2)
    task_id = await queue.claimed(expires=expires)
    key = await s3(queue, task_id, "public/a", expires)
    queue.clock.set(expires + GRACE + MILLISECOND)
    await queue.sweep()
    stored = await queue.stored()
    assert (stored["tasks"], stored["artifacts"], stored["blob_deletions"]) == (0, 0, 0)
    assert queue.blobs.deleted == [key]


async def test_an_object_artifact_takes_its_object_along(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    expires = queue.clock.now() + timedelta(hours=2)
    body = {"storageType": "object", "contentType": "text/plain", "expires": format_time(expires)}
    begun = await queue.post(f"/task/{task_id}/runs/0/artifacts/a", body)
    await finished_object(queue, begun["name"], expires + timedelta(days=30), begun["uploadId"])
    queue.clock.set(expires + GRACE + MILLISECOND)
    await queue.sweep()
    stored = await queue.stored()
    assert (stored["artifacts"], stored["objects"], queue.blobs.bytes) == (0, 0, {})


async def test_an_object_expires_by_itself(queue: RunningQueue) -> None:
    expires = queue.clock.now() + timedelta(days=7)
    await finished_object(queue, "an/object", expires)
    queue.clock.set(expires + GRACE)
    await queue.sweep()
    assert (await queue.stored())["objects"] == 1
    queue.clock.advance(milliseconds=1)
    await queue.sweep()
    assert ((await queue.stored())["objects"], queue.blobs.bytes) == (0, {})


async def test_an_upload_that_was_given_up_is_forgotten_after_a_day(queue: RunningQueue) -> None:
    await begun_object(queue, "an/object", queue.clock.now() + timedelta(days=7))
    queue.clock.advance(days=1, minutes=30, milliseconds=1)
    await queue.sweep()
    assert ((await queue.stored())["objects"], queue.blobs.bytes) == (0, {})
    await begun_object(queue, "an/object", queue.clock.now() + timedelta(days=1), "VXcJ7lLRTuKhEcZBHVS7Zw")


async def test_bytes_that_can_still_be_uploaded_are_deleted_after_that(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    key = await s3(queue, task_id, "a", queue.clock.now())
    queue.clock.advance(minutes=30, milliseconds=1)
    await queue.sweep()
    assert await names(queue, task_id) == []
    assert list(queue.blobs.bytes) == [key]
    queue.clock.advance(minutes=15, hours=SLOWEST_UPLOAD.total_seconds() / 3600)
    await queue.sweep()
    assert queue.blobs.deleted == [key]


@on_sqlite
async def test_a_crash_after_the_bytes_are_gone_repeats_the_step(
    queue: RunningQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``blobs.deleted`` is the fault point between the two effects."""
    task_id = await queue.claimed()
    expires = queue.clock.now() + timedelta(hours=2)
    key = await s3(queue, task_id, "a", expires)
    queue.clock.set(expires + GRACE + MILLISECOND)

    def crash(name: str) -> None:
        if name == "blobs.deleted":
            raise Crash

    monkeypatch.setattr(faults, "point", crash)
    with pytest.raises(Crash):
        await queue.sweep()
    assert ((await queue.stored())["blob_deletions"], queue.blobs.bytes) == (1, {})
    monkeypatch.undo()
    again = await s3(queue, task_id, "a", expires + timedelta(days=1))
    await queue.sweep()
    assert (queue.blobs.deleted, list(queue.blobs.bytes)) == ([key, key], [again])
    assert (await queue.stored())["blob_deletions"] == 0


@on_sqlite
async def test_bytes_stay_on_the_list_while_their_store_is_away(
    queue: RunningQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await queue.claimed()
    expires = queue.clock.now() + timedelta(hours=2)
    await s3(queue, task_id, "a", expires)
    queue.clock.set(expires + GRACE + MILLISECOND)

    async def away(keys: object) -> None:
        raise OSError("no route to the bucket")

    monkeypatch.setattr(queue.blobs, "delete", away)
    with pytest.raises(OSError, match="no route"):
        await queue.sweep()
    assert ((await queue.stored())["artifacts"], (await queue.stored())["blob_deletions"]) == (0, 1)
    monkeypatch.undo()
    await queue.sweep()
    assert ((await queue.stored())["blob_deletions"], queue.blobs.bytes) == (0, {})


async def test_two_processes_share_what_has_expired(queue: RunningQueue, second: RunningQueue) -> None:
    task_id = await queue.claimed()
    expires = queue.clock.now() + timedelta(hours=2)
    keys = {await s3(queue, task_id, f"a{number}", expires) for number in range(20)}
    queue.clock.set(expires + GRACE + MILLISECOND)
    await queue.sweep()
    await second.sweep()
    assert await names(queue, task_id) == []
    assert {*queue.blobs.deleted, *second.blobs.deleted} == keys

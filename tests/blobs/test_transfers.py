"""PUT, GET and HEAD of signed URLs: every refusal and every header, without a server in between."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import queue_service.blobs.local as local
from queue_service.api.blobs import BlobTransfers
from queue_service.blobs.directory import Directory, DiskFull
from queue_service.blobs.local import CHUNK, LocalBlobs
from queue_service.blobs.urls import SignedUrls
from queue_service.clock import SystemClock
from tests.api.asgi import Line, NoReply, Reply, request
from tests.store.manual_clock import ManualClock

MAX_SIZE = 4 * CHUNK
PAGE = b"<script>alert(1)</script>"


class Place:
    """A directory served over HTTP, and the URLs to it."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self.path = path
        self.blobs = LocalBlobs(
            Directory(path),
            SignedUrls("https://example.com/taskbus", b"secret"),
            self.clock,
            max_size=MAX_SIZE,
        )
        self.transfers = BlobTransfers(self.blobs, self.clock)

    async def upload_target(self, *, content_type: str = "text/plain", length: int | None = None) -> str:
        url = await self.blobs.upload_url(
            "t/1", content_type=content_type, content_length=length, expires=self._soon()
        )
        return url.removeprefix("https://example.com/taskbus")

    async def download_target(self, *, public: bool = False) -> str:
        url = await self.blobs.download_url("t/1", expires=self._soon(), public=public)
        return url.removeprefix("https://example.com/taskbus")

    async def put(
        self,
        body: bytes | Iterable[bytes | None] = b"bytes",
        *,
        target: str | None = None,
        line: Line | None = None,
        **headers: str | None,
    ) -> Reply:
        """Upload; ``content_length=None`` leaves a header out."""
        pieces = [body] if isinstance(body, bytes) else list(body)
        sent: dict[str, str | None] = {
            "content-type": "text/plain",
            "content-length": str(sum(len(piece or b"") for piece in pieces)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await request(
            self.transfers,
            "PUT",
            target or await self.upload_target(),
            headers={name: value for name, value in sent.items() if value is not None},
            body=pieces,
            line=line,
        )

    async def get(self, *, method: str = "GET", target: str | None = None, **headers: str) -> Reply:
        return await request(
            self.transfers,
            method,
            target or await self.download_target(),
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    def files(self) -> list[str]:
        """The files on the disk, of blobs and of uploads under way."""
        return sorted(str(found.relative_to(self.path)) for found in self.path.rglob("*") if found.is_file())

    def _soon(self) -> datetime:
        return self.clock.now() + timedelta(minutes=45)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    found = Place(tmp_path / "artifacts")
    yield found
    await found.blobs.close()


def refused(reply: Reply, status: int, code: str, text: str) -> None:
    """The reply has the shape of the wire's errors."""
    assert reply.status == status
    body = reply.json()
    assert body.keys() == {"code", "message", "requestInfo"}
    assert body["code"] == code
    assert text in body["message"]
    assert f"* statusCode: {status}" in body["message"]
    assert body["requestInfo"]["params"] == {"key": "t/1"}
    assert reply.header("content-type") == "application/json; charset=utf-8"
    assert reply.header("content-length") == str(len(reply.body))
    assert reply.header("access-control-allow-origin") == "*"


async def test_an_upload_is_answered_200_without_a_body(place: Place) -> None:
    reply = await place.put()
    assert (reply.status, reply.body, reply.header("content-length")) == (200, b"", "0")
    assert reply.header("etag") == (await place.get()).header("etag")


async def test_bytes_that_arrive_in_pieces_are_put_together(place: Place) -> None:
    pieces = [b"", b"a", b"", bytes(CHUNK), b"b" * (CHUNK + 1), b"c"]
    assert (await place.put(pieces)).status == 200
    assert (await place.get()).body == b"".join(pieces)


async def test_an_authorization_header_does_not_matter(place: Place) -> None:
    assert (await place.put(authorization='Hawk id="nobody"')).status == 200
    assert (await place.get(authorization="Bearer x")).status == 200


@pytest.mark.parametrize("given", ["text/html", "text/plain; charset=utf-8", "", None])
async def test_another_content_type_than_promised_is_refused(place: Place, given: str | None) -> None:
    refused(await place.put(content_type=given), 400, "InputError", "`text/plain` was promised")
    assert place.files() == []


@pytest.mark.parametrize("body", [b"byte", b"bytes!", b""])
async def test_another_length_than_promised_is_refused(place: Place, body: bytes) -> None:
    target = await place.upload_target(length=5)
    refused(await place.put(body, target=target), 400, "InputError", "5 bytes were promised")
    assert place.files() == []


@pytest.mark.parametrize("given", [None, "", "-1", "five", "1" * 30])
async def test_an_upload_must_tell_its_length(place: Place, given: str | None) -> None:
    refused(await place.put(content_length=given), 411, "InputError", "`Content-Length`")


async def test_an_upload_may_be_as_large_as_the_limit_and_no_larger(place: Place) -> None:
    assert (await place.put(bytes(MAX_SIZE))).status == 200
    refused(await place.put(bytes(MAX_SIZE + 1)), 413, "InputTooLarge", f"at most {MAX_SIZE}")


@pytest.mark.parametrize(("announced", "sent"), [("6", b"bytes"), ("4", b"bytes")])
async def test_a_body_of_another_length_than_announced_leaves_nothing(
    place: Place, announced: str, sent: bytes
) -> None:
    refused(await place.put(sent, content_length=announced), 400, "InputError", "than announced")
    assert place.files() == []


async def test_a_content_encoding_has_a_limit(place: Place) -> None:
    refused(await place.put(content_encoding="x" * 256), 400, "InputError", "`Content-Encoding`")


async def test_an_expired_url_is_refused(place: Place) -> None:
    upload, download = await place.upload_target(), await place.download_target()
    place.clock.advance(minutes=46)
    refused(await place.put(target=upload), 403, "AuthenticationFailed", "expired")
    refused(await place.get(target=download), 403, "AuthenticationFailed", "expired")
    assert place.files() == []


async def test_a_forged_url_is_refused(place: Place) -> None:
    await place.put()
    upload, download = await place.upload_target(), await place.download_target()
    for target in (download, upload + "0", upload.replace("t/1?", "t/1?x=y&"), "/blobs/t/1"):
        refused(await place.put(target=target), 403, "AuthenticationFailed", "sign")
    for target in (upload, download + "0", "/blobs/t/1", "/blobs/t/1?signature="):
        refused(await place.get(target=target), 403, "AuthenticationFailed", "sign")
    for method in ("POST", "DELETE", "PATCH"):
        assert (await place.get(method=method, target=upload)).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/blobs/",
        "/blobs/../taskbus.sqlite",
        "/blobs/t/..%2f..%2fetc%2fpasswd",
        "/blobs/t/%2e%2e/1",
        "/blobs//t/1",
        "/blobs/t/1/",
        "/blobs/t/1%00",
        "/blobs/T/1",
        "/blobs/" + "a" * 201,
    ],
)
async def test_a_path_that_is_no_key_does_not_exist(place: Place, path: str) -> None:
    await place.put()
    query = (await place.download_target()).partition("?")[2]
    for method in ("GET", "PUT", "OPTIONS"):
        reply = await request(place.transfers, method, f"{path}?{query}")
        assert (reply.status, reply.json()) == (404, {"error": "Not found"})


async def test_a_link_to_a_public_blob_may_live_for_ever(place: Place) -> None:
    await place.put()
    place.blobs._public_links = True
    public, other = await place.download_target(public=True), await place.download_target()
    place.clock.advance(days=3650)
    assert (await place.get(target=public)).status == 200
    assert (await place.get(target=other)).status == 403


async def test_a_client_that_hangs_up_leaves_nothing(place: Place) -> None:
    with pytest.raises(NoReply):
        await place.put([bytes(CHUNK), bytes(CHUNK), None], content_length=str(3 * CHUNK))
    assert place.files() == []


async def test_what_a_task_made_runs_no_scripts_here(place: Place) -> None:
    target = await place.upload_target(content_type="text/html")
    await place.put(PAGE, target=target, content_type="text/html")
    reply = await place.get()
    assert reply.header("content-security-policy") == "sandbox"
    assert reply.header("x-content-type-options") == "nosniff"
    assert reply.header("referrer-policy") == "no-referrer"
    assert reply.header("cache-control") == "private, no-cache"


async def test_pages_of_other_origins_may_read_and_write(place: Place) -> None:
    reply = await request(place.transfers, "OPTIONS", "/blobs/t/1")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.header("access-control-allow-origin") == "*"
    assert "PUT" in str(reply.header("access-control-allow-methods"))
    assert "Content-Encoding" in str(reply.header("access-control-allow-headers"))
    assert "ETag" in str(reply.header("access-control-expose-headers"))


async def test_a_head_is_the_get_without_its_body(place: Place) -> None:
    await place.put(content_encoding="gzip")
    head, get = await place.get(method="HEAD"), await place.get()
    assert (head.status, head.body) == (200, b"")
    assert head.headers == get.headers
    assert head.header("content-length") == "5"
    part = await place.get(method="HEAD", range="bytes=1-2")
    assert (part.status, part.body, part.header("content-length")) == (206, b"", "2")


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=1-2,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
async def test_ranges(place: Place, asked: str, status: int, body: bytes, content_range: str | None) -> None:
    await place.put(b"0123456789")
    reply = await place.get(range=asked)
    assert (reply.status, reply.body, reply.header("content-range")) == (status, body, content_range)
    assert reply.header("content-length") == str(len(body))
    assert reply.header("accept-ranges") == "bytes"


async def test_a_range_beyond_the_end_is_refused(place: Place) -> None:
    await place.put(b"0123456789")
    reply = await place.get(range="bytes=10-")
    refused(reply, 416, "InputError", "none of the 10 bytes")
    assert reply.header("content-range") == "bytes */10"


async def test_a_range_goes_over_the_pieces_in_which_a_blob_is_read(place: Place) -> None:
    sent = bytes(range(256)) * (3 * CHUNK // 256)
    await place.put(sent)
    assert (await place.get(range=f"bytes={CHUNK - 1}-{2 * CHUNK}")).body == sent[CHUNK - 1 : 2 * CHUNK + 1]


async def test_what_a_client_has_already_is_not_sent_again(place: Place) -> None:
    etag = str((await place.put()).header("etag"))
    for listed in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        reply = await place.get(if_none_match=listed)
        assert (reply.status, reply.body, reply.header("etag")) == (304, b"", etag)
    assert (await place.get(if_none_match='"other"')).status == 200


async def test_another_upload_has_another_etag(place: Place) -> None:
    first, second = await place.put(), await place.put()
    assert first.header("etag") != second.header("etag")
    assert (await place.get(if_none_match=str(first.header("etag")))).status == 200


async def test_a_part_of_another_upload_is_not_sent(place: Place) -> None:
    first = str((await place.put()).header("etag"))
    assert (await place.get(range="bytes=1-2", if_range=first)).status == 206
    await place.put(b"other")
    reply = await place.get(range="bytes=1-2", if_range=first)
    assert (reply.status, reply.body) == (200, b"other")


async def test_a_full_disk_is_an_error_that_clients_try_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Directory, length: int) -> None:
        raise DiskFull

    monkeypatch.setattr(Directory, "require_room", full)
    reply = await place.put()
    refused(reply, 507, "InternalServerError", "the disk is full. Try again later")
    assert reply.header("retry-after") is not None
    assert place.files() == []


async def test_a_disk_that_fills_on_the_way_leaves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def fills(self: Directory, length: int) -> None:
        asked.append(length)
        if len(asked) > 2:
            raise DiskFull

    monkeypatch.setattr(Directory, "require_room", fills)
    reply = await place.put([bytes(CHUNK)] * 4)
    refused(reply, 507, "InternalServerError", "the disk is full")
    assert place.files() == []


async def test_too_many_uploads_at_once_are_told_to_come_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "MAX_UPLOADS", 0)
    refused(await place.put(), 503, "InternalServerError", "uploads are under way")


async def test_an_error_of_the_disk_tells_an_incident_and_no_path(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Directory, key: str) -> None:
        raise OSError(5, "broken", str(place.path))

    monkeypatch.setattr(Directory, "open", broken)
    reply = await place.get()
    refused(reply, 500, "InternalServerError", "incident")
    assert str(place.path) not in reply.message


async def test_crashed_uploads_are_swept_by_the_hour(place: Place) -> None:
    place.clock.move_to(SystemClock().now())
    await place.put()
    left = place.path / "incoming" / "left"
    left.write_bytes(b"half")
    place.clock.advance(minutes=59)
    await place.put()
    assert left.exists()
    place.clock.advance(minutes=2)
    await place.put()
    assert not left.exists()

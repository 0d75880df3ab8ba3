"""Uploads and downloads of artifacts: what goes over the wire, what is retried, what is left behind."""

import gzip
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.times import format_time
from taskbus.credentials import Credentials
from taskbus.errors import ArtifactError, Conflict, ConnectionFailed, InsufficientScopes, NotFound
from tests.taskbus.recording_server import Answer, RecordingServer, Seen, Waits, client, refusal
from tests.taskbus.samples import NOW, TASK_ID

DEMO = Credentials("static/demo", "token")
EXPIRES = NOW + timedelta(days=1)
CREATE = f"/api/queue/v1/task/{TASK_ID}/runs/0/artifacts/public%2Flog.txt"
PUT = "/storage/a%2Fb?signature=x%2Fy%3D"
GET = "/storage/a?signature=z"


def by(*puts_and_gets: Answer) -> Callable[[Seen], Answer]:
    """A server whose storage gives these answers in order, the last one again and again."""
    storage = list(puts_and_gets)

    def answer(request: Seen) -> Answer:
        root_url = "http://" + request.headers["Host"]
        if request.target.startswith("/storage/"):
            return storage.pop(0) if len(storage) > 1 else storage[0]
        if request.method == "POST":
            kind = request.json["contentType"]
            made = {"storageType": "s3", "putUrl": root_url + PUT, "expires": "2024-05-01T12:45:00.000Z"}
            return Answer(body={**made, "contentType": kind})
        where = {"storageType": "s3", "url": root_url + GET}
        return Answer(303, where, headers={"Location": root_url + GET})

    return answer


async def upload(server: RecordingServer, source: bytes | Path, **options: Any) -> None:
    async with client(server, credentials=DEMO) as queue:
        await queue.upload_artifact(TASK_ID, 0, "public/log.txt", source, expires=EXPIRES, **options)


class TestUpload:
    async def test_bytes_are_declared_and_put_where_the_answer_says(self) -> None:
        async with RecordingServer(by=by(Answer())) as server:
            await upload(server, b"hello")
        declared, put = server.seen
        assert declared.target == CREATE
        assert declared.json == {
            "storageType": "s3",
            "expires": format_time(EXPIRES),
            "contentType": "text/plain",
            "contentLength": 5,
        }
        assert declared.headers["Authorization"].startswith('Hawk id="static/demo"')
        assert (put.method, put.target, put.body) == ("PUT", PUT, b"hello")
        assert put.headers["Content-Type"] == "text/plain"
        assert put.headers["Content-Length"] == "5"
        assert "Authorization" not in put.headers
        assert "Content-Encoding" not in put.headers

    async def test_a_file_is_sent_with_its_length_and_as_it_is(self, tmp_path: Path) -> None:
        file = tmp_path / "log"
        file.write_bytes(gzip.compress(b"hello" * 100_000))
        async with RecordingServer(by=by(Answer())) as server:
            await upload(server, file, content_type="text/plain; charset=utf-8", content_encoding="gzip")
        put = server.seen[1]
        assert put.headers["Content-Length"] == str(file.stat().st_size)
        assert put.headers["Content-Encoding"] == "gzip"
        assert put.headers["Content-Type"] == "text/plain; charset=utf-8"

    async def test_a_name_that_tells_no_type_is_of_unknown_bytes(self) -> None:
        async with RecordingServer(by=by(Answer())) as server, client(server) as queue:
            await queue.upload_artifact(TASK_ID, 0, "core", b"", expires=EXPIRES)
        assert server.seen[0].json["contentType"] == "application/octet-stream"
        assert server.seen[1].headers["Content-Length"] == "0"

    async def test_an_upload_that_fails_is_tried_again_from_the_beginning(self, tmp_path: Path) -> None:
        file = tmp_path / "log.txt"
        file.write_bytes(b"x" * 500_000)
        storage = by(Answer(503, b"busy"), Answer(disconnect=True), Answer(204, b""))
        async with RecordingServer(by=storage) as server:
            await upload(server, file)
        assert [len(put.body) for put in server.seen[1:]] == [500_000] * 3

    async def test_an_upload_that_is_refused_is_not_repeated(self) -> None:
        async with RecordingServer(by=by(Answer(403, b"<Error>expired</Error>"))) as server:
            with pytest.raises(Exception, match="expired"):
                await upload(server, b"hello")
        assert len(server.seen) == 2

    async def test_nothing_is_put_for_an_artifact_that_is_refused(self) -> None:
        async with RecordingServer(refusal(409, "RequestConflict", "exists")) as server:
            with pytest.raises(Conflict):
                await upload(server, b"hello")
        assert len(server.seen) == 1

    async def test_a_file_that_is_not_there_is_not_declared(self, tmp_path: Path) -> None:
        async with RecordingServer(by=by(Answer())) as server:
            with pytest.raises(FileNotFoundError):
                await upload(server, tmp_path / "none")
        assert server.seen == []


class TestDownload:
    async def test_the_bytes_come_from_where_the_answer_points_without_credentials(self) -> None:
        async with (
            RecordingServer(by=by(Answer(body=b"x" * 700_000))) as server,
            client(server, credentials=DEMO) as queue,
            queue.download_artifact(TASK_ID, "private/log") as chunks,
        ):
            assert b"".join([chunk async for chunk in chunks]) == b"x" * 700_000
        asked, got = server.seen
        assert asked.target == f"/api/queue/v1/task/{TASK_ID}/artifacts/private%2Flog"
        assert "Authorization" in asked.headers
        assert got.target == GET
        assert "Authorization" not in got.headers

    async def test_encoded_bytes_are_decoded(self, tmp_path: Path) -> None:
        stored = Answer(body=gzip.compress(b"hello"), headers={"Content-Encoding": "gzip"})
        async with RecordingServer(by=by(stored)) as server, client(server) as queue:
            await queue.save_artifact(TASK_ID, "log", tmp_path / "log", run_id=3)
        assert (tmp_path / "log").read_bytes() == b"hello"
        assert server.seen[0].target.endswith("/runs/3/artifacts/log")

    async def test_redirections_are_followed(self, tmp_path: Path) -> None:
        storage = by(Answer(302, b"", headers={"Location": "/storage/elsewhere"}), Answer(body=b"hello"))
        async with RecordingServer(by=storage) as server, client(server) as queue:
            await queue.save_artifact(TASK_ID, "log", tmp_path / "log")
        assert (tmp_path / "log").read_bytes() == b"hello"

    async def test_a_download_that_breaks_off_is_made_again(self, tmp_path: Path) -> None:
        storage = by(Answer(body=b"hel", cut=True), Answer(502, b""), Answer(body=b"hello"))
        async with RecordingServer(by=storage) as server, client(server) as queue:
            await queue.save_artifact(TASK_ID, "log", tmp_path / "log")
        assert (tmp_path / "log").read_bytes() == b"hello"

    async def test_of_a_download_that_fails_nothing_is_left_and_what_was_there_stays(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "log").write_text("before")
        storage = by(Answer(body=b"hel", cut=True))
        async with RecordingServer(by=storage) as server, client(server, retries=1) as queue:
            with pytest.raises(ConnectionFailed) as raised:
                await queue.save_artifact(TASK_ID, "log", tmp_path / "log")
        assert "signature" not in str(raised.value)
        assert os.listdir(tmp_path) == ["log"]
        assert (tmp_path / "log").read_text() == "before"

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refusal(404, "ResourceNotFound", "no such artifact"), NotFound),
            (refusal(403, "InsufficientScopes", "queue:get-artifact:log"), InsufficientScopes),
            (Answer(424, {"reason": "file-missing-on-worker", "message": "no core"}), ArtifactError),
        ],
    )
    async def test_what_the_queue_refuses_is_an_error(
        self, tmp_path: Path, answer: Answer, kind: type[Exception]
    ) -> None:
        async with RecordingServer(answer) as server, client(server) as queue:
            with pytest.raises(kind):
                await queue.save_artifact(TASK_ID, "log", tmp_path / "log")
        assert os.listdir(tmp_path) == []

    async def test_an_artifact_that_is_an_error_says_its_reason(self) -> None:
        answer = Answer(424, {"reason": "file-missing-on-worker", "message": "no core"})
        async with RecordingServer(answer) as server, client(server) as queue:
            with pytest.raises(ArtifactError) as raised:
                await queue.get_artifact(TASK_ID, 0, "core")
        assert (raised.value.code, raised.value.message) == ("file-missing-on-worker", "no core")

    async def test_pauses_between_attempts_grow(self, tmp_path: Path) -> None:
        waits = Waits()
        storage = by(Answer(500, b""), Answer(500, b""), Answer(body=b"hello"))
        async with RecordingServer(by=storage) as server, client(server, sleep=waits.sleep) as queue:
            await queue.save_artifact(TASK_ID, "log", tmp_path / "log")
        assert waits == [0.1, 0.2]


def test_a_signed_url_is_one_that_browsers_can_get() -> None:
    queue = client("http://host/tc", credentials=DEMO)
    url = queue.signed_artifact_url(TASK_ID, "private/a b", run_id=1)
    plain = f"http://host/tc/api/queue/v1/task/{TASK_ID}/runs/1/artifacts/private%2Fa%20b"
    assert url.startswith(plain + "?bewit=")
    assert queue.using(None).signed_artifact_url(TASK_ID, "private/a b", run_id=1) == plain

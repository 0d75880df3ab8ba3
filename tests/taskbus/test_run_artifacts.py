"""What a run of the command worker leaves behind: which files, under which names, and what is wrong."""

import asyncio
import gzip
import logging
import os
from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from schemas.artifacts import ErrorArtifactRequest, LinkArtifactRequest
from taskbus.clock import SystemClock
from taskbus.credentials import Credentials
from taskbus.errors import ApiError, Conflict, InsufficientScopes, InvalidResponse
from taskbus.run_artifacts import PayloadArtifact, RunArtifacts
from taskbus.run_log import RunLog
from taskbus.runs import ClaimedRun
from taskbus.transfer import size_of
from tests.taskbus.hands import BROKEN, GONE
from tests.taskbus.manual_clock import ManualClock
from tests.taskbus.samples import NOW, TASK_ID, claimed, reclaimed

LOGS = ["public/logs/live_backing.log", "public/logs/live.log"]
UNKNOWN_ROUTE = ApiError(404, "", '{"error": "Not found"}')


class Store:
    """A queue that keeps what is uploaded. ``fail(error, …)`` makes the next calls raise."""

    def __init__(self) -> None:
        self.files: dict[str, Any] = {}
        self.options: dict[str, dict[str, Any]] = {}
        self.tokens: list[str] = []
        self.failures: deque[Exception] = deque()

    def fail(self, *errors: Exception) -> None:
        self.failures.extend(errors)

    def using(self, credentials: Credentials) -> Self:
        self.tokens.append(credentials.access_token)
        return self

    async def create_artifact(self, task_id: str, run_id: int, name: str, artifact: Any) -> None:
        self._record(task_id, run_id)
        self.files[name] = artifact

    async def upload_artifact(
        self, task_id: str, run_id: int, name: str, source: Any, **options: Any
    ) -> None:
        self._record(task_id, run_id)
        if isinstance(source, Path):
            self.files[name] = source.read_bytes()
        else:
            source.seek(0)
            self.files[name] = source.read()
            assert size_of(source) == len(self.files[name])
        self.options[name] = options

    def _record(self, task_id: str, run_id: int) -> None:
        assert (task_id, run_id) == (TASK_ID, 0)
        if self.failures:
            raise self.failures.popleft()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def run() -> ClaimedRun:
    return ClaimedRun(claimed(TASK_ID), SystemClock())


class Worker:
    """Uploads for runs that work in one folder."""

    def __init__(self, store: Store, clock: ManualClock, run: ClaimedRun, folder: Path) -> None:
        self._artifacts = RunArtifacts(store, clock=clock, jitter=lambda: 0.0)
        self._run = run
        self._folder = folder

    async def upload(self, *artifacts: dict[str, Any], lines: tuple[str, ...] = ()) -> list[str]:
        with RunLog() as log:
            for line in lines:
                log.write(line)
            asked = [PayloadArtifact.model_validate(artifact) for artifact in artifacts]
            return await self._artifacts.upload(self._run, asked, self._folder, log)


@pytest.fixture
def worker(store: Store, clock: ManualClock, run: ClaimedRun, tmp_path: Path) -> Worker:
    return Worker(store, clock, run, tmp_path)


async def test_the_log_is_always_uploaded_with_a_link_where_tools_look_for_it(
    worker: Worker, store: Store, run: ClaimedRun
) -> None:
    assert await worker.upload(lines=("one", "zwei ü")) == []
    assert list(store.files) == LOGS
    assert gzip.decompress(store.files[LOGS[0]]).decode() == "one\nzwei ü\n"
    assert store.options[LOGS[0]] == {
        "expires": run.task.expires,
        "content_type": "text/plain; charset=utf-8",
        "content_encoding": "gzip",
    }
    link = store.files[LOGS[1]]
    assert isinstance(link, LinkArtifactRequest)
    assert (link.artifact, link.expires) == (LOGS[0], run.task.expires)


async def test_a_file_is_uploaded_as_it_is_before_the_log(
    worker: Worker, store: Store, run: ClaimedRun, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text("<html>")
    assert await worker.upload({"name": "public/report.html", "path": "report.html"}) == []
    assert list(store.files) == ["public/report.html", *LOGS]
    assert store.files["public/report.html"] == b"<html>"
    assert store.options["public/report.html"] == {
        "expires": run.task.expires,
        "content_type": None,
        "content_encoding": None,
    }


async def test_what_the_payload_says_of_an_artifact_is_taken_over(
    worker: Worker, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("x")
    expires = NOW + timedelta(days=2)
    said = {"contentType": "text/x-special", "expires": "2024-05-03T12:00:00.000Z"}
    await worker.upload({"name": "a", "path": str(tmp_path / "out"), **said})
    assert store.options["a"]["content_type"] == "text/x-special"
    assert store.options["a"]["expires"] == expires


async def test_of_a_directory_each_file_is_an_artifact_below_its_name(
    worker: Worker, store: Store, tmp_path: Path
) -> None:
    for name in ("b/deep/2.txt", "b/1.txt", "a.txt"):
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    os.mkfifo(tmp_path / "out" / "pipe")
    (tmp_path / "out" / "loop").symlink_to(tmp_path / "out")
    assert await worker.upload({"name": "public/out", "path": "out", "type": "directory"}) == []
    assert list(store.files) == [
        "public/out/a.txt",
        "public/out/b/1.txt",
        "public/out/b/deep/2.txt",
        *LOGS,
    ]


@pytest.mark.parametrize(
    ("asked", "reason", "text"),
    [
        ({"path": "none"}, "file-missing-on-worker", "there is no file none"),
        ({"path": "none", "type": "directory"}, "file-missing-on-worker", "there is no directory none"),
        ({"path": "."}, "invalid-resource-on-worker", ". is no file"),
        ({"path": "file", "type": "directory"}, "invalid-resource-on-worker", "file is no directory"),
    ],
)
async def test_what_is_not_there_is_an_artifact_that_says_so_and_a_problem(
    worker: Worker, store: Store, tmp_path: Path, asked: dict[str, Any], reason: str, text: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "there").touch()
    problems = await worker.upload({"name": "a", **asked}, {"name": "b", "path": "there"})
    assert problems == [f"artifact a: {text}"]
    error = store.files["a"]
    assert isinstance(error, ErrorArtifactRequest)
    assert (error.reason, error.message) == (reason, text)
    assert store.files["b"] == b""
    assert f"[taskbus] artifact a: {text}" in gzip.decompress(store.files[LOGS[0]]).decode()


async def test_a_refused_artifact_is_a_problem_and_the_others_are_uploaded(
    worker: Worker, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    store.fail(Conflict(409, "RequestConflict", "it is another one"))
    problems = await worker.upload({"name": "a", "path": "file"}, {"name": "b", "path": "file"})
    assert problems == ["artifact a: it is another one (RequestConflict, HTTP 409)"]
    assert list(store.files) == ["b", *LOGS]


async def test_a_log_that_is_refused_is_no_problem_of_the_task(
    worker: Worker, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.fail(InsufficientScopes(403, "InsufficientScopes", "no"), InvalidResponse("http://h", "odd"))
    assert await worker.upload() == []
    assert len(caplog.records) == 2


async def test_a_server_that_does_not_answer_is_asked_again_with_the_newest_credentials(
    worker: Worker, store: Store, clock: ManualClock, run: ClaimedRun, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    store.fail(GONE, BROKEN)
    uploading = asyncio.create_task(worker.upload({"name": "a", "path": "file"}))
    await clock.asleep(1)
    run.renew(reclaimed(TASK_ID, seconds=2400, token="renewed"))
    clock.advance(1)
    await clock.pass_by(2)
    assert await uploading == []
    assert store.tokens[:2] == ["secret", "renewed"]
    assert store.files["a"] == b"x"


async def test_a_server_without_artifacts_is_told_of_once_and_never_asked_again(
    worker: Worker, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    store.fail(UNKNOWN_ROUTE)
    assert await worker.upload({"name": "a", "path": "none"}) == []
    asked = len(store.tokens)
    assert await worker.upload() == []
    assert len(store.tokens) == asked
    (record,) = caplog.records
    assert "keeps no artifacts" in record.message


@pytest.mark.parametrize(
    "artifact",
    [
        {"name": "a"},
        {"name": "", "path": "a"},
        {"name": "x" * 1025, "path": "a"},
        {"name": "ü", "path": "a"},
        {"name": "a\n", "path": "a"},
        {"name": "a", "path": ""},
        {"name": "a", "path": "a\0b"},
        {"name": "a", "path": "a", "type": "volume"},
        {"name": "a", "path": "a", "expires": "tomorrow"},
        {"name": "a", "path": "a", "typ": "file"},
    ],
)
def test_an_artifact_that_makes_no_sense_is_refused(artifact: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        PayloadArtifact.model_validate(artifact)


def test_a_log_ends_at_its_limit_but_takes_what_the_worker_says() -> None:
    with RunLog(limit=10) as log:
        for _ in range(5):
            log.write("123456")
        log.note("the command exited with status 1")
        content = log.finish()
        content.seek(0)
        text = gzip.decompress(content.read(10_000)).decode()
    assert text.splitlines() == [
        "123456",
        "123456",
        "[taskbus] the log ends here: it has reached its limit",
        "[taskbus] the command exited with status 1",
    ]

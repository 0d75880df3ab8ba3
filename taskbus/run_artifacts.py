"""What a run of ``taskbus worker`` leaves behind: the files its payload names, and always its log.

Everything is uploaded before the run is reported. The server is asked until the claim ends; then the run is
somebody else's.
"""

import asyncio
import logging
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, Self

from pydantic import Field, StringConstraints

from schemas.artifacts import (
    MAX_NAME,
    ArtifactRequest,
    ContentType,
    ErrorArtifactRequest,
    ErrorReason,
    LinkArtifactRequest,
)
from schemas.base import Request
from schemas.times import Time
from taskbus.clock import Clock, SystemClock
from taskbus.credentials import Credentials
from taskbus.errors import ApiError, ConnectionFailed, ServerError, TaskbusError
from taskbus.run_log import RunLog
from taskbus.runs import FIRST_DELAY, ClaimedRun
from taskbus.transfer import Source
from taskbus.transport import backoff

logger = logging.getLogger(__name__)

LOG: Final = "public/logs/live_backing.log"
LOG_LINK: Final = "public/logs/live.log"
"""Where tools look for the log of a run, while it goes on and afterwards."""
LOG_TYPE: Final = "text/plain; charset=utf-8"

MAX_ARTIFACTS: Final = 1000
MAX_FILES: Final = 10_000
"""Files in one directory."""
AT_ONCE: Final = 4
"""Uploads of one run."""
NOT_FOUND: Final = 404


class PayloadArtifact(Request):
    """A file or directory that a task wants kept; ``path`` is relative to where its command runs."""

    name: Annotated[str, StringConstraints(strict=True, pattern=r"^[ -~]+$", max_length=MAX_NAME)]
    path: Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00]+$")]
    type: Literal["file", "directory"] = "file"
    expires: Time | None = None
    content_type: ContentType | None = None


PayloadArtifacts = Annotated[tuple[PayloadArtifact, ...], Field(max_length=MAX_ARTIFACTS)]


class ArtifactQueue(Protocol):
    """What of the client uploads need."""

    def using(self, credentials: Credentials) -> Self: ...
    async def create_artifact(
        self, task_id: str, run_id: int, name: str, artifact: ArtifactRequest
    ) -> Any: ...
    async def upload_artifact(
        self,
        task_id: str,
        run_id: int,
        name: str,
        source: Source,
        *,
        expires: datetime,
        content_type: str | None = None,
        content_encoding: str | None = None,
    ) -> None: ...


@dataclass(frozen=True)
class _Item:
    """One artifact to be: bytes from a file, or a declaration that says it all."""

    name: str
    content: Source | ArtifactRequest
    expires: datetime
    content_type: str | None = None
    content_encoding: str | None = None
    problem: str = ""
    """Why it is not what the payload asked for."""


class _Missing(Exception):
    """There is no such artifact; why."""

    def __init__(self, reason: ErrorReason, text: str) -> None:
        super().__init__(text)
        self.reason: ErrorReason = reason


class _NoArtifacts(Exception):
    """The server has no artifacts at all."""


class RunArtifacts:
    """Uploads for the runs of one worker. ``clock`` and ``jitter`` are how retries wait."""

    def __init__(
        self,
        queue: ArtifactQueue,
        *,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._clock: Clock = clock or SystemClock()
        self._jitter = jitter
        self._supported = True

    async def upload(
        self, run: ClaimedRun, artifacts: Sequence[PayloadArtifact], folder: Path, log: RunLog
    ) -> list[str]:
        """Upload what the payload names, and the log; what is wrong with the former, for the task's owner.

        An artifact that is not there becomes one of the type ``error`` that says so.
        """
        if not self._supported:
            return []
        try:
            return await self._upload(run, artifacts, folder, log)
        except _NoArtifacts:
            self._supported = False
            logger.warning("the server keeps no artifacts: neither logs nor files of tasks are uploaded")
            return []

    async def _upload(
        self, run: ClaimedRun, artifacts: Sequence[PayloadArtifact], folder: Path, log: RunLog
    ) -> list[str]:
        expires = run.task.expires
        items = await asyncio.to_thread(_items, artifacts, folder, expires)
        at_once = asyncio.Semaphore(AT_ONCE)

        async def deliver(item: _Item) -> str:
            async with at_once:
                return await self._deliver(run, item) or item.problem

        problems = [problem for problem in await asyncio.gather(*map(deliver, items)) if problem]
        for problem in problems:
            log.note(problem)
        link = LinkArtifactRequest(storage_type="link", expires=expires, artifact=LOG, content_type=LOG_TYPE)
        for item in (
            _Item(LOG, log.finish(), expires, LOG_TYPE, content_encoding="gzip"),
            _Item(LOG_LINK, link, expires),
        ):
            if problem := await self._deliver(run, item):
                logger.warning("%r: %s", run, problem)
        return problems

    async def _deliver(self, run: ClaimedRun, item: _Item) -> str:
        """Try until the server has an opinion about it; what is wrong if it refuses."""
        failures = 0
        while True:
            try:
                await self._send(run, item)
                return ""
            except (TaskbusError, OSError, ValueError) as error:
                if isinstance(error, ApiError) and error.status == NOT_FOUND and not error.code:
                    raise _NoArtifacts from None
                if not isinstance(error, ConnectionFailed | ServerError):
                    return f"artifact {item.name}: {error}"
                reason = error
            delay = backoff(failures, self._jitter, first=FIRST_DELAY)
            logger.warning("uploading %s of %r failed, again in %.1f s: %s", item.name, run, delay, reason)
            failures += 1
            await self._clock.sleep(delay)

    async def _send(self, run: ClaimedRun, item: _Item) -> None:
        queue = self._queue.using(run.credentials)
        if isinstance(item.content, Request):
            await queue.create_artifact(run.task_id, run.run_id, item.name, item.content)
            return
        await queue.upload_artifact(
            run.task_id,
            run.run_id,
            item.name,
            item.content,
            expires=item.expires,
            content_type=item.content_type,
            content_encoding=item.content_encoding,
        )


def _items(artifacts: Sequence[PayloadArtifact], folder: Path, expires: datetime) -> list[_Item]:
    """What to upload for a payload. ``expires`` is for artifacts that do not say it themselves."""
    items = []
    for artifact in artifacts:
        until = artifact.expires or expires
        try:
            for name, path in _files(artifact, folder):
                items.append(_Item(name, path, until, artifact.content_type))
        except _Missing as missing:
            error = ErrorArtifactRequest(
                storage_type="error", expires=until, reason=missing.reason, message=str(missing)[:4096]
            )
            problem = f"artifact {artifact.name}: {missing}"
            items.append(_Item(artifact.name, error, until, problem=problem))
    return items


def _files(artifact: PayloadArtifact, folder: Path) -> list[tuple[str, Path]]:
    """The files of an artifact, each with its own artifact name. Raises _Missing."""
    path = folder / artifact.path
    try:
        if not (path.is_file() if artifact.type == "file" else path.is_dir()):
            if path.exists():
                raise _Missing("invalid-resource-on-worker", f"{artifact.path} is no {artifact.type}")
            raise _Missing("file-missing-on-worker", f"there is no {artifact.type} {artifact.path}")
        if artifact.type == "file":
            path.open("rb").close()
            return [(artifact.name, path)]
        return [(f"{artifact.name}/{found.relative_to(path).as_posix()}", found) for found in _below(path)]
    except PermissionError:
        raise _Missing("file-not-readable-on-worker", f"{artifact.path} cannot be read") from None


def _below(directory: Path) -> Iterator[Path]:
    """Every regular file, by name; links to directories are not followed."""

    def unreadable(error: OSError) -> None:
        raise error

    count = 0
    for root, folders, files in os.walk(directory, onerror=unreadable):
        folders.sort()
        for path in (Path(root, name) for name in sorted(files)):
            if path.is_file():
                count += 1
                if count > MAX_FILES:
                    raise _Missing("too-large-file-on-worker", f"more than {MAX_FILES} files")
                yield path

"""The queue's calls about artifacts, and uploads and downloads made of them (``queue-behaviour.md`` 8)."""

import mimetypes
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from schemas.artifacts import (
    ArtifactContentResponse,
    ArtifactRequest,
    ArtifactResponse,
    ErrorArtifactContent,
    FinishArtifactRequest,
    GetArtifactResponse,
    ListArtifactsResponse,
    ObjectArtifactContent,
    PostArtifactResponse,
    ReferenceArtifactContent,
    S3ArtifactContent,
    S3ArtifactRequest,
    S3ArtifactResponse,
)
from taskbus import transfer
from taskbus.credentials import URL_LIFE
from taskbus.errors import InvalidResponse
from taskbus.service import ServiceClient, pages
from taskbus.transfer import Source

SEE_OTHER: Final = 303
UNKNOWN_TYPE: Final = "application/octet-stream"

ArtifactContent = S3ArtifactContent | ObjectArtifactContent | ReferenceArtifactContent | ErrorArtifactContent
"""Where the bytes of an artifact are, or why there are none."""


class ArtifactCalls(ServiceClient):
    """Calls named ``latest`` are about the run of a task with the highest number, whatever its state."""

    async def create_artifact(
        self, task_id: str, run_id: int, name: str, artifact: ArtifactRequest
    ) -> PostArtifactResponse:
        """Declare an artifact of a claimed run; what follows depends on its storage type.

        Raises Conflict when the name stands for another artifact, or the run has ended.
        """
        path = (*_run(task_id, run_id), "artifacts", name)
        return await self._post(PostArtifactResponse, *path, body=artifact.to_json())

    async def finish_artifact(self, task_id: str, run_id: int, name: str, upload_id: str) -> None:
        """Make an artifact of the storage type ``object`` visible, once its bytes are there."""
        body = FinishArtifactRequest(upload_id=upload_id).to_json()
        await self._call("PUT", *_run(task_id, run_id), "artifacts", name, body=body)

    def list_artifacts(
        self, task_id: str, run_id: int, *, page_size: int | None = None
    ) -> AsyncIterator[ArtifactResponse]:
        """The artifacts of a run by name, all pages of them."""
        return self._list_artifacts(_run(task_id, run_id), page_size)

    def list_latest_artifacts(
        self, task_id: str, *, page_size: int | None = None
    ) -> AsyncIterator[ArtifactResponse]:
        """The artifacts of the latest run by name, all pages of them."""
        return self._list_artifacts(_run(task_id), page_size)

    async def artifact_info(self, task_id: str, run_id: int, name: str) -> ArtifactResponse:
        """What is known about one artifact. Raises NotFound."""
        return await self._get(ArtifactResponse, *_run(task_id, run_id), "artifact-info", name)

    async def latest_artifact_info(self, task_id: str, name: str) -> ArtifactResponse:
        """What is known about one artifact of the latest run. Raises NotFound."""
        return await self._get(ArtifactResponse, *_run(task_id), "artifact-info", name)

    async def artifact(self, task_id: str, run_id: int, name: str) -> ArtifactContent:
        """Where the bytes of an artifact are; links are followed. Raises NotFound."""
        path = (*_run(task_id, run_id), "artifact-content", name)
        return (await self._get(ArtifactContentResponse, *path)).root

    async def latest_artifact(self, task_id: str, name: str) -> ArtifactContent:
        """Where the bytes of an artifact of the latest run are; links are followed. Raises NotFound."""
        return (await self._get(ArtifactContentResponse, *_run(task_id), "artifact-content", name)).root

    async def get_artifact(self, task_id: str, run_id: int, name: str) -> GetArtifactResponse:
        """The URL of the bytes of an artifact, which needs no credentials; links are followed.

        Raises NotFound, Expired, and ArtifactError for one that only says why it is not there.
        """
        return await self._get_artifact(_run(task_id, run_id), name)

    async def get_latest_artifact(self, task_id: str, name: str) -> GetArtifactResponse:
        """The URL of the bytes of an artifact of the latest run; the rest is as for :meth:`get_artifact`."""
        return await self._get_artifact(_run(task_id), name)

    async def _list_artifacts(
        self, run: tuple[str, ...], page_size: int | None
    ) -> AsyncIterator[ArtifactResponse]:
        def fetch(token: str | None) -> Awaitable[ListArtifactsResponse]:
            query = {"limit": page_size, "continuationToken": token}
            return self._get(ListArtifactsResponse, *run, "artifacts", query=query)

        async for page in pages(fetch):
            for artifact in page.artifacts:
                yield artifact

    async def _get_artifact(self, run: tuple[str, ...], name: str) -> GetArtifactResponse:
        content = await self._call("GET", *run, "artifacts", name, accept=[SEE_OTHER])
        return self._read(GetArtifactResponse, content)

    # Made of these calls

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
    ) -> None:
        """Store bytes, or a file, as an artifact of a claimed run. Repeating it is harmless.

        ``content_type`` is guessed from the name if left out. ``content_encoding`` says how the bytes are
        encoded already, such as ``gzip``. Raises what :meth:`create_artifact` raises, and OSError.
        """
        declared = S3ArtifactRequest(
            storage_type="s3",
            expires=expires,
            content_type=content_type or mimetypes.guess_type(name)[0] or UNKNOWN_TYPE,
            content_length=transfer.size_of(source),
        )
        answer = (await self.create_artifact(task_id, run_id, name, declared)).root
        if not isinstance(answer, S3ArtifactResponse):
            raise InvalidResponse(self.root_url, f"it answered an s3 artifact with {answer.storage_type}")
        encoding = {"Content-Encoding": content_encoding} if content_encoding else {}
        headers = {"Content-Type": answer.content_type, **encoding}
        await transfer.send(self._transport, answer.put_url, source, headers)

    def signed_artifact_url(
        self, task_id: str, name: str, *, run_id: int | None = None, lifetime: timedelta = URL_LIFE
    ) -> str:
        """A URL with which anybody may get an artifact for that long, by what these credentials may do.

        The run is the latest one if none is given. Without credentials the URL is not signed.
        """
        url = self._transport.url((*self._base, *_run(task_id, run_id), "artifacts", name))
        return url if self.credentials is None else self.credentials.signed_url(url, lifetime)

    @asynccontextmanager
    async def download_artifact(
        self, task_id: str, name: str, *, run_id: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of an artifact as they come, decoded; of the latest run if none is given::

            async with queue.download_artifact(task_id, "public/report.html") as chunks:
                async for chunk in chunks:
                    ...

        Raises what :meth:`get_artifact` raises, and ConnectionFailed when the bytes end too early.
        """
        url = (await self._get_artifact(_run(task_id, run_id), name)).url
        async with transfer.receive(self._transport, url) as chunks:
            yield chunks

    async def save_artifact(self, task_id: str, name: str, path: Path, *, run_id: int | None = None) -> None:
        """Write the bytes of an artifact, decoded, into a file, which is there as a whole or not at all.

        The run is the latest one if none is given. A download that breaks off is tried again. Raises what
        :meth:`get_artifact` raises, and OSError.
        """
        url = (await self._get_artifact(_run(task_id, run_id), name)).url
        await transfer.save(self._transport, url, path)


def _run(task_id: str, run_id: int | None = None) -> tuple[str, ...]:
    return ("task", task_id) if run_id is None else ("task", task_id, "runs", str(run_id))

"""The handlers of the artifact endpoints (``queue-behaviour.md`` 8)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, assert_never

from queue_service.api.endpoint import Answer, Call
from queue_service.api.paging import page_of
from queue_service.auth.temporary import Issuer, named_credentials
from queue_service.blobs.keys import fresh_key
from queue_service.blobs.store import BlobStore
from queue_service.clock import Clock
from queue_service.core import artifacts as rules
from queue_service.core import objects as object_rules
from queue_service.core.artifacts import S3, Artifact, ErrorReport, Link, ObjectUpload, Reference, object_name
from queue_service.core.errors import QueueError
from queue_service.core.limits import Limits
from queue_service.operations import artifacts as operations
from queue_service.operations.artifacts import Created, Finish
from queue_service.operations.batching import Batcher
from queue_service.store import artifacts, objects, tasks
from queue_service.store.database import Database
from queue_service.store.statements import Connection
from schemas.artifacts import (
    ArtifactResponse,
    ErrorArtifactContent,
    ErrorArtifactResponse,
    FinishArtifactRequest,
    GetArtifactResponse,
    LinkArtifactResponse,
    ListArtifactsResponse,
    ObjectArtifactContent,
    ObjectArtifactResponse,
    ObjectCredentials,
    PostArtifactRequest,
    ReferenceArtifactContent,
    ReferenceArtifactResponse,
    S3ArtifactContent,
    S3ArtifactResponse,
)
from schemas.base import Document
from schemas.ids import slugid

PlainCall = Call[None]

PUBLIC: Final = "public/"
"""Names that begin so are for everybody, by the convention of the anonymous role."""
STORAGE_TYPE_HEADER: Final = b"x-taskcluster-artifact-storage-type"


class ArtifactApi:
    """Handlers with what they need: the database, the store of bytes, the issuer of credentials."""

    def __init__(
        self, database: Database, clock: Clock, limits: Limits, issuer: Issuer, blobs: BlobStore
    ) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._issuer = issuer
        self._blobs = blobs
        self._creations = Batcher[Artifact, Created](self._run_creations)
        self._finishes = Batcher[Finish, Artifact](self._run_finishes)
        self.batches = {"artifacts": self._creations.sizes, "finished artifacts": self._finishes.sizes}

    async def close(self) -> None:
        """Finish the transactions under way."""
        await self._creations.close()
        await self._finishes.close()

    # ---- writing --------------------------------------------------------------------------------------

    async def create_artifact(self, call: Call[PostArtifactRequest]) -> Document:
        name = call.params["name"]
        upload_until = self._clock.now() + rules.UPLOAD_URL
        wanted = rules.proposed(
            call.params["taskId"],
            call.run_id(),
            name,
            call.body.root,
            key=fresh_key(public=name.startswith(PUBLIC)),
            upload_id=slugid(),
            upload_until=upload_until,
        )
        created = await self._creations.submit(wanted, weight=call.size)
        artifact = created.artifact
        match artifact.content:
            case S3(key):
                # `contentLength` is not held against the bytes, which workers often compress for the upload.
                url = await self._blobs.upload_url(
                    key, content_type=artifact.content_type, content_length=None, expires=upload_until
                )
                return S3ArtifactResponse.trusted(
                    put_url=url, expires=upload_until, content_type=artifact.content_type
                )
            case ObjectUpload(upload_id):
                return self._object_upload(created, upload_id)
            case Reference():
                return ReferenceArtifactResponse()
            case Link():
                return LinkArtifactResponse()
            case ErrorReport():
                return ErrorArtifactResponse()
            case _:
                assert_never(artifact.content)

    async def finish_artifact(self, call: Call[FinishArtifactRequest]) -> None:
        await self._finishes.submit(
            Finish(call.params["taskId"], call.run_id(), call.params["name"], call.body.upload_id)
        )

    # ---- what is known --------------------------------------------------------------------------------

    async def list_artifacts(self, call: PlainCall) -> ListArtifactsResponse:
        return await self._list(call, call.run_id())

    async def list_latest_artifacts(self, call: PlainCall) -> ListArtifactsResponse:
        return await self._list(call, None)

    async def artifact_info(self, call: PlainCall) -> ArtifactResponse:
        return await self._info(call, call.run_id())

    async def latest_artifact_info(self, call: PlainCall) -> ArtifactResponse:
        return await self._info(call, None)

    # ---- content --------------------------------------------------------------------------------------

    async def get_artifact(self, call: PlainCall) -> Answer:
        return await self._download(await self._follow(call, call.run_id()))

    async def get_latest_artifact(self, call: PlainCall) -> Answer:
        return await self._download(await self._follow(call, None))

    async def artifact(self, call: PlainCall) -> Document:
        return await self._content(await self._follow(call, call.run_id()))

    async def latest_artifact(self, call: PlainCall) -> Document:
        async with self._database.read() as connection:
            run_id = await self._latest_run(connection, call.params["taskId"])
        return await self._content(await self._follow(call, run_id))

    # ---- parts ----------------------------------------------------------------------------------------

    def _object_upload(self, created: Created, upload_id: str) -> ObjectArtifactResponse:
        """What the worker needs to upload to the object service."""
        artifact, task = created.artifact, created.task
        worker_group, worker_id = rules.worker_of(task, artifact.run_id)
        name = object_name(artifact)
        return ObjectArtifactResponse.trusted(
            name=name,
            project_id=task.project_id,
            upload_id=upload_id,
            expires=artifact.expires,
            credentials=self._credentials(
                f"artifact-upload/{task.task_id}/{artifact.run_id}/on/{worker_group}/{worker_id}",
                f"object:upload:{task.project_id}:{name}",
                rules.OBJECT_UPLOAD,
                artifact,
            ),
        )

    def _credentials(
        self, client_id: str, scope: str, lifetime: timedelta, artifact: Artifact
    ) -> ObjectCredentials:
        now = self._clock.now()
        credentials = named_credentials(
            self._issuer, client_id, (scope,), start=now, expiry=min(artifact.expires, now + lifetime)
        )
        return ObjectCredentials.trusted(**dict(credentials))

    async def _latest_run(self, connection: Connection, task_id: str) -> int:
        found = await tasks.get(connection, [task_id])
        return rules.latest_run(found.get(task_id), task_id)

    async def _list(self, call: PlainCall, run_id: int | None) -> ListArtifactsResponse:
        task_id = call.params["taskId"]
        page = page_of(call.query)
        async with self._database.read() as connection:
            task = (await tasks.get(connection, [task_id])).get(task_id)
            if run_id is None:
                run_id = rules.latest_run(task, task_id)
            rules.check_run(task, task_id, run_id)
            found = await artifacts.page(connection, task_id, run_id, page.after, page.wanted)
        names, token = page.cut([artifact.name for artifact in found])
        return ListArtifactsResponse.trusted(
            artifacts=tuple(_entry(artifact) for artifact in found[: len(names)]), continuation_token=token
        )

    async def _info(self, call: PlainCall, run_id: int | None) -> ArtifactResponse:
        task_id, name = call.params["taskId"], call.params["name"]
        async with self._database.read() as connection:
            if run_id is None:
                run_id = await self._latest_run(connection, task_id)
            found = await artifacts.get(connection, [(task_id, run_id, name)])
        return _entry(rules.present(found.get((task_id, run_id, name)), name))

    async def _follow(self, call: PlainCall, run_id: int | None) -> Artifact:
        """The artifact that the name and its links lead to, authorized at every step (8.5)."""
        task_id, name = call.params["taskId"], call.params["name"]
        names: list[str] = []
        while True:
            names.append(name)
            call.require(names=names)
            async with self._database.read() as connection:
                if run_id is None:
                    run_id = await self._latest_run(connection, task_id)
                found = await artifacts.get(connection, [(task_id, run_id, name)])
            artifact = rules.readable(found.get((task_id, run_id, name)), name, self._clock.now())
            target = rules.next_name(artifact, names)
            if target is None:
                return artifact
            name = target

    async def _download(self, artifact: Artifact) -> Answer:
        """The redirect to the bytes, or why there are none."""
        storage_type = (STORAGE_TYPE_HEADER, artifact.storage_type.encode())
        if isinstance(artifact.content, ErrorReport):
            body = {"reason": artifact.content.reason, "message": artifact.content.message}
            return Answer(424, body, (storage_type,))
        url = await self._url(artifact)
        return Answer(
            303,
            GetArtifactResponse.trusted(storage_type=artifact.storage_type, url=url),
            ((b"location", url.encode()), storage_type),
        )

    async def _url(self, artifact: Artifact) -> str:
        expires = self._clock.now() + rules.DOWNLOAD_URL
        match artifact.content:
            case Reference(url):
                return url
            case S3(key):
                public = artifact.name.startswith(PUBLIC)
                return await self._blobs.download_url(key, expires=expires, public=public)
            case ObjectUpload():
                name = object_name(artifact)
                async with self._database.read() as connection:
                    found = (await objects.get(connection, [name])).get(name)
                key = object_rules.readable(found, name, self._clock.now()).key
                return await self._blobs.download_url(key, expires=expires)
            case Link() | ErrorReport():
                raise AssertionError(f"an artifact of type {artifact.storage_type} has no URL")
            case _:
                assert_never(artifact.content)

    async def _content(self, artifact: Artifact) -> Document:
        """How a program gets at the bytes (8.4)."""
        match artifact.content:
            case S3():
                return S3ArtifactContent.trusted(url=await self._url(artifact))
            case Reference(url):
                return ReferenceArtifactContent.trusted(url=url)
            case ErrorReport(reason, message):
                return ErrorArtifactContent.trusted(reason=reason, message=message)
            case ObjectUpload():
                name = object_name(artifact)
                credentials = self._credentials(
                    f"artifact-download/{artifact.task_id}/{artifact.run_id}",
                    f"object:download:{name}",
                    rules.OBJECT_DOWNLOAD,
                    artifact,
                )
                return ObjectArtifactContent.trusted(name=name, credentials=credentials)
            case Link():
                raise AssertionError("links were followed")
            case _:
                assert_never(artifact.content)

    async def _run_creations(self, wanted: Sequence[Artifact]) -> list[Created | QueueError]:
        drift = self._limits.drift
        return await self._database.write(lambda tx: operations.create(tx, wanted, drift=drift))

    async def _run_finishes(self, calls: Sequence[Finish]) -> list[Artifact | QueueError]:
        return await self._database.write(lambda tx: operations.finish(tx, calls))


def _entry(artifact: Artifact) -> ArtifactResponse:
    return ArtifactResponse.trusted(
        storage_type=artifact.storage_type,
        name=artifact.name,
        expires=artifact.expires,
        content_type=artifact.content_type,
        content_length=artifact.content_length,
    )

"""The handlers of the object service: uploads and downloads of bytes that artifacts, or others, name."""

import base64
from functools import partial

from queue_service.api.endpoint import Answer, Call
from queue_service.blobs.keys import fresh_key
from queue_service.blobs.store import BlobStore
from queue_service.clock import Clock
from queue_service.core import objects as rules
from queue_service.core.artifacts import DOWNLOAD_URL, UPLOAD_URL
from queue_service.core.errors import InputError, NoMatchingMethod
from queue_service.core.limits import Limits
from queue_service.core.objects import Object
from queue_service.operations import objects as operations
from queue_service.store import objects
from queue_service.store.database import Database
from schemas.objects import (
    CreateUploadRequest,
    CreateUploadResponse,
    DataInlineUpload,
    DownloadObjectRequest,
    FinishUploadRequest,
    GetObjectResponse,
    GetUrlDownload,
    Hashes,
    ProposedUploadMethods,
    PutUrl,
    SimpleDownload,
    UploadMethod,
)

PlainCall = Call[None]


class ObjectApi:
    """Handlers with what they need: the database and the store of bytes."""

    def __init__(self, database: Database, clock: Clock, limits: Limits, blobs: BlobStore) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._blobs = blobs

    async def create_upload(self, call: Call[CreateUploadRequest]) -> CreateUploadResponse:
        body = call.body
        call.require(projectId=body.project_id)
        proposed = body.proposed_upload_methods
        data = _decoded(proposed.data_inline) if proposed.data_inline is not None else b""
        wanted = Object(
            name=call.params["name"],
            project_id=body.project_id,
            upload_id=body.upload_id,
            expires=body.expires,
            key=fresh_key(),
            upload_until=self._clock.now() + UPLOAD_URL,
            kept_until=body.expires,
            hashes=body.hashes.given(),
        )
        drift = self._limits.drift
        begun = await self._database.write(lambda tx: operations.begin(tx, wanted, drift=drift))
        return CreateUploadResponse.trusted(
            project_id=begun.project_id,
            upload_id=begun.upload_id,
            expires=begun.expires,
            upload_method=await self._method(begun, proposed, data),
        )

    async def finish_upload(self, call: Call[FinishUploadRequest]) -> None:
        body, name = call.body, call.params["name"]
        call.require(projectId=body.project_id)
        stored = await self._stored(name)
        complete = stored is not None and (stored.finished or await self._blobs.size(stored.key) is not None)
        rule = partial(
            rules.finish,
            name=name,
            project_id=body.project_id,
            upload_id=body.upload_id,
            hashes=body.hashes.given(),
            complete=complete,
        )
        await self._database.write(lambda tx: operations.finish(tx, name, rule))

    async def start_download(self, call: Call[DownloadObjectRequest]) -> GetUrlDownload | SimpleDownload:
        found = await self._readable(call.params["name"])
        accepted = call.body.accept_download_methods
        expires = self._clock.now() + DOWNLOAD_URL
        if accepted.get_url:
            return GetUrlDownload.trusted(
                url=await self._blobs.download_url(found.key, expires=expires),
                expires=expires,
                hashes=Hashes.trusted(**found.hashes),
            )
        if accepted.simple:
            return SimpleDownload.trusted(url=await self._blobs.download_url(found.key, expires=expires))
        raise NoMatchingMethod("`acceptDownloadMethods` must have `getUrl` or `simple`.")

    async def metadata(self, call: PlainCall) -> GetObjectResponse:
        found = await self._readable(call.params["name"])
        return GetObjectResponse.trusted(project_id=found.project_id, expires=found.expires)

    async def download(self, call: PlainCall) -> Answer:
        found = await self._readable(call.params["name"])
        url = await self._blobs.download_url(found.key, expires=self._clock.now() + DOWNLOAD_URL)
        return Answer(303, {}, ((b"location", url.encode()),))

    async def _stored(self, name: str) -> Object | None:
        async with self._database.read() as connection:
            return (await objects.get(connection, [name])).get(name)

    async def _readable(self, name: str) -> Object:
        return rules.readable(await self._stored(name), name, self._clock.now())

    async def _method(self, begun: Object, proposed: ProposedUploadMethods, data: bytes) -> UploadMethod:
        """The way to upload: inside this call if the client can, as that saves it one."""
        if proposed.data_inline is not None:
            await self._blobs.write(begun.key, data, content_type=proposed.data_inline.content_type)
            return UploadMethod.trusted(data_inline=True)
        if proposed.put_url is None:
            return UploadMethod()
        content_type, length = proposed.put_url.content_type, proposed.put_url.content_length
        expires = self._clock.now() + UPLOAD_URL
        url = await self._blobs.upload_url(
            begun.key, content_type=content_type, content_length=length, expires=expires
        )
        headers = {"Content-Type": content_type, "Content-Length": str(length)}
        return UploadMethod.trusted(put_url=PutUrl.trusted(url=url, expires=expires, headers=headers))


def _decoded(inline: DataInlineUpload) -> bytes:
    try:
        return base64.b64decode(inline.object_data, validate=True)
    except ValueError:
        raise InputError("`objectData` must be base64.") from None

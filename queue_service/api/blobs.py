"""The bytes of artifacts over HTTP, when this service keeps them itself: PUT, GET and HEAD of signed URLs.

No endpoint of an API: bodies are streamed, may be huge, and are neither parsed nor decoded.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from queue_service.api.bodies import ClientGone
from queue_service.api.errors import error_body
from queue_service.api.pipeline import NOT_FOUND
from queue_service.api.ranges import Unsatisfiable, requested
from queue_service.api.transfer import Headers, Stalled, Transfer
from queue_service.blobs.directory import DiskFull, Head, WrongLength
from queue_service.blobs.local import Download, LocalBlobs
from queue_service.blobs.store import BlobsUnavailable, InvalidKey, checked_key
from queue_service.blobs.urls import PATH, Permission, UrlRefused
from queue_service.clock import Clock

logger = structlog.get_logger(__name__)

IDLE_SECONDS: Final = 60.0
MAX_ENCODING: Final = 255

_METHODS: Final = b"OPTIONS,GET,HEAD,PUT"
_COMMON: Final[Headers] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-max-age", b"900"),
    (b"access-control-allow-methods", _METHODS),
    (b"access-control-allow-headers", b"Content-Type,Content-Encoding,Range,If-None-Match,If-Range"),
    (b"access-control-expose-headers", b"ETag,Content-Length,Content-Range,Content-Encoding,Accept-Ranges"),
    (b"x-content-type-options", b"nosniff"),
]
_UNTRUSTED: Final[Headers] = [
    # A task made these bytes: a page among them runs no scripts and has an origin of its own,
    (b"content-security-policy", b"sandbox"),
    # its links do not tell others the signed URL,
    (b"referrer-policy", b"no-referrer"),
    # and a later upload of the same name is seen.
    (b"cache-control", b"private, no-cache"),
]
_JSON: Final = (b"content-type", b"application/json; charset=utf-8")


class Refused(Exception):
    """The request is refused, with this status and error code."""

    def __init__(self, status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


class BlobTransfers:
    """The ASGI application below ``/blobs/``. ``idle``: seconds until a client that stalls is given up."""

    def __init__(self, blobs: LocalBlobs, clock: Clock, *, idle: float = IDLE_SECONDS) -> None:
        self._blobs = blobs
        self._clock = clock
        self._idle = idle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transfer = Transfer(scope, receive, send, self._idle)
        try:
            key = checked_key(transfer.path.removeprefix(PATH))
        except InvalidKey:
            key = ""
        serve = {"PUT": self._upload, "GET": self._download, "HEAD": self._download}.get(transfer.method)
        if not key or (serve is None and transfer.method != "OPTIONS"):
            await transfer.reply(404, [*_COMMON, _JSON], NOT_FOUND)
        elif serve is None:
            await transfer.reply(200, [*_COMMON, (b"allow", _METHODS)])
        else:
            with suppress(ClientGone):
                try:
                    async with _refusals(transfer, key):
                        await serve(transfer, key)
                except Refused as refusal:
                    await self._refuse(transfer, key, refusal)

    async def _upload(self, transfer: Transfer, key: str) -> None:
        permission = self._blobs.urls.permission("PUT", key, transfer.query, self._clock.now())
        size = self._announced(transfer, permission)
        encoding = transfer.header(b"content-encoding")
        if len(encoding) > MAX_ENCODING:
            raise Refused(400, "InputError", f"`Content-Encoding` is longer than {MAX_ENCODING} characters.")
        async with self._blobs.upload(
            key, size=size, content_type=permission.content_type, content_encoding=encoding
        ) as upload:
            while (chunk := await transfer.receive()) is not None:
                await upload.write(chunk)
            await upload.finish()
            await transfer.reply(200, [*_COMMON, (b"etag", _quoted(upload.etag))])

    def _announced(self, transfer: Transfer, permission: Permission) -> int:
        """The length of the body, when it and the content type are as promised."""
        content_type = transfer.header(b"content-type").strip(" ")
        if content_type != permission.content_type:
            text = f"`Content-Type` is `{content_type}`; `{permission.content_type}` was promised."
            raise Refused(400, "InputError", text)
        announced = transfer.header(b"content-length")
        if not (announced.isascii() and announced.isdigit() and len(announced) < 19):
            raise Refused(411, "InputError", "The upload must have a `Content-Length`.")
        size, promised = int(announced), permission.content_length
        if promised is not None and size != promised:
            raise Refused(400, "InputError", f"`Content-Length` is {size}; {promised} bytes were promised.")
        if size > self._blobs.max_size:
            text = f"The upload has {size} bytes; at most {self._blobs.max_size} are taken."
            raise Refused(413, "InputTooLarge", text)
        return size

    async def _download(self, transfer: Transfer, key: str) -> None:
        self._blobs.urls.permission("GET", key, transfer.query, self._clock.now())
        async with self._blobs.download(key) as blob:
            if blob is None:
                raise Refused(404, "ResourceNotFound", f"There is no complete upload of `{key}`.")
            etag = _quoted(blob.head.etag)
            headers = [*_COMMON, *_UNTRUSTED, *_description(blob.head), (b"etag", etag)]
            if _lists(transfer.header(b"if-none-match"), etag.decode()):
                await transfer.start(304, headers)
                await transfer.end()
                return
            part = _part(transfer, etag.decode(), blob.head.size)
            if part is None:
                await _send(transfer, 200, headers, blob, 0, blob.head.size)
            else:
                offset, length = part
                where = b"bytes %d-%d/%d" % (offset, offset + length - 1, blob.head.size)
                await _send(transfer, 206, [*headers, (b"content-range", where)], blob, offset, length)

    async def _refuse(self, transfer: Transfer, key: str, refusal: Refused) -> None:
        status, body = error_body(
            refusal.code,
            refusal.message,
            method="uploadBlob" if transfer.method == "PUT" else "downloadBlob",
            params={"key": key},
            payload={},
            now=self._clock.now(),
            status=refusal.status,
        )
        await transfer.refuse(status, [*_COMMON, *refusal.headers, _JSON], body)


@asynccontextmanager
async def _refusals(transfer: Transfer, key: str) -> AsyncIterator[None]:
    """Turns what goes wrong into a refusal, or the end of the connection once the reply is under way."""
    try:
        yield
    except (Refused, ClientGone):
        raise
    except WrongLength as error:
        raise Refused(400, "InputError", f"The upload has {error}.") from None
    except UrlRefused as error:
        raise Refused(403, "AuthenticationFailed", str(error)) from None
    except BlobsUnavailable as error:
        logger.warning("an upload was not taken", key=key, reason=str(error))
        status = 507 if isinstance(error, DiskFull) else 503
        text = f"The upload cannot be taken now: {error}. Try again later."
        raise Refused(status, "InternalServerError", text, (b"retry-after", b"10")) from None
    except Stalled:
        logger.info("a client stalled and was given up", method=transfer.method, key=key)
        if transfer.started:
            raise ClientGone from None
        raise Refused(408, "InputError", "Nothing was sent for too long.") from None
    except Exception:
        incident = str(uuid.uuid4())
        logger.exception("a transfer failed", method=transfer.method, key=key, incident=incident)
        if transfer.started:
            raise ClientGone from None
        text = f"Internal Server Error, incident {incident}. The log of the service tells more."
        raise Refused(500, "InternalServerError", text) from None


async def _send(
    transfer: Transfer, status: int, headers: Headers, blob: Download, offset: int, length: int
) -> None:
    await transfer.start(status, [*headers, (b"content-length", b"%d" % length)])
    if transfer.method != "HEAD":
        gone = asyncio.create_task(transfer.gone())
        try:
            async for chunk in blob.chunks(offset, length):
                await transfer.send(chunk)
                if gone.done():
                    raise ClientGone
        finally:
            gone.cancel()
    await transfer.end()


def _part(transfer: Transfer, etag: str, size: int) -> tuple[int, int] | None:
    """Offset and length of what is asked for; None for the whole blob. Raises Refused."""
    if transfer.header(b"if-range") not in ("", etag):
        return None
    try:
        return requested(transfer.header(b"range"), size)
    except Unsatisfiable:
        everything = (b"content-range", b"bytes */%d" % size)
        raise Refused(416, "InputError", f"The range holds none of the {size} bytes.", everything) from None


def _description(head: Head) -> Iterable[tuple[bytes, bytes]]:
    if head.content_type:
        yield b"content-type", head.content_type.encode("latin-1")
    if head.content_encoding:
        yield b"content-encoding", head.content_encoding.encode("latin-1")
    yield b"accept-ranges", b"bytes"


def _quoted(etag: str) -> bytes:
    return b'"%s"' % etag.encode()


def _lists(header: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` names this ETag; weak ones count as well (RFC 9110, 13.1.2)."""
    return any(item.strip().removeprefix("W/") in ("*", etag) for item in header.split(","))

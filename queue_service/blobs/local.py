"""Blobs on local disk, sent and fetched through this service; only threads touch the disk."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Final, TypeVar

import structlog

from queue_service.blobs.directory import Directory, Head, Incoming, Stored
from queue_service.blobs.store import BlobsUnavailable, checked_content_type
from queue_service.blobs.urls import SignedUrls
from queue_service.clock import Clock

logger = structlog.get_logger(__name__)
T = TypeVar("T")

CHUNK: Final = 512 * 1024
"""Bytes read or written at once. An upload holds two of them, a download too."""
THREADS: Final = 8
MAX_UPLOADS: Final = 256
SWEEP_EVERY: Final = timedelta(hours=1)
CLOSE_SECONDS: Final = 2.0
ABANDONED: Final = timedelta(minutes=1)
"""Between making a file and holding it: what is not held after that belongs to nobody."""


class TooManyUploads(BlobsUnavailable):
    """As many uploads as memory should bear are under way."""

    def __init__(self) -> None:
        super().__init__(f"{MAX_UPLOADS} uploads are under way")


class Upload:
    """One upload under way: bytes are written in a thread while the next ones arrive."""

    def __init__(self, blobs: "LocalBlobs", incoming: Incoming, head: Head) -> None:
        self.etag = head.etag
        self.left = head.size
        """Bytes that are still to be handed to the disk."""
        self._blobs = blobs
        self._incoming = incoming
        self._buffer = bytearray()
        self._writing: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Append; returns when the next bytes may come. Raises DiskFull, also for earlier bytes."""
        self._buffer += data
        if len(self._buffer) >= CHUNK:
            await self._flush()

    async def finish(self) -> None:
        """Make the blob visible. Raises DiskFull, WrongLength."""
        await self._flush()
        await self._written()
        await self._blobs.in_thread(self._incoming.commit)

    def discard(self) -> asyncio.Future[None]:
        """Begin to forget what was not finished. That happens even when the caller does not wait for it."""
        if self._writing is not None:
            self._writing.add_done_callback(_seen)
        return self._blobs.in_thread(self._incoming.discard)

    async def _flush(self) -> None:
        await self._written()
        data, self._buffer = self._buffer, bytearray()
        self.left -= len(data)
        self._writing = self._blobs.in_thread(lambda: self._incoming.write(data))

    async def _written(self) -> None:
        if self._writing is not None:
            await self._writing
            self._writing = None


class Download:
    """One blob that is being read."""

    def __init__(self, blobs: "LocalBlobs", stored: Stored) -> None:
        self.head = stored.head
        self._blobs = blobs
        self._stored = stored

    async def chunks(self, offset: int, length: int) -> AsyncIterator[bytes]:
        """The bytes of this range; the next ones are read while one is used."""
        end = offset + length
        ahead = self._read(offset, end)
        try:
            while offset < end:
                chunk = await ahead
                if not chunk:
                    raise EOFError("the file of a blob is shorter than its head says")
                offset += len(chunk)
                ahead = self._read(offset, end)
                yield chunk
        finally:
            ahead.cancel()

    def _read(self, offset: int, end: int) -> asyncio.Future[bytes]:
        return self._blobs.in_thread(lambda: self._stored.read(offset, min(CHUNK, end - offset)))


class LocalBlobs:
    """Keeps blobs in a directory (see :class:`~queue_service.blobs.store.BlobStore`).

    ``max_size``: bytes of the largest blob taken. ``public_links``: download URLs of public blobs never
    expire, so that they can be cached and shared.
    """

    def __init__(
        self,
        directory: Directory,
        urls: SignedUrls,
        clock: Clock,
        *,
        max_size: int,
        public_links: bool = False,
    ) -> None:
        self.urls = urls
        self.max_size = max_size
        self._directory = directory
        self._clock = clock
        self._public_links = public_links
        self._uploads: set[Upload] = set()
        self._next_sweep = clock.now()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")

    async def upload_url(
        self, key: str, *, content_type: str, content_length: int | None, expires: datetime
    ) -> str:
        return self.urls.upload(
            key, content_type=content_type, content_length=content_length, expires=expires
        )

    async def download_url(self, key: str, *, expires: datetime, public: bool = False) -> str:
        return self.urls.download(key, expires=None if public and self._public_links else expires)

    async def write(self, key: str, data: bytes, *, content_type: str) -> None:
        content_type = checked_content_type(content_type)
        async with self.upload(key, size=len(data), content_type=content_type, content_encoding="") as upload:
            await upload.write(data)
            await upload.finish()

    async def size(self, key: str) -> int | None:
        return await self.in_thread(lambda: self._directory.size(key))

    async def delete(self, keys: Sequence[str]) -> None:
        await self.in_thread(lambda: self._directory.delete(keys))

    @asynccontextmanager
    async def upload(
        self, key: str, *, size: int, content_type: str, content_encoding: str
    ) -> AsyncIterator[Upload]:
        """Take a blob of ``size`` bytes. What is not finished within the context is forgotten.

        Raises TooManyUploads, DiskFull, InvalidKey.
        """
        if len(self._uploads) >= MAX_UPLOADS:
            raise TooManyUploads
        await self._sweep_when_due()
        head = Head(size, content_type, content_encoding, secrets.token_hex(8))
        others = sum(other.left for other in self._uploads)
        incoming = await self.in_thread(lambda: self._directory.begin(key, head, others=others))
        upload = Upload(self, incoming, head)
        self._uploads.add(upload)
        try:
            yield upload
        finally:
            if upload in self._uploads:
                discarding = upload.discard()
                # Until then the close of the server waits for it, too.
                discarding.add_done_callback(lambda _: self._uploads.discard(upload))
                await asyncio.shield(discarding)

    @asynccontextmanager
    async def download(self, key: str) -> AsyncIterator[Download | None]:
        """The blob to read, None when there is none. Raises InvalidKey."""
        stored = await self.in_thread(lambda: self._directory.open(key))
        if stored is None:
            yield None
            return
        try:
            yield Download(self, stored)
        finally:
            await asyncio.shield(self.in_thread(stored.close))

    async def sweep(self) -> int:
        """Delete what crashes left; how many uploads that was."""
        now = self._clock.now()
        self._next_sweep = now + SWEEP_EVERY
        swept = await self.in_thread(lambda: self._directory.sweep(now - ABANDONED))
        if swept:
            logger.info("uploads that a crash cut were deleted", uploads=swept)
        return swept

    async def close(self) -> None:
        """Take no more work and forget the uploads under way; a disk that hangs is not waited for."""
        uploads, self._uploads = self._uploads, set()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*(asyncio.shield(upload.discard()) for upload in uploads))
        self._threads.shutdown(wait=False)

    def in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Start the call in a thread for the disk, at once."""
        return asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _sweep_when_due(self) -> None:
        if self._clock.now() >= self._next_sweep:
            await self.sweep()


def _seen(writing: asyncio.Future[None]) -> None:
    """An error of a write nobody waits for any more is no news."""
    if not writing.cancelled():
        writing.exception()

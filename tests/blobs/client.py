"""What the programs of others do with the URLs of a store: whole uploads and downloads, and cut ones."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import aiohttp

from queue_service.blobs.store import BlobStore
from queue_service.clock import SystemClock


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


def soon() -> datetime:
    """A time by which a URL may expire."""
    return SystemClock().now() + timedelta(minutes=45)


class Client:
    """Sends and fetches by URL, without credentials."""

    def __init__(self, blobs: BlobStore, http: aiohttp.ClientSession) -> None:
        self.blobs = blobs
        self._http = http

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str = "text/plain",
        headers: Mapping[str, str] | None = None,
        promised: int | None = None,
    ) -> Reply:
        """Upload as it was promised: with this content type, and this length unless None."""
        url = await self.blobs.upload_url(
            key, content_type=content_type, content_length=promised, expires=soon()
        )
        return await self.send("PUT", url, {"Content-Type": content_type, **(headers or {})}, body)

    async def get(self, key: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> Reply:
        url = await self.blobs.download_url(key, expires=soon())
        return await self.send(method, url, headers or {})

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        async with self._http.request(method, url, headers=headers, data=body) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def put_cut(self, key: str, part: bytes, announced: int) -> None:
        """Begin an upload of ``announced`` bytes, hang up after a part, and wait until the server has."""
        url = await self.blobs.upload_url(key, content_type="text/plain", content_length=None, expires=soon())
        reader, writer = await begin(url, announced, part)
        writer.write_eof()
        await reader.read()
        writer.close()


async def begin(url: str, announced: int, part: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send the head of an upload and the first part of its body."""
    reader, writer = await ask(url, announced, expect=False)
    writer.write(part)
    await writer.drain()
    return reader, writer


async def ask(
    url: str, announced: int, *, expect: bool = True
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send the head of an upload, and with ``expect`` ask the server to say when it wants the body."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = (
        f"PUT {where.path}?{where.query} HTTP/1.1\r\nHost: {where.netloc}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {announced}\r\n"
    )
    writer.write((head + ("Expect: 100-continue\r\n" if expect else "") + "\r\n").encode())
    return reader, writer

"""Bytes of artifacts from and to any URL, streamed: memory stays flat, whatever their size."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from taskbus.errors import error_from_response
from taskbus.transport import Transport


class OpenFile(Protocol):
    """A file on disk, open for reading bytes."""

    def fileno(self) -> int: ...
    def seek(self, offset: int, /) -> int: ...
    def read(self, size: int, /) -> bytes: ...


Source = bytes | Path | OpenFile
"""What to upload: the bytes, or the file they are in, from its beginning."""

STORED_SECONDS: Final = 120.0
"""How long a server may take to store what it has received."""
CHUNK: Final = 256 * 1024


def size_of(source: Source) -> int:
    """Bytes. Raises OSError when the file cannot be looked at."""
    match source:
        case bytes():
            return len(source)
        case Path():
            return source.stat().st_size
        case _:
            return os.fstat(source.fileno()).st_size


async def send(transport: Transport, url: str, source: Source, headers: dict[str, str]) -> None:
    """PUT ``source`` to a URL that needs no credentials.

    Raises ApiError when it is refused, ConnectionFailed when nobody takes it, both after the retries that
    help; OSError when the file cannot be read.
    """

    async def attempt() -> None:
        with _opened(source) as content:
            size = size_of(content)
            async with transport.exchange(
                "PUT",
                url,
                data=content if isinstance(content, bytes) else _chunks(content, size),
                headers={**headers, "Content-Length": str(size)},
                answer_seconds=STORED_SECONDS,
            ) as response:
                if response.status >= 300:
                    raise error_from_response(response.status, await response.read())

    await transport.retried(attempt, f"PUT {url}")


@contextmanager
def _opened(source: Source) -> Iterator[bytes | OpenFile]:
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file
    else:
        yield source


async def _chunks(file: OpenFile, size: int) -> AsyncIterator[bytes]:
    """So many bytes and no more: it may still be written to."""
    await asyncio.to_thread(file.seek, 0)
    while size:
        chunk = await asyncio.to_thread(file.read, min(size, CHUNK))
        if not chunk:
            raise OSError("the file became shorter while it was sent")
        size -= len(chunk)
        yield chunk


@asynccontextmanager
async def receive(transport: Transport, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The decoded bytes behind a URL that needs no credentials. Redirections are followed.

    Raises ApiError when they are refused, ConnectionFailed when they do not come or end too early.
    """
    async with transport.exchange("GET", url, headers={"Accept": "*/*"}, follow=True) as response:
        if response.status >= 300:
            raise error_from_response(response.status, await response.read())
        yield response.content.iter_chunked(CHUNK)


async def save(transport: Transport, url: str, path: Path) -> None:
    """Write the bytes behind a URL into a file, which is there as a whole or not at all.

    Raises what :func:`receive` raises, after the retries that help; OSError when it cannot be written.
    """
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:

            async def attempt() -> None:
                file.seek(0)
                file.truncate()
                async with receive(transport, url) as chunks:
                    async for chunk in chunks:
                        file.write(chunk)

            await transport.retried(attempt, f"GET {url}")
        os.chmod(unfinished, 0o666 & ~_umask())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

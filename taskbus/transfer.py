"""Bytes of artifacts from and to any URL, streamed: memory stays flat, whatever their size."""

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from taskbus.errors import error_from_response
from taskbus.transport import Transport

Source = bytes | Path
"""What to upload: the bytes, or the file they are in."""

STORED_SECONDS: Final = 120.0
"""How long a server may take to store what it has received."""
CHUNK: Final = 256 * 1024


def size_of(source: Source) -> int:
    """Bytes. Raises OSError when the file cannot be looked at."""
    return len(source) if isinstance(source, bytes) else source.stat().st_size


async def send(transport: Transport, url: str, source: Source, headers: dict[str, str]) -> None:
    """PUT ``source`` to a URL that needs no credentials.

    Raises ApiError when it is refused, ConnectionFailed when nobody takes it, both after the retries that
    help; OSError when the file cannot be read.
    """

    async def attempt() -> None:
        with contextlib.ExitStack() as stack:
            data = source if isinstance(source, bytes) else stack.enter_context(source.open("rb"))
            async with transport.exchange(
                "PUT", url, data=data, headers=headers, answer_seconds=STORED_SECONDS
            ) as response:
                if response.status >= 300:
                    raise error_from_response(response.status, await response.read())

    await transport.retried(attempt, f"PUT {url}")


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

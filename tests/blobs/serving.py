"""Serves blobs from a directory over real HTTP, as the service does; also a program of its own."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import uvicorn

from queue_service.api.blobs import IDLE_SECONDS, BlobTransfers
from queue_service.blobs.directory import Directory
from queue_service.blobs.local import LocalBlobs
from queue_service.blobs.urls import SignedUrls
from queue_service.clock import SystemClock

SECRET: Final = b"of the tests"
MAX_SIZE: Final = 64 * 1024 * 1024


@asynccontextmanager
async def serving(
    directory: Path, listener: socket.socket, *, idle: float = IDLE_SECONDS
) -> AsyncIterator[LocalBlobs]:
    clock = SystemClock()
    host, port = listener.getsockname()
    blobs = LocalBlobs(
        Directory(directory), SignedUrls(f"http://{host}:{port}", SECRET), clock, max_size=MAX_SIZE
    )
    config = uvicorn.Config(
        BlobTransfers(blobs, clock, idle=idle),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve([listener]))
    try:
        yield blobs
    finally:
        server.should_exit = True
        await running
        await blobs.close()


def bound() -> socket.socket:
    """A socket that listens on a free port of loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


async def main(directory: Path, descriptor: int) -> None:
    async with serving(directory, socket.socket(fileno=descriptor)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))

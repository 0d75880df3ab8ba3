"""The part of the service that keeps artifacts, alone: ``python -m benchmarks.keeping DIRECTORY PORT``."""

import sys
from pathlib import Path
from typing import Final

import uvicorn
import uvloop

from benchmarks.floor import Announcing
from queue_service.api.blobs import BlobTransfers
from queue_service.blobs.directory import Directory
from queue_service.blobs.local import LocalBlobs
from queue_service.blobs.urls import SignedUrls
from queue_service.clock import SystemClock

SECRET: Final = b"of the benchmarks"


async def serve(directory: Path, port: int) -> None:
    clock = SystemClock()
    blobs = LocalBlobs(Directory(directory), SignedUrls("", SECRET), clock, max_size=1 << 40)
    config = uvicorn.Config(
        BlobTransfers(blobs, clock),
        host="127.0.0.1",
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        ws="none",
    )
    await Announcing(config).serve()
    await blobs.close()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2])))

"""Plain file copy over HTTP, the peer of artifacts: ``python -m benchmarks.copying DIRECTORY PORT``.

PUT writes the body to a file, with ``?sync`` through to the disk; GET sends the file. Nothing is checked, and
what is cut stays.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import uvloop
from aiohttp import web

CHUNK: Final = 512 * 1024
FILE = web.AppKey("file", Path)


async def take(request: web.Request) -> web.Response:
    with open(request.app[FILE], "wb") as file:  # noqa: ASYNC230 (plain on purpose)
        async for chunk in request.content.iter_chunked(CHUNK):
            file.write(chunk)
        if "sync" in request.query:
            file.flush()
            os.fsync(file.fileno())
    return web.Response()


async def give(request: web.Request) -> web.FileResponse:
    return web.FileResponse(request.app[FILE])


async def serve(directory: Path, port: int) -> None:
    app = web.Application()
    app[FILE] = directory / "copy"
    app.add_routes([web.put("/copy", take), web.get("/copy", give)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("serves", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2])))

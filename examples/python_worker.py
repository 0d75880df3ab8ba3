"""A worker that runs Python: it counts the lines of the file that a task names, ``{"file": "README.md"}``.

Needs ``taskbus serve`` and ``eval "$(taskbus signin)"``. Ctrl-C ends it in order: what runs may finish.
"""

import asyncio
import signal
from pathlib import Path

from taskbus import ClaimedRun, Queue, TaskException, TaskFailed, Worker


async def count_lines(run: ClaimedRun) -> None:
    """The work. While it runs, the claim is renewed; when it returns, the run is completed."""
    file = run.payload.get("file")
    if not isinstance(file, str):
        raise TaskException("malformed-payload", "payload: expected the name of a file as `file`")
    try:
        content = await asyncio.to_thread(Path(file).read_bytes)
    except OSError as error:
        raise TaskFailed(str(error)) from error
    lines = content.count(b"\n")
    print(f"{run.task_id}: {lines} lines in {file}", flush=True)


async def main(root_url: str | None = None) -> None:
    """Work until SIGINT or SIGTERM."""
    async with Queue(root_url) as queue:
        worker = Worker(
            queue, "demo/python", count_lines, worker_group="examples", worker_id="python", concurrency=8
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())

"""``python -m tests.chaos.worker``: a worker that tells its record, line by line, on its standard output."""

import argparse
import asyncio
import signal
import sys

from taskbus import ClaimedRun, TaskException, TaskFailed, Worker
from tests.chaos.record import RecordedQueue, Said


async def handle(run: ClaimedRun) -> None:
    """``payload``: ``seconds`` of work; how the first run ends, and how the others do."""
    await asyncio.sleep(run.payload["seconds"])
    match run.payload["ends"][min(run.run_id, 1)]:
        case "completed":
            return
        case "failed":
            raise TaskFailed("as the payload says")
        case reason:
            raise TaskException(reason)


def tell(said: Said) -> None:
    sys.stdout.write(said.to_json() + "\n")
    sys.stdout.flush()


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.worker", description=__doc__)
    parser.add_argument("--root-url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--worker-id", required=True)
    parser.add_argument("--hands", type=int, required=True)
    given = parser.parse_args()
    async with RecordedQueue(given.root_url, given.worker_id, tell) as queue:
        worker = Worker(
            queue, given.queue, handle,
            worker_group="chaos", worker_id=given.worker_id, concurrency=given.hands,
        )  # fmt: skip
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        print("takes tasks", flush=True)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())

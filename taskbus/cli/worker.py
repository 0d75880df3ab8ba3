"""``taskbus worker``: run the commands of tasks on this machine."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from taskbus.cli.console import INTERRUPTED, RootUrl, configure_logging, run, wrong_input
from taskbus.client import Queue
from taskbus.run_artifacts import RunArtifacts
from taskbus.shell import CommandHandler
from taskbus.tasks import parse_duration
from taskbus.worker import Worker, own_worker_id

logger = logging.getLogger(__name__)


def worker(
    queue: Annotated[str, typer.Option(metavar="PROVISIONER/TYPE", help="The task queue to take work from.")],
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="How many tasks may run at once.")] = 4,
    worker_group: Annotated[str, typer.Option(metavar="GROUP", help="First half of its name.")] = "local",
    worker_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Second half; host name and process id if left out.")
    ] = None,
    drain: Annotated[
        str, typer.Option(metavar="TIME", help="How long running tasks may go on after SIGTERM or Ctrl-C.")
    ] = "5s",
    task_folders: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            exists=True,
            file_okay=False,
            writable=True,
            resolve_path=True,
            help="Run each task in a new folder in here, removed after it; else in the current one.",
        ),
    ] = None,
    root_url: RootUrl = None,
) -> None:
    """Run the commands of tasks.

    A task's payload has command (a list, or a string for sh), env, maxRunTime (seconds) and artifacts (a list
    of name, path, and type: file or directory), which are uploaded together with the log.

    It calls as the client in TASKCLUSTER_CLIENT_ID and TASKCLUSTER_ACCESS_TOKEN, which needs the scopes
    queue:claim-work:PROVISIONER/TYPE and queue:worker-id:GROUP/ID.

    SIGTERM or Ctrl-C ends the worker in order: it takes no more work, waits for what runs, and gives the
    rest back to the queue. A second one ends it at once.
    """
    configure_logging(logging.INFO)
    with wrong_input():
        drain_seconds = parse_duration(drain).total_seconds()
        client = Queue(root_url)
    handler = CommandHandler(client.root_url, artifacts=RunArtifacts(client), folders=task_folders)
    if not run(
        _work(client, handler, queue, worker_group, worker_id or own_worker_id(), concurrency, drain_seconds)
    ):
        raise typer.Exit(INTERRUPTED)


async def _work(
    client: Queue,
    handler: CommandHandler,
    task_queue_id: str,
    group: str,
    worker_id: str,
    concurrency: int,
    drain: float,
) -> bool:
    """Whether the worker came to its end in order."""
    async with client:
        with handler:
            with wrong_input():
                worker = Worker(
                    client,
                    task_queue_id,
                    handler,
                    worker_group=group,
                    worker_id=worker_id,
                    concurrency=concurrency,
                    drain=drain,
                )
            logger.info(
                "worker %s/%s takes tasks of %s from %s", group, worker_id, task_queue_id, client.root_url
            )
            in_order = await _until_signalled(worker, drain)
    logger.info("worker stopped")
    return in_order


async def _until_signalled(worker: Worker, drain: float) -> bool:
    running = asyncio.create_task(worker.run())
    signalled = False

    def on_signal() -> None:
        nonlocal signalled
        if signalled:
            running.cancel()
            return
        signalled = True
        held = worker.running
        if held:
            logger.info("stopping in %g s at most, for the sake of %s; once more to end now", drain, held)
        worker.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await asyncio.wait({running})
    if running.cancelled():
        return False
    running.result()
    return True

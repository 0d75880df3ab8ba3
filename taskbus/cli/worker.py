"""``taskbus worker``: run the commands of tasks on this machine."""

import logging
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from taskbus.cli.console import INTERRUPTED, RootUrl, configure_logging, export_traces, run, wrong_input
from taskbus.cli.stopping import until_signalled
from taskbus.client import Queue
from taskbus.run_artifacts import RunArtifacts
from taskbus.shell import CommandHandler
from taskbus.tasks import parse_duration
from taskbus.worker import Worker, own_worker_id

logger = logging.getLogger(__name__)

CONCURRENCY: Final = 4
DRAIN: Final = "5s"


def worker(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND…", help="With --attach: what is run for each item.")
    ] = None,
    queue: Annotated[
        str | None, typer.Option(metavar="PROVISIONER/TYPE", help="The task queue to take commands from.")
    ] = None,
    jobs: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="Work on jobs instead, with this taskbus.jobs.Worker."),
    ] = None,
    attach: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Attach to the server there, and run COMMAND for items of work."),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="With --attach: what it takes. Repeatable.")
    ] = None,
    filter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,…",
            help="With --attach: only items whose attribute has one of the values. Repeatable.",
        ),
    ] = None,
    capacity: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="With --attach: how many items at once; 4 if left out."),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many commands may run at once; 4 if left out.")
    ] = None,
    worker_group: Annotated[
        str | None, typer.Option(metavar="GROUP", help="First half of its name; local if left out.")
    ] = None,
    worker_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Second half; host name and process id if left out.")
    ] = None,
    drain: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long running commands may go on after SIGTERM or Ctrl-C; 5s if left out.",
        ),
    ] = None,
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
    """Run the commands of tasks, a command for each item of attached work, or the jobs of a program of yours.

    A task's payload has command (a list, or a string for sh), env, maxRunTime (seconds) and artifacts (a list
    of name, path, and type: file or directory), which are uploaded together with the log.

    It calls as the client in TASKCLUSTER_CLIENT_ID and TASKCLUSTER_ACCESS_TOKEN, which needs the scopes
    queue:claim-work:PROVISIONER/TYPE and queue:worker-id:GROUP/ID.

    With --attach it is handed items over a WebSocket. COMMAND finds an item as JSON on its standard input and
    its id in TASKBUS_TASK_ID; its output, JSON or text, is the answer. Another exit status than 0 is an error
    with the end of the standard error output. It needs the scopes work:attach:NAME.

    Example: taskbus worker --attach http://127.0.0.1:8080 --task tag --filter cloud=aws,gcp -- ./tag.sh

    With --jobs it runs the worker that a module of yours defines, which says what it needs.

    SIGTERM or Ctrl-C ends the worker in order: it takes no more work, waits for what runs, and gives the
    rest back to the queue. A second one ends it at once.
    """
    configure_logging(logging.INFO)
    export_traces("taskbus worker")
    with wrong_input():
        if attach is not None:
            others_given = (queue, jobs, concurrency, worker_group, worker_id, task_folders)
            if any(option is not None for option in others_given):
                raise ValueError("--attach: only --task, --filter, --capacity and --drain go with it")
            drain_seconds = parse_duration(drain or DRAIN).total_seconds()
            work = _work_on_items(attach, command or (), task or (), filter or (), capacity, drain_seconds)
        elif any((command, task, filter, capacity)):
            raise ValueError("COMMAND, --task, --filter and --capacity need --attach URL")
        elif jobs is not None:
            others = (queue, concurrency, worker_group, worker_id, drain, task_folders)
            if any(option is not None for option in others):
                raise ValueError("--jobs: only --root-url may be given with it, the worker says the rest")
            work = _work_on_jobs(Queue(root_url), jobs)
        else:
            if queue is None:
                raise ValueError("expected --queue PROVISIONER/TYPE, --attach URL, or --jobs MODULE:NAME")
            client = Queue(root_url)
            drain_seconds = parse_duration(drain or DRAIN).total_seconds()
            handler = CommandHandler(client.root_url, artifacts=RunArtifacts(client), folders=task_folders)
            work = _work(
                client,
                handler,
                queue,
                worker_group or "local",
                worker_id or own_worker_id(),
                concurrency or CONCURRENCY,
                drain_seconds,
            )
    if not run(work):
        raise typer.Exit(INTERRUPTED)


def _work_on_jobs(client: Queue, reference: str) -> Coroutine[Any, Any, bool]:
    from taskbus.cli import job_worker

    return job_worker.work(client, job_worker.find_worker(reference))


def _work_on_items(
    root_url: str,
    command: Sequence[str],
    names: Sequence[str],
    filters: Sequence[str],
    capacity: int | None,
    drain: float,
) -> Coroutine[Any, Any, bool]:
    from taskbus.attached_command import ItemCommand
    from taskbus.cli import attached_worker

    if not command:
        raise ValueError("COMMAND: expected what is run for each item, behind --")
    handler = ItemCommand(command)
    worker = attached_worker.attached(root_url, names, filters, capacity, drain, handler)
    return attached_worker.work(worker, handler, names)


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
            in_order = await until_signalled(worker.run(), worker)
    logger.info("worker stopped")
    return in_order

"""``taskbus queue …``: task queues, what waits in them, and the workers that take it."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer

from schemas.base import Document
from schemas.workers import TaskQueueCountsResponse, WorkerResponse
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, out, plain_app, print_json_lines, run, wrong_input
from taskbus.client import Queue
from taskbus.tasks import parse_duration

queue = plain_app(
    name="queue", help="Task queues, what waits in them, and the workers that take it.", no_args_is_help=True
)

QueueId = Annotated[str, typer.Argument(metavar="PROVISIONER/TYPE", help="The task queue.")]
WorkerName = Annotated[str, typer.Argument(metavar="GROUP/ID", help="The worker.")]

D = TypeVar("D", bound=Document)


@queue.command("list")
def list_queues(as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """List the task queues that workers have asked for work lately."""
    found = _all(lambda client: client.list_task_queues(), root_url)
    if as_json:
        _print_json(found)
        return
    rows = ((entry.last_date_active, entry.task_queue_id) for entry in found)
    out().print(show.table(("LAST ASKED", "QUEUE"), rows))


@queue.command()
def counts(
    task_queue_id: Annotated[
        list[str], typer.Argument(metavar="PROVISIONER/TYPE", help="One or more task queues.")
    ],
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Count what waits and what is claimed."""

    async def ask() -> list[TaskQueueCountsResponse]:
        async with client:
            return [await client.task_queue_counts(name) for name in task_queue_id]

    client = connect(Queue, root_url)
    found = run(ask())
    if as_json:
        _print_json(found)
        return
    rows = ((entry.pending_tasks, entry.claimed_tasks, entry.task_queue_id) for entry in found)
    out().print(show.table(("PENDING", "CLAIMED", "QUEUE"), rows))


@queue.command()
def pending(task_queue_id: QueueId, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """List the runs that wait, the oldest first."""
    found = _all(lambda client: client.list_pending_tasks(task_queue_id), root_url)
    if as_json:
        _print_json(found)
        return
    rows = (
        (entry.task_id, entry.run_id, entry.inserted, entry.task.priority, entry.task.metadata.name)
        for entry in found
    )
    out().print(show.table(("TASK", "RUN", "SINCE", "PRIORITY", "NAME"), rows))


@queue.command()
def claimed(task_queue_id: QueueId, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """List the runs that workers have, the oldest claim first."""
    found = _all(lambda client: client.list_claimed_tasks(task_queue_id), root_url)
    if as_json:
        _print_json(found)
        return
    rows = (
        (
            entry.task_id,
            entry.run_id,
            entry.claimed,
            f"{entry.worker_group}/{entry.worker_id}",
            entry.task.metadata.name,
        )
        for entry in found
    )
    out().print(show.table(("TASK", "RUN", "SINCE", "WORKER", "NAME"), rows))


@queue.command()
def workers(
    task_queue_id: QueueId,
    quarantined: Annotated[
        bool | None,
        typer.Option("--quarantined/--not-quarantined", help="Only these; all if left out."),
    ] = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """List the workers of a task queue."""
    found = _all(lambda client: client.list_workers(task_queue_id, quarantined=quarantined), root_url)
    if as_json:
        _print_json(found)
        return
    rows = (
        (
            f"{entry.worker_group}/{entry.worker_id}",
            entry.last_date_active,
            entry.quarantine_until,
            f"{entry.latest_task.task_id}/{entry.latest_task.run_id}" if entry.latest_task else None,
        )
        for entry in found
    )
    out().print(show.table(("WORKER", "LAST ASKED", "QUARANTINED UNTIL", "LATEST RUN"), rows))


@queue.command()
def worker(
    task_queue_id: QueueId, worker_name: WorkerName, as_json: AsJson = False, root_url: RootUrl = None
) -> None:
    """Show one worker, and what it worked on."""
    group, worker_id = _halves(worker_name)

    async def ask() -> WorkerResponse:
        async with client:
            return await client.get_worker(task_queue_id, group, worker_id)

    client = connect(Queue, root_url)
    _print_worker(run(ask()), as_json)


@queue.command()
def quarantine(
    task_queue_id: QueueId,
    worker_name: WorkerName,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="How long, from now; such as 2h.")
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Give it work again.")] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for those who look it up.")] = "",
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Give a worker no more work for a while; what it works on it may finish."""
    with wrong_input():
        if (duration is None) != lift:
            raise ValueError("expected either --for TIME or --lift")
        until = datetime.now(UTC) + (timedelta(seconds=-1) if duration is None else parse_duration(duration))
    group, worker_id = _halves(worker_name)

    async def change() -> WorkerResponse:
        async with client:
            return await client.quarantine_worker(task_queue_id, group, worker_id, until, info=reason)

    client = connect(Queue, root_url)
    _print_worker(run(change()), as_json)


def _halves(worker_name: str) -> tuple[str, str]:
    with wrong_input():
        group, slash, worker_id = worker_name.partition("/")
        if not group or not slash or not worker_id:
            raise ValueError(f"expected a worker as GROUP/ID, got {worker_name!r}")
    return group, worker_id


def _all(call: Callable[[Queue], AsyncIterator[D]], root_url: str | None) -> list[D]:
    async def ask() -> list[D]:
        async with client:
            return [entry async for entry in call(client)]

    client = connect(Queue, root_url)
    return run(ask())


def _print_json(found: list[D]) -> None:
    print_json_lines(entry.to_wire() for entry in found)


def _print_worker(found: WorkerResponse, as_json: bool) -> None:
    if as_json:
        print_json_lines([found.to_wire()])
        return
    quarantined = found.quarantine_until if found.quarantine_until > datetime.now(UTC) else None
    out().print(
        show.facts(
            {
                "worker": f"{found.worker_group}/{found.worker_id}",
                "queue": found.task_queue_id,
                "quarantined until": quarantined,
                "first claim": found.first_claim,
                "last asked": found.last_date_active,
                "known until": found.expires,
                "runs": tuple(f"{one.task_id}/{one.run_id}" for one in found.recent_tasks),
            }
        )
    )

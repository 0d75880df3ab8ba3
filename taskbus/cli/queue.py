"""``taskbus queue …``: task queues, what waits in them, and the workers that take it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError

from schemas.base import Document
from schemas.task_queues import TaskQueueLimits, TaskQueueLoadResponse, TaskQueueState
from schemas.workers import TaskQueueCountsResponse, WorkerResponse
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, out, plain_app, print_json_lines, run, wrong_input
from taskbus.client import Queue
from taskbus.errors import describe
from taskbus.tasks import parse_duration

queue = plain_app(
    name="queue", help="Task queues, what waits in them, and the workers that take it.", no_args_is_help=True
)

QueueId = Annotated[str, typer.Argument(metavar="PROVISIONER/TYPE", help="The task queue.")]
QueueIdOrAll = Annotated[
    str | None, typer.Argument(metavar="[PROVISIONER/TYPE]", help="The task queue.", show_default=False)
]
EveryQueue = Annotated[bool, typer.Option("--all", help="All present task queues.")]
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


@queue.command()
def pause(
    task_queue_id: QueueIdOrAll = None,
    every: EveryQueue = False,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Hand out no more work; what workers have they may finish, and deadlines keep running."""
    _change(task_queue_id, every, Queue.pause_task_queue, Queue.pause_task_queues, as_json, root_url)


@queue.command()
def resume(
    task_queue_id: QueueIdOrAll = None,
    every: EveryQueue = False,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Hand out work again."""
    _change(task_queue_id, every, Queue.resume_task_queue, Queue.resume_task_queues, as_json, root_url)


@queue.command()
def load(task_queue_id: QueueId, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Show what waits and what runs, and what holds it back."""

    async def ask() -> TaskQueueLoadResponse:
        async with client:
            return await client.task_queue_load(task_queue_id)

    client = connect(Queue, root_url)
    found = run(ask())
    if as_json:
        _print_json([found])
        return
    out().print(
        show.facts(
            {
                "queue": found.task_queue_id,
                "pending": found.pending,
                "delayed": found.delayed,
                "running": found.running,
                "paused since": found.paused_at,
                **_told(found.limits or TaskQueueLimits()),
            }
        )
    )


@queue.command()
def limits(
    task_queue_id: QueueId,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="How many runs may be under way at once.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="N/TIME", help="How many may start in a time; such as 100/1m.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="For each value of it; such as {customer}, an argument or a tag."),
    ] = None,
    fair_share: Annotated[
        float | None, typer.Option(metavar="PART", help="Part of the claims served by age alone, up to 0.5.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take all limits away.")] = False,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Show the limits of a task queue, or replace them.

    Example: taskbus queue limits billing/mail --concurrency 2 --key '{customer}' --fair-share 0.1
    """
    with wrong_input():
        wanted = _wanted(concurrency, rate, key, fair_share)
        if remove and wanted is not None:
            raise ValueError("expected either --remove or limits")

    async def change() -> TaskQueueLimits:
        async with client:
            if remove:
                await client.remove_task_queue_limits(task_queue_id)
                return TaskQueueLimits()
            if wanted is not None:
                return await client.set_task_queue_limits(task_queue_id, wanted)
            return await client.get_task_queue_limits(task_queue_id)

    client = connect(Queue, root_url)
    found = run(change())
    if as_json:
        print_json_lines([found.to_wire()])
        return
    out().print(show.facts({"queue": task_queue_id, **_told(found)}))


def _wanted(
    concurrency: int | None, rate: str | None, key: str | None, fair_share: float | None
) -> TaskQueueLimits | None:
    """The limits of the options; None when there are none."""
    members: dict[str, object] = {}
    if concurrency is not None:
        members["concurrency"] = {"limit": concurrency} | ({} if key is None else {"key": key})
    if rate is not None:
        count, slash, per = rate.partition("/")
        if not slash or not count.isdigit():
            raise ValueError(f"--rate: expected a number and a time such as 100/1m, got {rate!r}")
        members["rate"] = {"count": int(count), "per": per} | ({} if key is None else {"key": key})
    if key is not None and not members:
        raise ValueError("--key: expected --concurrency or --rate beside it")
    if fair_share is not None:
        members["fairShare"] = fair_share
    try:
        return TaskQueueLimits.model_validate(members) if members else None
    except ValidationError as error:
        raise ValueError(describe(error)) from None


def _told(found: TaskQueueLimits) -> dict[str, object]:
    concurrency, rate = found.concurrency, found.rate
    return {
        "at once": None if concurrency is None else _of_key(str(concurrency.limit), concurrency.key),
        "starts": None if rate is None else _of_key(f"{rate.count} in {rate.per}", rate.key),
        "fair share": found.fair_share,
    }


def _of_key(text: str, key: str | None) -> str:
    return text if key is None else f"{text} for each {key}"


def _change(
    task_queue_id: str | None,
    every: bool,
    one: Callable[[Queue, str], Awaitable[TaskQueueState]],
    all_of_them: Callable[[Queue], Awaitable[tuple[TaskQueueState, ...]]],
    as_json: bool,
    root_url: str | None,
) -> None:
    with wrong_input():
        if (task_queue_id is None) != every:
            raise ValueError("expected either a task queue or --all")

    async def change() -> list[TaskQueueState]:
        async with client:
            return (
                list(await all_of_them(client))
                if task_queue_id is None
                else [await one(client, task_queue_id)]
            )

    client = connect(Queue, root_url)
    found = run(change())
    if as_json:
        _print_json(found)
        return
    rows = ((entry.paused_at, entry.task_queue_id) for entry in found)
    out().print(show.table(("PAUSED SINCE", "QUEUE"), rows))


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

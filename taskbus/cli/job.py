"""``taskbus job …``: insert jobs, and all that is done with typed jobs. Inserted ones are tasks."""

import logging
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from schemas.bulk import CreatedTask, TaskToCreate
from schemas.ids import slugid
from schemas.task import PRIORITIES
from taskbus.cli import job_watch, typed_job
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, configure_logging, plain_app, run, say, wrong_input
from taskbus.cli.documents import json_object
from taskbus.cli.moments import moment, pair
from taskbus.client import Queue
from taskbus.jobs.insertion import InsertOptions, job_task
from taskbus.jobs.job import KIND
from taskbus.jobs.options import DEFAULT_ATTEMPTS, DEFAULT_QUEUE, JobOptions

job = plain_app(
    name="job",
    help="Jobs: insert one, or submit one of a registered type. They are tasks, so see `taskbus task`.",
    no_args_is_help=True,
)
job.command("submit")(typed_job.submit)
job.command("show")(typed_job.show_job)
job.command("list")(typed_job.list_jobs)
job.command("cancel")(typed_job.cancel)
job.command("types")(typed_job.types)
job.command("register")(typed_job.register)
job.command("watch")(job_watch.watch)


@job.callback()
def prepare() -> None:
    """What a command cannot do it says in its error; the log of its parts would only repeat it."""
    configure_logging(logging.CRITICAL)


@job.command()
def insert(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="The type of the job, such as SendInvoice.")],
    args: Annotated[
        str, typer.Argument(metavar="JSON", help="Its arguments, such as '{\"customer\": 7}'.")
    ] = "{}",
    queue: Annotated[
        str, typer.Option(metavar="PROVISIONER/TYPE", help="Where workers take it.")
    ] = DEFAULT_QUEUE,
    max_attempts: Annotated[
        int, typer.Option(metavar="N", help="How often it is started before an error is final, 1 to 50.")
    ] = DEFAULT_ATTEMPTS,
    run_at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Not before: 2026-05-01T12:00:00Z, or 10m from now."),
    ] = None,
    held: Annotated[bool, typer.Option("--held", help="Not before `taskbus task schedule`.")] = False,
    priority: Annotated[str, typer.Option(metavar="LEVEL", help=f"{', '.join(PRIORITIES)}.")] = "lowest",
    deadline: Annotated[str, typer.Option(metavar="TIME", help="When to give it up.")] = "1d",
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Repeatable.")] = None,
    task_id: Annotated[str | None, typer.Option(metavar="TASK_ID", help="A new one if left out.")] = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Insert a job and print its id.

    Example: taskbus job insert SendInvoice '{"customer": 7}' --queue billing/mail
    """
    now = datetime.now(UTC)
    with wrong_input():
        options = JobOptions(queue=queue, max_attempts=max_attempts, priority=priority, deadline=deadline)  # type: ignore[arg-type]
        given: InsertOptions = {"tags": dict(pair(text) for text in tag or [])}
        if run_at is not None:
            given["run_at"] = moment(run_at, now, option="--run-at")
        if held:
            given["held"] = True
        task = job_task(_payload(kind, args), options, given, now)
        to_create = TaskToCreate(task_id=task_id or slugid(), task=task)
    client = connect(Queue, root_url)

    async def create() -> CreatedTask:
        async with client:
            (made,) = await client.create_tasks([to_create])
        return made

    made = run(create())
    if made.unique_skipped_as_duplicate and not as_json:
        say(f"not inserted: a duplicate of {made.task_id}")
    typer.echo(made.to_json() if as_json else made.task_id)


def _payload(kind: str, args: str) -> dict[str, Any]:
    if KIND.fullmatch(kind) is None:
        raise ValueError(f"KIND: expected 2 to 64 letters, digits, '_', '.' or '-', got {kind!r}")
    return {"kind": kind, "args": json_object("JSON", args)}

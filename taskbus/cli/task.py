"""``taskbus task …``: create tasks, look at them, and change them."""

import getpass
import logging
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, cast, get_args

import typer

from schemas.ids import slugid
from schemas.queue import CreateTaskRequest
from schemas.task import PRIORITIES, Requires, TaskStatus
from schemas.times import format_time, parse_time
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import (
    AMQP_URL_VARIABLE,
    FAILURE,
    USAGE,
    AsJson,
    RootUrl,
    configure_logging,
    fail,
    out,
    plain_app,
    run,
    say,
    wrong_input,
)
from taskbus.cli.documents import json_object, text_of
from taskbus.cli.task_bulk import create_all
from taskbus.cli.task_list import delete, list_tasks
from taskbus.client import Queue
from taskbus.tasks import TaskOptions, command_task, parse_duration

task = plain_app(name="task", help="Create tasks, look at them, and change them.", no_args_is_help=True)


@task.callback()
def prepare() -> None:
    """What a command cannot do it says in its error; the log of its parts would only repeat it."""
    configure_logging(logging.CRITICAL)


TaskIds = Annotated[list[str], typer.Argument(metavar="TASK_ID", help="One or more task ids.")]


@task.command()
def create(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            help="After --: a program and its arguments; a single argument is a shell script.",
        ),
    ] = None,
    queue: Annotated[
        str | None, typer.Option(metavar="PROVISIONER/TYPE", help="Where workers take it.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Definition as JSON, - for standard input; created and deadline may be left out.",
        ),
    ] = None,
    bulk: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Many tasks: a definition as JSON on each line, - for standard input; all or none of 1,000.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What people call it; the command if left out.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Variable for the command; repeatable.")
    ] = None,
    max_run_time: Annotated[str | None, typer.Option(metavar="TIME", help="Such as 90s or 10m.")] = None,
    artifact: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="What to keep; a PATH with / at its end is a directory."),
    ] = None,
    deadline: Annotated[str, typer.Option(metavar="TIME", help="When to give the task up.")] = "1h",
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="When to forget the task.")] = None,
    group: Annotated[str | None, typer.Option(metavar="GROUP_ID", help="Task group to join.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ID", help="Scheduler of that group.")] = None,
    dependency: Annotated[
        list[str] | None, typer.Option(metavar="TASK_ID", help="Task to wait for; repeatable.")
    ] = None,
    requires: Annotated[
        str | None, typer.Option(metavar="WHAT", help=f"{' or '.join(get_args(Requires))} dependencies.")
    ] = None,
    route: Annotated[
        list[str] | None, typer.Option(metavar="ROUTE", help="Further routing key of its events; repeatable.")
    ] = None,
    priority: Annotated[str | None, typer.Option(metavar="LEVEL", help=f"{', '.join(PRIORITIES)}.")] = None,
    retries: Annotated[
        int | None, typer.Option(metavar="N", help="Automatic retries, 0 to 49; 5 if left out.")
    ] = None,
    run_at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Not to start before: 2024-05-01T12:00:00Z, or 10m from now."),
    ] = None,
    held: Annotated[bool, typer.Option("--held", help="Let it wait for `taskbus task schedule`.")] = False,
    max_attempts: Annotated[
        int | None, typer.Option(metavar="N", help="How often to try it before a failure is final, 1 to 50.")
    ] = None,
    task_id: Annotated[str | None, typer.Option(metavar="TASK_ID", help="A new one if left out.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it is resolved; exit with 0 if it completed.")
    ] = False,
    amqp_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", envvar=AMQP_URL_VARIABLE, help="Wait by events of this broker, not by asking."
        ),
    ] = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Create a task and print its id.

    Example: taskbus task create --queue demo/local --wait -- make test
    """
    given: dict[str, Any] = {
        "name": name,
        "expires": expires,
        "task_group_id": group,
        "scheduler_id": scheduler,
        "dependencies": dependency,
        "requires": requires,
        "routes": route,
        "priority": priority,
        "retries": retries,
        "held": held or None,
        "max_attempts": max_attempts,
    }
    options = {key: value for key, value in given.items() if value is not None}
    if bulk is not None:
        if any((command, queue, file, env, max_run_time, artifact, run_at, options, task_id, wait)):
            fail("--bulk has whole definitions: only --deadline may be given with it", USAGE)
        create_all(text_of("--bulk", bulk), deadline, as_json, root_url)
        return
    with wrong_input():
        if file is not None:
            if command or queue or env or max_run_time or artifact or run_at or options:
                raise ValueError("--file is the whole definition: only --deadline may be given with it")
            definition = _read_definition(text_of("--file", file), deadline, datetime.now(UTC))
        else:
            if not command or not queue:
                raise ValueError("expected --queue PROVISIONER/TYPE and -- COMMAND, or --file FILE")
            if run_at is not None:
                options["run_at"] = _moment(run_at, datetime.now(UTC))
            definition = command_task(
                command[0] if len(command) == 1 else command,
                queue=queue,
                env=_pairs("--env", env or []),
                max_run_time=max_run_time,
                artifacts=_pairs("--artifact", artifact or []),
                **cast(TaskOptions, {**options, "owner": _owner(), "deadline": deadline}),
            )
    client = connect(Queue, root_url)
    task_id = task_id or slugid()
    if wait:
        from events.errors import EventsError

        resolved = run(_create_and_wait(client, task_id, definition, amqp_url, as_json), EventsError)
        if resolved.state != "completed":
            raise typer.Exit(FAILURE)
    else:
        run(_create(client, task_id, definition, as_json))


async def _create(client: Queue, task_id: str, definition: CreateTaskRequest, as_json: bool) -> None:
    async with client:
        status = await client.create_task(task_id, definition)
    typer.echo(status.to_json() if as_json else task_id)


async def _create_and_wait(
    client: Queue, task_id: str, definition: CreateTaskRequest, amqp_url: str | None, as_json: bool
) -> TaskStatus:
    from taskbus.cli.watch import states_of

    async with client, states_of(task_id, client, amqp_url) as states:
        status = await client.create_task(task_id, definition)
        if not as_json:
            typer.echo(task_id)
        async for status in states:
            say(_progress(status))
    if as_json:
        typer.echo(status.to_json())
    return status


def _progress(status: TaskStatus) -> str:
    if not status.runs:
        return status.state
    run = status.runs[-1]
    by = f" on {run.worker_group}/{run.worker_id}" if run.worker_id else ""
    reason = f" ({run.reason_resolved})" if run.reason_resolved not in (None, run.state) else ""
    return f"run {run.run_id} {run.state}{reason}{by}"


def _read_definition(text: str, deadline: str, now: datetime) -> CreateTaskRequest:
    members = json_object("--file", text)
    members.setdefault("created", format_time(now))
    members.setdefault("deadline", format_time(now + parse_duration(deadline)))
    return CreateTaskRequest.model_validate(members)


def _moment(text: str, now: datetime) -> datetime:
    """A time, or a duration from now."""
    try:
        return parse_time(text)
    except ValueError:
        return now + parse_duration(text)


def _pairs(option: str, pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ValueError(f"{option}: expected NAME=VALUE, got {pair!r}")
        found[name] = value
    return found


def _owner() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such account: usual in containers
        user = "nobody"
    return f"{user}@{socket.gethostname()}"


@task.command()
def status(task_id: TaskIds, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Show the state of tasks and their runs."""
    _for_each(task_id, Queue.status, as_json, root_url)


@task.command()
def cancel(task_id: TaskIds, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Cancel tasks that are not resolved."""
    _for_each(task_id, Queue.cancel_task, as_json, root_url)


@task.command()
def rerun(task_id: TaskIds, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Give resolved tasks another run."""
    _for_each(task_id, Queue.rerun_task, as_json, root_url)


@task.command()
def schedule(task_id: TaskIds, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Make unscheduled tasks pending."""
    _for_each(task_id, Queue.schedule_task, as_json, root_url)


def _for_each(
    task_ids: list[str],
    call: Callable[[Queue, str], Awaitable[TaskStatus]],
    as_json: bool,
    root_url: str | None,
) -> None:
    async def work() -> None:
        async with client:
            for task_id in task_ids:
                _print_status(await call(client, task_id), as_json)

    client = connect(Queue, root_url)
    run(work())


def _print_status(status: TaskStatus, as_json: bool) -> None:
    if as_json:
        typer.echo(status.to_json())
    else:
        for line in show.status_lines(status):
            out().print(line)


@task.command()
def attempts(task_id: TaskIds, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Show how tasks fared: attempts, errors, delay, workers, output."""

    async def work() -> None:
        async with client:
            for each in task_id:
                told = await client.attempts(each)
                if as_json:
                    typer.echo(told.to_json())
                else:
                    for line in show.attempts_lines(told):
                        out().print(line)

    client = connect(Queue, root_url)
    run(work())


task.command("list")(list_tasks)
task.command()(delete)

"""What ``taskbus job …`` does with typed jobs: types, submissions, how they stand, cancellations."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.text import Text

from schemas.job_catalogue import TO_REGISTER
from schemas.jobs import JobResponse, JobState, JobTypeDefinition, JobTypeResponse, SubmitJobRequest
from schemas.task import PRIORITIES
from schemas.times import format_time
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, out, print_json_lines, run, wrong_input
from taskbus.cli.documents import json_object, text_of
from taskbus.cli.moments import moment, pair
from taskbus.typed_jobs import Jobs

JobId = Annotated[str, typer.Argument(metavar="JOB_ID")]
Tags = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Repeatable.")]
STYLES: Final = {
    "PENDING": "yellow",
    "RUNNING": "cyan",
    "DONE": "green",
    "ERROR": "red",
    "CANCELLED": "magenta",
    "SKIPPED": "dim",
}


def submit(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="A registered type, such as FILE_ETL.")],
    params: Annotated[
        str, typer.Argument(metavar="JSON", help='Its parameters, such as \'{"fileId": "orders.csv"}\'.')
    ] = "{}",
    env_id: Annotated[str | None, typer.Option(metavar="ID", help="The environment it is for.")] = None,
    job_id: Annotated[str | None, typer.Option(metavar="JOB_ID", help="A new one if left out.")] = None,
    priority: Annotated[str | None, typer.Option(metavar="LEVEL", help=f"{', '.join(PRIORITIES)}.")] = None,
    max_attempts: Annotated[
        int | None, typer.Option(metavar="N", help="How often it is started before an error is final.")
    ] = None,
    run_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not before: 2026-05-01T12:00:00Z, or 10m from now.")
    ] = None,
    tag: Tags = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Submit a job of a registered type and print its id.

    Example: taskbus job submit FILE_ETL '{"fileId": "orders.csv"}' --env-id prod
    """
    with wrong_input():
        members = {
            "type": type_,
            "params": json_object("JSON", params),
            "envId": env_id,
            "jobId": job_id,
            "priority": priority,
            "maxAttempts": max_attempts,
            "runAt": None if run_at is None else moment(run_at, datetime.now(UTC), option="--run-at"),
            "tags": dict(pair(text) for text in tag or []),
        }
        given = {name: value for name, value in members.items() if value is not None}
        request = SubmitJobRequest.model_validate(given)

    async def ask() -> JobResponse:
        async with client:
            return await client.submit(request)

    client = connect(Jobs, root_url)
    job = run(ask())
    typer.echo(job.to_json() if as_json else job.job_id)


def show_job(job_id: JobId, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Show how a typed job stands: its steps, its progress, its errors and its output."""

    async def ask() -> JobResponse:
        async with client:
            return await client.job(job_id)

    client = connect(Jobs, root_url)
    job = run(ask())
    if as_json:
        typer.echo(job.to_json())
        return
    for line in _lines(job):
        out().print(line)


def list_jobs(
    type_: Annotated[str | None, typer.Option("--type", metavar="TYPE")] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="PENDING, RUNNING, DONE, ERROR or CANCELLED.")
    ] = None,
    env_id: Annotated[str | None, typer.Option(metavar="ID")] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME=VALUE")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """List typed jobs, the newest first."""
    with wrong_input():
        wanted = None if state is None else _state(state.upper())
        wanted_tag = None if tag is None else pair(tag)

    async def ask() -> list[JobResponse]:
        found: list[JobResponse] = []
        async with client:
            async for job in client.jobs(
                type=type_, state=wanted, env_id=env_id, tag=wanted_tag, page_size=min(limit, 1000)
            ):
                found.append(job)
                if len(found) == limit:
                    break
        return found

    client = connect(Jobs, root_url)
    found = run(ask())
    if as_json:
        print_json_lines(job.to_wire() for job in found)
        return
    rows = (
        (
            job.job_id,
            _styled(job.state),
            f"{job.progress.percent or 0:g} %",
            job.created,
            job.env_id,
            job.type,
        )
        for job in found
    )
    out().print(show.table(("JOB", "STATE", "PROGRESS", "CREATED", "ENV", "TYPE"), rows))


def cancel(
    job_id: JobId,
    graceful: Annotated[
        bool, typer.Option("--graceful", help="Let the worker that has it finish, and cancel what is left.")
    ] = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Told with the job.")] = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Cancel a typed job. One that has ended stays as it is."""

    async def ask() -> JobResponse:
        async with client:
            return await client.cancel(job_id, mode=mode, reason=reason)

    mode: Literal["now", "graceful"] = "graceful" if graceful else "now"
    client = connect(Jobs, root_url)
    job = run(ask())
    typer.echo(job.to_json() if as_json else job.state)


def types(
    name: Annotated[str, typer.Argument(metavar="TYPE", help="All if left out.")] = "",
    catalogue: Annotated[
        bool, typer.Option("--catalogue", help="Those that `taskbus job register` knows, registered or not.")
    ] = False,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """List the registered types of jobs, or print the definition of one as JSON."""
    if catalogue:
        for listed, definition in TO_REGISTER.items():
            typer.echo(f"{listed}  {', '.join(definition.params_schema['required'])}")
        return

    async def ask() -> list[JobTypeResponse]:
        async with client:
            return [await client.job_type(name)] if name else [one async for one in client.job_types()]

    client = connect(Jobs, root_url)
    found = run(ask())
    if as_json:
        print_json_lines(one.to_wire() for one in found)
    elif name:
        typer.echo(json.dumps(found[0].definition.to_wire(), indent=2))
    else:
        rows = (
            (
                one.type,
                one.version,
                one.live_workers,
                one.definition.task_queue_id,
                ", ".join(step.name for step in one.definition.steps) or "Run",
            )
            for one in found
        )
        out().print(show.table(("TYPE", "VERSION", "WORKERS", "QUEUE", "STEPS"), rows))


def register(
    name: Annotated[str, typer.Argument(metavar="TYPE")],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="JSON: taskQueueId, paramsSchema, steps …; of the catalogue without."
        ),
    ] = None,
    root_url: RootUrl = None,
) -> None:
    """Register a type of jobs from a file, or one of the catalogue by its name; print its version."""

    async def ask() -> JobTypeResponse:
        async with client:
            return await client.register_type(name, definition)

    with wrong_input():
        definition = _of_catalogue(name) if file is None else _of_file(file)
    client = connect(Jobs, root_url)
    typer.echo(run(ask()).version)


def _of_catalogue(name: str) -> JobTypeDefinition:
    if name not in TO_REGISTER:
        raise ValueError(f"TYPE: {name!r} is none of the catalogue, which has {', '.join(TO_REGISTER)}")
    return TO_REGISTER[name]


def _of_file(file: Path) -> JobTypeDefinition:
    return JobTypeDefinition.model_validate(json_object(str(file), text_of("FILE", str(file))))


def _lines(job: JobResponse) -> list[Text]:
    """A job and its steps, for people."""
    head = Text.assemble(job.job_id, "  ", _styled(job.state), f"  {job.type} version {job.type_version}")
    if job.reason:
        head.append(f"  {job.reason}", STYLES["ERROR"])
    if job.cancel_requested:
        head.append("  to be cancelled", STYLES["CANCELLED"])
    facts = f"  attempt {job.attempt} of {job.max_attempts}  created {format_time(job.created)}"
    if job.env_id:
        facts += f"  env {job.env_id}"
    lines = [head, Text(facts, "dim"), Text(f"  {_progress(job)}")]
    for step in job.steps:
        line = Text.assemble(f"  {step.name}  ", _styled(step.state))
        if step.percent is not None and step.state == "RUNNING":
            line.append(f"  {step.percent:g} %")
        if step.started and step.finished:
            line.append(f"  {(step.finished - step.started).total_seconds():.1f} s")
        line.append(f"  {step.error or step.message or ''}")
        lines.append(line)
    for error in job.errors or ():
        lines.append(Text(f"  attempt {error.attempt}: {error.error}", STYLES["ERROR"]))
    if job.output is not None:
        lines.append(Text(f"  output {json.dumps(job.output, ensure_ascii=False)}"))
    return lines


def _progress(job: JobResponse) -> str:
    told = job.progress
    counted = "" if told.current is None else f" ({told.current:g} of {told.total:g})"
    return f"{told.percent or 0:g} %{counted}  {told.message or ''}".rstrip()


def _styled(state: str) -> Text:
    return Text(state, STYLES.get(state, ""))


def _state(text: str) -> JobState:
    match text:
        case "PENDING" | "RUNNING" | "DONE" | "ERROR" | "CANCELLED":
            return text
    raise ValueError(f"--state: expected PENDING, RUNNING, DONE, ERROR or CANCELLED, got {text!r}")

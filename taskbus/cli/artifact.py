"""``taskbus artifact …``: what the runs of tasks leave behind."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from schemas.artifacts import ArtifactResponse
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, out, plain_app, print_json_lines, run, wrong_input
from taskbus.client import Queue
from taskbus.tasks import parse_duration

artifact = plain_app(
    name="artifact", help="What the runs of tasks leave behind: logs and files.", no_args_is_help=True
)

TaskId = Annotated[str, typer.Argument(metavar="TASK_ID")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Such as public/logs/live.log.")]
Run = Annotated[int | None, typer.Option("--run", min=0, metavar="N", help="The latest run if left out.")]


@artifact.command("list")
def list_artifacts(
    task_id: TaskId, run_id: Run = None, as_json: AsJson = False, root_url: RootUrl = None
) -> None:
    """List the artifacts of a run."""

    async def ask() -> list[ArtifactResponse]:
        async with queue:
            if run_id is None:
                return [found async for found in queue.list_latest_artifacts(task_id)]
            return [found async for found in queue.list_artifacts(task_id, run_id)]

    queue = connect(Queue, root_url)
    found = run(ask())
    if as_json:
        print_json_lines(entry.to_wire() for entry in found)
        return
    rows = (
        (entry.storage_type, entry.content_type, entry.content_length, entry.expires, entry.name)
        for entry in found
    )
    out().print(show.table(("KIND", "TYPE", "BYTES", "EXPIRES", "NAME"), rows))


@artifact.command()
def get(
    task_id: TaskId,
    name: Name,
    run_id: Run = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to write it; to the terminal if left out."
        ),
    ] = None,
    root_url: RootUrl = None,
) -> None:
    """Download an artifact.

    Example: taskbus artifact get TASK_ID public/logs/live.log
    """

    async def download() -> None:
        async with queue:
            if output is not None:
                await queue.save_artifact(task_id, name, output, run_id=run_id)
                return
            async with queue.download_artifact(task_id, name, run_id=run_id) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(_write, chunk)

    queue = connect(Queue, root_url)
    run(download(), OSError)


def _write(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


@artifact.command()
def put(
    task_id: TaskId,
    name: Name,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help="What to upload."),
    ],
    run_id: Run = None,
    content_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Guessed from the name if left out.")
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When to forget it, from now; with the task if left out."),
    ] = None,
    root_url: RootUrl = None,
) -> None:
    """Upload a file as an artifact of a run that is going on."""

    async def upload() -> None:
        async with queue:
            number = run_id
            if number is None:
                number = len((await queue.status(task_id)).runs) - 1
            until = end or (await queue.task(task_id)).expires
            await queue.upload_artifact(task_id, number, name, file, expires=until, content_type=content_type)

    with wrong_input():
        end = None if expires is None else datetime.now(UTC) + parse_duration(expires)
    queue = connect(Queue, root_url)
    run(upload(), OSError)


@artifact.command()
def url(
    task_id: TaskId,
    name: Name,
    run_id: Run = None,
    expires: Annotated[str, typer.Option(metavar="TIME", help="How long the URL is good.")] = "15m",
    root_url: RootUrl = None,
) -> None:
    """Print a URL with which anybody can get an artifact for a while, in a browser for instance."""
    with wrong_input():
        lifetime = parse_duration(expires)
    queue = connect(Queue, root_url)
    typer.echo(queue.signed_artifact_url(task_id, name, run_id=run_id, lifetime=lifetime))

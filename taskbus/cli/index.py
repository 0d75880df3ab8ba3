"""``taskbus index …``: tasks found by names that their creators chose."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from schemas.index import IndexedTaskResponse, Namespace
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, fail, out, plain_app, print_json_lines, run, wrong_input
from taskbus.cli.documents import json_object
from taskbus.index import Index
from taskbus.tasks import parse_duration

index = plain_app(
    name="index", help="Tasks found by names, such as project.build.latest.", no_args_is_help=True
)


@index.command()
def find(
    path: Annotated[list[str], typer.Argument(metavar="PATH", help="One or more index paths.")],
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Print the ids of the tasks at these paths, in their order."""

    async def ask() -> dict[str, IndexedTaskResponse]:
        async with client:
            return await client.find_tasks_at_index(path)

    client = connect(Index, root_url)
    found = run(ask())
    there = [found[one] for one in path if one in found]
    if as_json:
        print_json_lines(entry.to_wire() for entry in there)
    else:
        for entry in there:
            typer.echo(entry.task_id)
    missing = [one for one in path if one not in found]
    if missing:
        fail(f"not found: {', '.join(missing)}")


@index.command("list")
def list_index(
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="The root if left out.")] = "",
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """List what is right in a namespace: further namespaces, and tasks."""

    async def ask() -> tuple[list[Namespace], list[IndexedTaskResponse]]:
        async with client:
            return (
                [found async for found in client.list_namespaces(namespace)],
                [found async for found in client.list_tasks(namespace)],
            )

    client = connect(Index, root_url)
    namespaces, tasks = run(ask())
    if as_json:
        print_json_lines(entry.to_wire() for entry in [*namespaces, *tasks])
        return
    rows: list[tuple[object, ...]] = [(entry.expires, None, f"{entry.namespace}.") for entry in namespaces]
    rows += [(entry.expires, entry.task_id, entry.namespace) for entry in tasks]
    out().print(show.table(("EXPIRES", "TASK", "PATH"), rows))


@index.command()
def insert(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Where to find the task.")],
    task_id: Annotated[str, typer.Argument(metavar="TASK_ID")],
    rank: Annotated[float, typer.Option(metavar="N", help="It replaces a task of no higher rank.")] = 0,
    data: Annotated[str, typer.Option(metavar="JSON", help="An object to keep with it.")] = "{}",
    expires: Annotated[str, typer.Option(metavar="TIME", help="When to forget it, from now.")] = "365d",
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Let a task be found at a path; print the task that is there now."""

    async def change() -> IndexedTaskResponse:
        async with client:
            return await client.insert_task(path, task_id, expires=end, rank=rank, data=members)

    with wrong_input():
        members = json_object("--data", data)
        end = datetime.now(UTC) + parse_duration(expires)
    client = connect(Index, root_url)
    found = run(change())
    if as_json:
        print_json_lines([found.to_wire()])
    else:
        typer.echo(found.task_id)

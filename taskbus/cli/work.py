"""``taskbus work …``: items for attached workers, and who has them. Workers: ``taskbus worker --attach``."""

import json
from typing import Annotated, Any

import typer

from schemas.task import PRIORITIES
from schemas.work import AttachedWorker, HeldItem, WorkInFlight, WorkResponse
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, out, plain_app, print_json_lines, run, say, wrong_input
from taskbus.cli.documents import json_value
from taskbus.work import Work

work = plain_app(
    name="work",
    help="Items of work for workers that attach, as `taskbus worker --attach` does.",
    no_args_is_help=True,
)


@work.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What workers take it as, such as tag.")],
    data: Annotated[str, typer.Argument(metavar="JSON", help="What the worker is given.")] = "{}",
    attr: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="What filters look at. Repeatable.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="For a worker to answer; 30s if left out.")
    ] = None,
    hold_timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="For a worker to be there; as long if left out.")
    ] = None,
    retries: Annotated[
        int | None, typer.Option(metavar="N", help="How often another worker may get it; 5 if left out.")
    ] = None,
    priority: Annotated[
        str | None, typer.Option(metavar="LEVEL", help=f"{', '.join(PRIORITIES)}; lowest if left out.")
    ] = None,
    spillover: Annotated[
        bool,
        typer.Option("--spillover", help="A less specific worker may have it while the others are full."),
    ] = False,
    task_id: Annotated[str | None, typer.Option(metavar="TASK_ID", help="A new one if left out.")] = None,
    wait: Annotated[
        float, typer.Option(min=0, max=60, metavar="SECONDS", help="Wait, and print what the worker answers.")
    ] = 0,
    root_url: RootUrl = None,
) -> None:
    """Create an item and print its id, or what came of it.

    Example: taskbus work create tag '{"id": 7}' --attr cloud=aws --wait 30
    """
    with wrong_input():
        given = json_value("JSON", data)
        attrs = dict(_pair(text) for text in attr or ())
        if priority is not None and priority not in PRIORITIES:
            raise ValueError(f"--priority: expected one of {', '.join(PRIORITIES)}, got {priority!r}")

    async def ask() -> WorkResponse:
        async with client:
            return await client.create(
                name,
                data=given,
                attrs=attrs,
                timeout=timeout,
                hold_timeout=hold_timeout,
                retries=retries,
                priority=priority,
                spillover=spillover,
                task_id=task_id,
                wait=wait,
            )

    client = connect(Work, root_url)
    answer = run(ask())
    if wait and answer.status.state == "completed":
        typer.echo(json.dumps(answer.output, ensure_ascii=False))
        return
    if wait:
        say(f"not done yet: {answer.status.state}")
    typer.echo(answer.status.task_id)


@work.command("list")
def list_work(as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """List the items that workers have."""

    async def ask() -> tuple[WorkInFlight, ...]:
        async with client:
            return await client.list_work()

    client = connect(Work, root_url)
    found = run(ask())
    if as_json:
        print_json_lines(one.to_wire() for one in found)
        return
    rows = (
        (one.task.task_id, one.task.task_name, one.worker, one.deadline, _facts(one.progress or {}))
        for one in found
    )
    out().print(show.table(("TASK", "NAME", "WORKER", "DEADLINE", "PROGRESS"), rows))


@work.command()
def held(as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """List the items that wait for a worker."""

    async def ask() -> tuple[HeldItem, ...]:
        async with client:
            return await client.held()

    client = connect(Work, root_url)
    found = run(ask())
    if as_json:
        print_json_lines(one.to_wire() for one in found)
        return
    rows = ((one.task_id, one.name, one.held_until, _facts(one.attrs)) for one in found)
    out().print(show.table(("TASK", "NAME", "HELD UNTIL", "ATTRIBUTES"), rows))


@work.command()
def workers(as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """List the workers that are attached to the process that answers."""

    async def ask() -> tuple[AttachedWorker, ...]:
        async with client:
            return await client.workers()

    client = connect(Work, root_url)
    found = run(ask())
    if as_json:
        print_json_lines(one.to_wire() for one in found)
        return
    rows = (
        (one.worker_id, one.protocol, f"{one.in_flight}/{one.capacity}", one.attached, _takes(one))
        for one in found
    )
    out().print(show.table(("WORKER", "PROTOCOL", "ITEMS", "SINCE", "TAKES"), rows))


def _takes(worker: AttachedWorker) -> str:
    draining = "drains; " if worker.draining else ""
    described = (
        " ".join((one["name"], *(f"{key}={','.join(values)}" for key, values in one["filter"].items())))
        for one in worker.tasks
    )
    return draining + "; ".join(described)


def _facts(facts: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in facts.items())


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ValueError(f"--attr: expected KEY=VALUE, got {text!r}")
    return key, value

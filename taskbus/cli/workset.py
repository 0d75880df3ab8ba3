"""``taskbus workset …``: sets of work that consumers lease batches from."""

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar, cast, get_args

import typer

from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, fail, plain_app, print_json_lines, run, wrong_input
from taskbus.cli.documents import json_value
from taskbus.kv import Kv, split
from taskbus.worksets import Ack, Batch, Workset

workset = plain_app(
    name="workset", help="Sets of work that consumers lease batches from.", no_args_is_help=True
)

Namespace = Annotated[str, typer.Argument(metavar="TENANT:NAMESPACE")]
Name = Annotated[str, typer.Argument(metavar="SET")]
Lease = Annotated[str, typer.Argument(metavar="LEASE_ID", help="As pop has printed it.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="All of the lease if left out.")]
LeaseTime = Annotated[str, typer.Option("--lease", metavar="TIME", help="How long the members are held.")]
T = TypeVar("T")


@workset.command()
def add(
    namespace: Namespace,
    name: Name,
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="- reads one from each line of the input.")],
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="For each of them.")] = None,
    priority: Annotated[str | None, typer.Option(metavar="PRIORITY", help="From highest to lowest.")] = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Add members. Who is present stays; who is leased comes again after its ack."""
    named = [line.rstrip("\n") for line in sys.stdin if line.strip()] if ids == ["-"] else ids
    further: dict[str, Any] = {} if priority is None else {"priority": priority}
    with wrong_input():
        if payload is not None:
            further["payload"] = json_value("--payload", payload)
    answer = _call(namespace, name, root_url, lambda work: work.add([{"id": id, **further} for id in named]))
    if as_json:
        print_json_lines([answer.to_wire()])
    else:
        typer.echo(
            f"{answer.added} added, {len(answer.existing)} present already, {len(answer.requeued)} come again"
        )


@workset.command()
def pop(
    namespace: Namespace,
    name: Name,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many members.")] = 1,
    lease: LeaseTime = "60s",
    ack: Annotated[str, typer.Option(metavar="MODE", help="batch: acked together; each: singly.")] = "batch",
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="For the first member; at most 20.")] = 0,
    root_url: RootUrl = None,
) -> None:
    """Lease members; print each as JSON, with the id of the lease. Fails if there are none."""
    with wrong_input():
        mode = _mode(ack)
        batch: Batch | None = _call(
            namespace, name, root_url, lambda work: work.pop(limit, lease=lease, ack=mode, wait=wait)
        )
    if batch is None:
        fail(f"nothing is available in {name}")
    print_json_lines({"leaseId": batch.lease_id, **member.to_wire()} for member in batch)


@workset.command()
def ack(namespace: Namespace, lease_id: Lease, ids: Ids = None, root_url: RootUrl = None) -> None:
    """Remove members of a lease: their work is done."""
    answer = _call(namespace, "-", root_url, lambda work: work.ack(lease_id, ids or None))
    typer.echo(f"{answer.acked} acked, {answer.left} left")


@workset.command()
def nack(
    namespace: Namespace,
    lease_id: Lease,
    ids: Ids = None,
    delay: Annotated[str | None, typer.Option(metavar="TIME", help="When they come again, from now.")] = None,
    error: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.")] = None,
    root_url: RootUrl = None,
) -> None:
    """Give members of a lease back."""
    with wrong_input():
        answer = _call(
            namespace, "-", root_url, lambda work: work.nack(lease_id, ids or None, delay=delay, error=error)
        )
    typer.echo(f"{answer.returned} returned, {answer.dead} dead, {answer.left} left")


@workset.command()
def extend(namespace: Namespace, lease_id: Lease, lease: LeaseTime = "60s", root_url: RootUrl = None) -> None:
    """Hold a lease longer, from now; print when it ends."""
    with wrong_input():
        answer = _call(namespace, "-", root_url, lambda work: work.extend(lease_id, lease))
    typer.echo(answer.to_wire()["expires"])


@workset.command()
def counts(namespace: Namespace, name: Name, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Print how many members are in each state."""
    found = _call(namespace, name, root_url, lambda work: work.counts())
    if as_json:
        print_json_lines([found.to_wire()])
        return
    for state in ("available", "delayed", "leased", "dead"):
        typer.echo(f"{state:<10}{getattr(found, state):>10}")


@workset.command()
def configure(
    namespace: Namespace,
    name: Name,
    max_deliveries: Annotated[
        int, typer.Option(metavar="N", help="A member that was delivered so often is dead; 0 is never.")
    ],
    root_url: RootUrl = None,
) -> None:
    """Set how often members are delivered."""
    _call(namespace, name, root_url, lambda work: work.configure(max_deliveries=max_deliveries))


def _call(namespace: str, name: str, root_url: str | None, call: Callable[[Workset], Awaitable[T]]) -> T:
    """What a call of a set answers."""

    async def ask() -> T:
        async with client:
            return await call(client.workset(namespace, name))

    with wrong_input():
        split(namespace)
    client = connect(Kv, root_url)
    return run(ask())


def _mode(text: str) -> Ack:
    for mode in get_args(Ack):
        if text == mode:
            return cast(Ack, mode)
    raise ValueError(f"--ack: expected batch or each, got {text!r}")

"""``taskbus kv …``: values by key, and named locks."""

import asyncio
import json
import sys
from typing import Annotated, Any

import typer

from schemas.kv import EntryResponse, ValueResponse
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, fail, out, plain_app, print_json_lines, run, wrong_input
from taskbus.cli.documents import json_value
from taskbus.kv import Kv, split

kv = plain_app(name="kv", help="Values by key, in namespaces such as acme:deployments.", no_args_is_help=True)

Namespace = Annotated[str, typer.Argument(metavar="TENANT:NAMESPACE")]
Key = Annotated[str, typer.Argument(metavar="KEY")]
IfVersion = Annotated[
    int | None, typer.Option("--if-version", metavar="N", help="Only if this is its version; 0 for none.")
]


@kv.command()
def get(
    namespace: Namespace,
    key: Key,
    raw: Annotated[bool, typer.Option("--raw", help="Print the text as it is stored.")] = False,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Print a value: a raw string as it is, anything else as JSON."""

    async def ask() -> ValueResponse:
        async with client:
            return await client.kv(namespace).entry(key, value_format="raw-string" if raw else None)

    client = _client(namespace, root_url)
    entry = run(ask())
    if as_json:
        print_json_lines([{**entry.to_wire(), "value": entry.value}])
    elif entry.value_format == "raw-string":
        typer.echo(entry.value)
    else:
        print_json_lines([entry.value])


@kv.command()
def put(
    namespace: Namespace,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="JSON; - reads it from the input.")],
    raw: Annotated[bool, typer.Option("--raw", help="Store the text as it is, not as JSON.")] = False,
    ttl: Annotated[str | None, typer.Option(metavar="TIME", help="When it ends, from now: 30s, 1h.")] = None,
    if_version: IfVersion = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Store a value; print its version."""

    async def change() -> EntryResponse:
        async with client:
            return await client.kv(namespace).put(
                key,
                stored,
                ttl=ttl,
                if_version=if_version,
                value_format="raw-string" if raw else "json",
            )

    client = _client(namespace, root_url)
    text = sys.stdin.read() if value == "-" else value
    with wrong_input():
        stored = text if raw else _json(text)
        entry = run(change())
    if as_json:
        print_json_lines([entry.to_wire()])
    else:
        typer.echo(entry.version)


@kv.command()
def delete(namespace: Namespace, key: Key, if_version: IfVersion = None, root_url: RootUrl = None) -> None:
    """Delete a value; that there is none is no error."""

    async def change() -> bool:
        async with client:
            return await client.kv(namespace).delete(key, if_version=if_version)

    client = _client(namespace, root_url)
    run(change())


@kv.command("list")
def list_keys(
    namespace: Namespace,
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="Of the keys; all if left out.")] = "",
    values: Annotated[bool, typer.Option("--values", help="With the values.")] = False,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """List keys in the order of their bytes."""

    async def ask() -> list[ValueResponse]:
        async with client:
            return [entry async for entry in client.kv(namespace).iterate(prefix, values=values)]

    client = _client(namespace, root_url)
    found = run(ask())
    if as_json:
        shown = ({**entry.to_wire(), **({"value": entry.value} if values else {})} for entry in found)
        print_json_lines(shown)
        return
    rows: list[tuple[object, ...]] = [
        (
            entry.version,
            entry.expires,
            entry.key,
            *([json.dumps(entry.value, ensure_ascii=False)] if values else []),
        )
        for entry in found
    ]
    out().print(show.table(("VERSION", "EXPIRES", "KEY", *(["VALUE"] if values else [])), rows))


@kv.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def lock(
    namespace: Namespace,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the lock.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…")],
    ttl: Annotated[
        str, typer.Option(metavar="TIME", help="How long it outlives a holder that died.")
    ] = "30s",
    wait: Annotated[str | None, typer.Option(metavar="TIME", help="How long to wait for it.")] = None,
    root_url: RootUrl = None,
) -> None:
    """Run a command while a lock is held; end as it ends. Its TASKBUS_LOCK_TOKEN grows with each holder."""

    async def work() -> int:
        async with client, client.kv(namespace).lock(name, ttl=ttl, wait=wait) as held:
            process = await asyncio.create_subprocess_exec(
                "env", f"TASKBUS_LOCK_TOKEN={held.token}", *command
            )
            return await process.wait()

    client = _client(namespace, root_url)
    with wrong_input():
        status = run(work())
    if status < 0:
        fail(f"the command was ended by signal {-status}")
    raise typer.Exit(status)


def _client(namespace: str, root_url: str | None) -> Kv:
    with wrong_input():
        split(namespace)
    return connect(Kv, root_url)


def _json(text: str) -> Any:
    try:
        return json_value("VALUE", text)
    except ValueError as error:
        raise ValueError(f"{error}; --raw stores text as it is") from None

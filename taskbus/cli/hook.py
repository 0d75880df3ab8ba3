"""``taskbus hook …``: tasks that are created by a call, a message or the clock."""

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from schemas.hooks import CreateHookRequest, HookDefinition, HookStatusResponse, LastFire
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, fail, out, plain_app, print_json_lines, run, wrong_input
from taskbus.cli.documents import json_object, text_of
from taskbus.errors import describe
from taskbus.hooks import Hooks

hook = plain_app(
    name="hook",
    help="Tasks that are created by a call, a message or the clock. HOOK is <group>/<id>.",
    no_args_is_help=True,
)

HookPath = Annotated[str, typer.Argument(metavar="HOOK", help="<hookGroupId>/<hookId>.")]


@hook.command("list")
def list_hooks(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="All groups if left out.")] = "",
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """List hooks."""

    async def ask() -> list[HookDefinition]:
        async with client:
            groups = [group] if group else await client.list_hook_groups()
            return [found for one in groups for found in await client.list_hooks(one)]

    client = connect(Hooks, root_url)
    found = run(ask())
    if as_json:
        print_json_lines(entry.to_wire() for entry in found)
        return
    rows = (
        (f"{entry.hook_group_id}/{entry.hook_id}", ", ".join(entry.schedule), entry.metadata.name)
        for entry in found
    )
    out().print(show.table(("HOOK", "SCHEDULE", "NAME"), rows))


@hook.command("show")
def show_hook(path: HookPath, root_url: RootUrl = None) -> None:
    """Print the definition of a hook as JSON."""

    async def ask() -> HookDefinition:
        async with client:
            return await client.hook(*key)

    key = _key(path)
    client = connect(Hooks, root_url)
    typer.echo(json.dumps(run(ask()).to_wire(), indent=2))


@hook.command()
def apply(
    path: HookPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON of metadata, task, schedule, bindings.")],
    root_url: RootUrl = None,
) -> None:
    """Create a hook from a file, or replace the one that is there."""

    async def put() -> HookDefinition:
        async with client:
            if key[0] in await client.list_hook_groups():
                known = {entry.hook_id for entry in await client.list_hooks(key[0])}
                if key[1] in known:
                    return await client.update_hook(*key, definition)
            return await client.create_hook(*key, definition)

    key = _key(path)
    with wrong_input():
        definition = _definition(file)
    client = connect(Hooks, root_url)
    run(put())
    typer.echo(path)


@hook.command()
def remove(path: HookPath, root_url: RootUrl = None) -> None:
    """Delete a hook. Its tasks stay."""

    async def delete() -> None:
        async with client:
            await client.remove_hook(*key)

    key = _key(path)
    client = connect(Hooks, root_url)
    run(delete())


@hook.command()
def trigger(
    path: HookPath,
    payload: Annotated[str, typer.Argument(metavar="JSON", help="What its template is given.")] = "{}",
    root_url: RootUrl = None,
) -> None:
    """Fire a hook and print the id of its task."""

    async def fire() -> str | None:
        async with client:
            return await client.trigger_hook(*key, members)

    key = _key(path)
    with wrong_input():
        members = json_object("JSON", payload)
    client = connect(Hooks, root_url)
    task_id = run(fire())
    if task_id is None:
        fail("the hook declined: its template rendered to nothing")
    typer.echo(task_id)


@hook.command()
def status(path: HookPath, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Show when a hook fires next, and how it fired."""

    async def ask() -> tuple[HookStatusResponse, list[LastFire]]:
        async with client:
            found = await client.get_hook_status(*key)
            never = found.last_fire.result == "no-fire"
            return found, [] if never else [fire async for fire in client.list_last_fires(*key)]

    key = _key(path)
    client = connect(Hooks, root_url)
    found, fires = run(ask())
    if as_json:
        print_json_lines([found.to_wire(), *(fire.to_wire() for fire in fires)])
        return
    out().print(show.facts({"next": found.next_scheduled_date}))
    rows = (
        (fire.task_create_time, fire.fired_by, fire.task_id, fire.task_state, fire.error or None)
        for fire in fires
    )
    out().print(show.table(("TIME", "FIRED BY", "TASK", "STATE", "ERROR"), rows))


@hook.command()
def token(
    path: HookPath,
    reset: Annotated[bool, typer.Option("--reset", help="Make another one; the old one ends.")] = False,
    root_url: RootUrl = None,
) -> None:
    """Print the secret with which a hook can be fired without credentials."""

    async def ask() -> str:
        async with client:
            return await (client.reset_trigger_token(*key) if reset else client.get_trigger_token(*key))

    key = _key(path)
    client = connect(Hooks, root_url)
    typer.echo(run(ask()))


def _key(path: str) -> tuple[str, str]:
    with wrong_input():
        group_id, _, hook_id = path.partition("/")
        if not group_id or not hook_id:
            raise ValueError(f"HOOK: expected <hookGroupId>/<hookId>, got {path!r}")
    return group_id, hook_id


def _definition(file: Path) -> CreateHookRequest:
    try:
        return CreateHookRequest.model_validate(json_object(str(file), text_of("FILE", str(file))))
    except ValidationError as error:
        raise ValueError(f"{file}: {describe(error)}") from None

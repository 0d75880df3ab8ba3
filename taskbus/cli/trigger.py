"""``taskbus trigger …``: tasks that start by the clock, by messages or by members of worksets."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError

from schemas.triggers import CreateTriggerRequest, TriggerDefinition, TriggerFire
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, fail, out, plain_app, print_json_lines, run, wrong_input
from taskbus.cli.documents import json_object, text_of
from taskbus.errors import describe
from taskbus.trigger_files import read_triggers
from taskbus.triggers import Triggers

trigger = plain_app(
    name="trigger",
    help="Tasks that start by the clock, by messages or by members of worksets. TRIGGER is <group>/<id>.",
    no_args_is_help=True,
)

TriggerPath = Annotated[str, typer.Argument(metavar="TRIGGER", help="<group>/<id>.")]
T = TypeVar("T")


@trigger.command("list")
def list_triggers(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="All groups if left out.")] = "",
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """List triggers."""

    async def ask(client: Triggers) -> list[TriggerDefinition]:
        return [found async for found in client.list_triggers() if group in ("", found.group)]

    found = _call(root_url, ask)
    if as_json:
        print_json_lines(entry.to_wire() for entry in found)
        return
    rows = (
        (f"{entry.group}/{entry.id}", entry.state, _fired_by(entry), entry.next_tick, entry.fires)
        for entry in found
    )
    out().print(show.table(("TRIGGER", "STATE", "FIRED BY", "NEXT", "FIRES"), rows))


@trigger.command("show")
def show_trigger(path: TriggerPath, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Print a trigger as JSON, and how it fired."""

    async def ask(client: Triggers) -> tuple[TriggerDefinition, tuple[TriggerFire, ...]]:
        return await client.trigger(*key), await client.list_trigger_fires(*key)

    key = _key(path)
    found, fires = _call(root_url, ask)
    if as_json:
        print_json_lines([found.to_wire(), *(fire.to_wire() for fire in fires)])
        return
    typer.echo(json.dumps(found.to_wire(), indent=2))
    rows = (
        (fire.fire_id, fire.time, fire.fired_by, fire.task_id, fire.task_state, fire.error or None)
        for fire in fires
    )
    out().print(show.table(("FIRE", "TIME", "FIRED BY", "TASK", "STATE", "ERROR"), rows))


@trigger.command()
def create(
    path: TriggerPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON of its definition; - is the input.")],
    root_url: RootUrl = None,
) -> None:
    """Create a trigger. Fails if there is another one with this id."""
    key = _key(path)
    with wrong_input():
        definition = _definition(file)
    _call(root_url, lambda client: client.create_trigger(*key, definition))
    typer.echo(path)


@trigger.command()
def apply(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="YAML or JSON of triggers, each with its `name`.")
    ],
    root_url: RootUrl = None,
) -> None:
    """Create the triggers of a file, or replace those that are there; print their names."""

    async def put(client: Triggers) -> None:
        for one in declared:
            await client.apply_trigger(one.group, one.trigger_id, one.definition)
            typer.echo(f"{one.group}/{one.trigger_id}")

    with wrong_input():
        declared = read_triggers(file)
    _call(root_url, put)


@trigger.command()
def fire(
    path: TriggerPath,
    payload: Annotated[str, typer.Argument(metavar="JSON", help="What its template is given.")] = "{}",
    root_url: RootUrl = None,
) -> None:
    """Fire a trigger and print the id of its task."""
    key = _key(path)
    with wrong_input():
        members = json_object("JSON", payload)
    task_id = _call(root_url, lambda client: client.fire_trigger(*key, members))
    if task_id is None:
        fail("the trigger declined: its template rendered to nothing")
    typer.echo(task_id)


@trigger.command()
def pause(path: TriggerPath, root_url: RootUrl = None) -> None:
    """Let nothing but calls fire a trigger."""
    key = _key(path)
    typer.echo(_call(root_url, lambda client: client.pause_trigger(*key)).state)


@trigger.command()
def resume(path: TriggerPath, root_url: RootUrl = None) -> None:
    """Let a trigger fire again; one that is blocked tries again what has failed."""
    key = _key(path)
    typer.echo(_call(root_url, lambda client: client.resume_trigger(*key)).state)


@trigger.command()
def delete(path: TriggerPath, root_url: RootUrl = None) -> None:
    """Delete a trigger. Its tasks stay."""
    key = _key(path)
    _call(root_url, lambda client: client.delete_trigger(*key))


def _call(root_url: str | None, call: Callable[[Triggers], Awaitable[T]]) -> T:
    """What a call of the service answers."""

    async def ask() -> T:
        async with client:
            return await call(client)

    client = connect(Triggers, root_url)
    return run(ask())


def _key(path: str) -> tuple[str, str]:
    with wrong_input():
        group, _, trigger_id = path.partition("/")
        if not group or not trigger_id:
            raise ValueError(f"TRIGGER: expected <group>/<id>, got {path!r}")
    return group, trigger_id


def _fired_by(found: TriggerDefinition) -> str:
    if found.cron is not None:
        return ", ".join(found.cron.cron)
    if found.interval is not None:
        return f"each {found.interval.duration}"
    if found.pop_batch is not None:
        return f"{found.pop_batch.namespace} {found.pop_batch.set}"
    return "messages"


def _definition(file: Path) -> CreateTriggerRequest:
    try:
        return CreateTriggerRequest.model_validate(json_object(str(file), text_of("FILE", str(file))))
    except ValidationError as error:
        raise ValueError(f"{file}: {describe(error)}") from None

"""The commands put together. Each is imported when it is called: none carries the libraries of others."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from taskbus.cli.console import plain_app

MODULES: Final = {
    "serve": "taskbus.cli.server",
    "api": "taskbus.cli.server",
    "loops": "taskbus.cli.server",
    "migrate": "taskbus.cli.server",
    "doctor": "taskbus.cli.doctor",
    "worker": "taskbus.cli.worker",
    "listen": "taskbus.cli.listen",
    "event": "taskbus.cli.event",
    "task": "taskbus.cli.task",
    "job": "taskbus.cli.job",
    "work": "taskbus.cli.work",
    "artifact": "taskbus.cli.artifact",
    "queue": "taskbus.cli.queue",
    "index": "taskbus.cli.index",
    "kv": "taskbus.cli.kv",
    "workset": "taskbus.cli.workset",
    "hook": "taskbus.cli.hook",
    "trigger": "taskbus.cli.trigger",
    "signin": "taskbus.cli.signin",
    "scopes": "taskbus.cli.scopes",
    "client": "taskbus.cli.client",
    "role": "taskbus.cli.role",
}


class Commands(TyperGroup):
    """Each command is a function, or a group of commands, of its own name in its module."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in MODULES:
            return None
        found = getattr(import_module(MODULES[cmd_name]), cmd_name)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        single = plain_app()
        single.command(cmd_name)(found)
        return typer.main.get_command(single)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"taskbus {version('taskbus')}")
        except PackageNotFoundError:
            typer.echo("taskbus, not installed as a package")
        raise typer.Exit


app = plain_app(
    cls=Commands,
    help="Tasks in, work claimed, and every change of state as an event on AMQP exchanges.",
    no_args_is_help=True,
)


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the command."""

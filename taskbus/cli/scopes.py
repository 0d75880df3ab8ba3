"""``taskbus scopes …``: what you may do, and what scopes stand for."""

from collections.abc import Sequence
from typing import Annotated

import typer

from taskbus.auth import Auth
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, plain_app, print_json_lines, run

scopes = plain_app(name="scopes", help="What you may do, and what scopes stand for.", no_args_is_help=True)


@scopes.command()
def current(as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """List everything that the credentials in the environment may do."""

    async def ask() -> Sequence[str]:
        async with auth:
            return await auth.current_scopes()

    auth = connect(Auth, root_url)
    _print(run(ask()), as_json)


@scopes.command()
def expand(
    scope: Annotated[list[str], typer.Argument(metavar="SCOPE", help="One or more scopes.")],
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """List scopes together with all that the roles among them give.

    Example: taskbus scopes expand assume:anonymous
    """

    async def ask() -> Sequence[str]:
        async with auth:
            return await auth.expand_scopes(scope)

    auth = connect(Auth, root_url)
    _print(run(ask()), as_json)


def _print(found: Sequence[str], as_json: bool) -> None:
    if as_json:
        print_json_lines(found)
    else:
        for scope in found:
            typer.echo(scope)

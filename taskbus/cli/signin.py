"""``taskbus signin``: credentials as environment variables, for the shell to take over."""

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from taskbus.cli.connect import SIGN_IN
from taskbus.cli.console import RootUrl, fail, wrong_input
from taskbus.cli.server import DatabaseUrl, commands
from taskbus.credentials import Credentials
from taskbus.tasks import parse_duration
from taskbus.transport import root_url_from_environment

ROOT_URL_VARIABLE: Final = "TASKCLUSTER_ROOT_URL"


def signin(
    name: Annotated[
        str | None, typer.Option(metavar="CLIENT_ID", help="Temporary credentials for a client of this name.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="What they may do; repeatable.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="When they end, from now: at most 31d; 1h if left out.")
    ] = None,
    database_url: DatabaseUrl = None,
    root_url: RootUrl = None,
) -> None:
    """Print credentials for the shell: eval "$(taskbus signin)"

    Without options these are of the root client, which may do everything; they are read where the server
    keeps them, so this works on its machine only, with the same settings (TASKBUS_…).

    With --scope they are temporary ones, made from those in the environment without asking the server:

    taskbus signin --name ci/one --scope 'queue:create-task:*' --expires 1h
    """
    if scope is None and name is None and expires is None:
        print_exports(_root(database_url, root_url))
    else:
        print_exports(_temporary(name, scope or [], expires or "1h", root_url))


def print_exports(variables: Mapping[str, str]) -> None:
    """Print variables as a shell reads them."""
    for variable, value in variables.items():
        typer.echo(f"export {variable}={shlex.quote(value)}")


def _root(database_url: str | None, root_url: str | None) -> dict[str, str]:
    server: Any = commands()
    overrides = {} if database_url is None else {"database_url": database_url}
    try:
        reached_at, client_id, token = server.root_credentials(overrides)
    except server.CannotStart as error:
        fail(str(error))
    return {ROOT_URL_VARIABLE: root_url or reached_at, **Credentials(client_id, token).to_env()}


def _temporary(name: str | None, scopes: list[str], expires: str, root_url: str | None) -> dict[str, str]:
    with wrong_input():
        issuer = Credentials.from_env()
        if issuer is None:
            raise ValueError(f"no credentials are in the environment to make others from: {SIGN_IN}")
        made = issuer.issue(scopes, lifetime=parse_duration(expires), name=name)
    return {ROOT_URL_VARIABLE: root_url or root_url_from_environment(), **made.to_env()}

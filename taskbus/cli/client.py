"""``taskbus client …``: who may call."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from schemas.auth import ClientResponse, CreateClientResponse
from taskbus.auth import Auth
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, out, plain_app, print_json_lines, run, say, wrong_input
from taskbus.cli.signin import print_exports
from taskbus.credentials import Credentials
from taskbus.tasks import parse_duration

client = plain_app(
    name="client", help="Who may call: create, look at, change and remove clients.", no_args_is_help=True
)

ClientId = Annotated[str, typer.Argument(metavar="CLIENT_ID", help="Such as ci/main; / makes a hierarchy.")]
Description = Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")]


@client.command()
def create(
    client_id: ClientId,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="What it may do; repeatable.")
    ] = None,
    expires: Annotated[str, typer.Option(metavar="TIME", help="When it ends, from now.")] = "365d",
    description: Description = None,
    delete: Annotated[
        bool, typer.Option("--delete-on-expiration", help="Remove it once it has expired.")
    ] = False,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Create a client, and print its id and access token as environment variables.

    The token is shown this once. You need every scope that you give.

    Example: taskbus client create ci/main --scope 'queue:create-task:*'
    """

    async def make() -> CreateClientResponse:
        async with auth:
            return await auth.create_client(
                client_id,
                scopes=scope or (),
                expires=end,
                description=description or "",
                delete_on_expiration=delete,
            )

    with wrong_input():
        end = datetime.now(UTC) + parse_duration(expires)
    auth = connect(Auth, root_url)
    _print_secret(run(make()), as_json)


@client.command("list")
def list_clients(
    prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only clients whose id begins with it.")
    ] = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """List clients."""

    async def ask() -> list[ClientResponse]:
        async with auth:
            return [found async for found in auth.list_clients(prefix=prefix)]

    auth = connect(Auth, root_url)
    found = run(ask())
    if as_json:
        print_json_lines(entry.to_wire() for entry in found)
        return
    rows = ((entry.client_id, _state(entry), entry.expires, " ".join(entry.scopes)) for entry in found)
    out().print(show.table(("CLIENT", "STATE", "EXPIRES", "SCOPES"), rows))


@client.command("show")
def show_client(client_id: ClientId, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Show a client, and everything that it may do."""
    _one(client_id, Auth.client, as_json, root_url)


@client.command()
def update(
    client_id: ClientId,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="All that it may do from now on; repeatable.")
    ] = None,
    add_scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="What it may do as well; repeatable.")
    ] = None,
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="When it ends, from now.")] = None,
    description: Description = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Change a client. What is left out stays as it is."""

    async def change(auth: Auth, client_id: str) -> ClientResponse:
        now = await auth.client(client_id)
        scopes = dict.fromkeys([*(now.scopes if scope is None else scope), *(add_scope or ())])
        return await auth.update_client(
            client_id,
            scopes=tuple(scopes),
            expires=end or now.expires,
            description=now.description if description is None else description,
            delete_on_expiration=now.delete_on_expiration,
        )

    with wrong_input():
        end = None if expires is None else datetime.now(UTC) + parse_duration(expires)
    _one(client_id, change, as_json, root_url)


@client.command()
def reset(client_id: ClientId, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Give a client a new access token and print it; the old one ends."""

    async def change() -> CreateClientResponse:
        async with auth:
            return await auth.reset_access_token(client_id)

    auth = connect(Auth, root_url)
    _print_secret(run(change()), as_json)


@client.command()
def enable(client_id: ClientId, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Let a disabled client call again."""
    _one(client_id, Auth.enable_client, as_json, root_url)


@client.command()
def disable(client_id: ClientId, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Let a client call no more, and nobody with temporary credentials from it."""
    _one(client_id, Auth.disable_client, as_json, root_url)


@client.command()
def delete(client_id: ClientId, root_url: RootUrl = None) -> None:
    """Remove a client."""

    async def remove() -> None:
        async with auth:
            await auth.delete_client(client_id)

    auth = connect(Auth, root_url)
    run(remove())


def _one(
    client_id: str,
    call: Callable[[Auth, str], Awaitable[ClientResponse]],
    as_json: bool,
    root_url: str | None,
) -> None:
    async def work() -> ClientResponse:
        async with auth:
            return await call(auth, client_id)

    auth = connect(Auth, root_url)
    found = run(work())
    if as_json:
        print_json_lines([found.to_wire()])
        return
    out().print(
        show.facts(
            {
                "client": found.client_id,
                "state": _state(found),
                "description": found.description or None,
                "expires": found.expires,
                "created": found.created,
                "last used": found.last_date_used,
                "token made": found.last_rotated,
                "scopes": found.scopes,
                "expanded": found.expanded_scopes,
            }
        )
    )


def _state(found: ClientResponse) -> str:
    if found.disabled:
        return "disabled"
    return "expired" if found.expires < datetime.now(UTC) else "enabled"


def _print_secret(made: CreateClientResponse, as_json: bool) -> None:
    if as_json:
        print_json_lines([made.to_wire()])
        return
    print_exports(Credentials(made.client_id, made.access_token).to_env())
    say("The access token is shown this once; keep it as a secret.")

"""``taskbus role …``: scopes under one name."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from schemas.auth import RoleResponse
from taskbus.auth import Auth
from taskbus.cli import show
from taskbus.cli.connect import connect
from taskbus.cli.console import AsJson, RootUrl, out, plain_app, print_json_lines, run

role = plain_app(
    name="role",
    help="Scopes under one name: who has assume:ROLE_ID has those of the role.",
    no_args_is_help=True,
)

RoleId = Annotated[
    str, typer.Argument(metavar="ROLE_ID", help="May end with *; then <..> in its scopes is the rest.")
]
Scopes = Annotated[list[str] | None, typer.Option(metavar="SCOPE", help="What it gives; repeatable.")]


@role.command()
def create(
    role_id: RoleId,
    scope: Scopes = None,
    description: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Create a role. You need every scope that you give.

    Example: taskbus role create 'project:*' --scope 'queue:route:index.<..>'
    """

    async def make(auth: Auth, role_id: str) -> RoleResponse:
        return await auth.create_role(role_id, scopes=scope or (), description=description)

    _one(role_id, make, as_json, root_url)


@role.command("list")
def list_roles(as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """List roles."""

    async def ask() -> list[RoleResponse]:
        async with auth:
            return [found async for found in auth.list_roles()]

    auth = connect(Auth, root_url)
    found = run(ask())
    if as_json:
        print_json_lines(entry.to_wire() for entry in found)
        return
    rows = ((entry.role_id, " ".join(entry.scopes)) for entry in found)
    out().print(show.table(("ROLE", "SCOPES"), rows))


@role.command("show")
def show_role(role_id: RoleId, as_json: AsJson = False, root_url: RootUrl = None) -> None:
    """Show a role, and everything that it gives."""
    _one(role_id, Auth.role, as_json, root_url)


@role.command()
def update(
    role_id: RoleId,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="All that it gives from now on; repeatable.")
    ] = None,
    add_scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="What it gives as well; repeatable.")
    ] = None,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")] = None,
    as_json: AsJson = False,
    root_url: RootUrl = None,
) -> None:
    """Change a role. What is left out stays as it is."""

    async def change(auth: Auth, role_id: str) -> RoleResponse:
        now = await auth.role(role_id)
        scopes = dict.fromkeys([*(now.scopes if scope is None else scope), *(add_scope or ())])
        text = now.description if description is None else description
        return await auth.update_role(role_id, scopes=tuple(scopes), description=text)

    _one(role_id, change, as_json, root_url)


@role.command()
def delete(role_id: RoleId, root_url: RootUrl = None) -> None:
    """Remove a role."""

    async def remove() -> None:
        async with auth:
            await auth.delete_role(role_id)

    auth = connect(Auth, root_url)
    run(remove())


def _one(
    role_id: str,
    call: Callable[[Auth, str], Awaitable[RoleResponse]],
    as_json: bool,
    root_url: str | None,
) -> None:
    async def work() -> RoleResponse:
        async with auth:
            return await call(auth, role_id)

    auth = connect(Auth, root_url)
    found = run(work())
    if as_json:
        print_json_lines([found.to_wire()])
        return
    out().print(
        show.facts(
            {
                "role": found.role_id,
                "description": found.description or None,
                "changed": found.last_modified,
                "scopes": found.scopes,
                "expanded": found.expanded_scopes,
            }
        )
    )

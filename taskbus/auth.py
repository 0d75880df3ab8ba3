"""The auth service's HTTP API as methods: clients, roles and scopes (``auth.md`` 4)."""

from collections.abc import AsyncIterator, Awaitable, Iterable
from datetime import datetime

from schemas.auth import (
    ClientResponse,
    CreateClientRequest,
    CreateClientResponse,
    CreateRoleRequest,
    ExpandScopesRequest,
    ListClientsResponse,
    ListRolesResponse,
    RoleResponse,
    ScopesResponse,
)
from taskbus.service import ServiceClient, pages


class Auth(ServiceClient):
    """A client of the auth service: who may call, and what they may do. Docs: ``docs/auth.md``."""

    service = "auth"

    # Scopes

    async def current_scopes(self) -> tuple[str, ...]:
        """Everything these credentials may do, with all that their roles give."""
        return (await self._get(ScopesResponse, "scopes", "current")).scopes

    async def expand_scopes(self, scopes: Iterable[str]) -> tuple[str, ...]:
        """These scopes and all that the roles among them give."""
        body = ExpandScopesRequest(scopes=tuple(scopes)).to_json()
        return (await self._post(ScopesResponse, "scopes", "expand", body=body)).scopes

    # Clients

    async def list_clients(
        self, *, prefix: str | None = None, page_size: int | None = None
    ) -> AsyncIterator[ClientResponse]:
        """All clients whose id begins with ``prefix``, by id."""

        def fetch(token: str | None) -> Awaitable[ListClientsResponse]:
            query = {"prefix": prefix, "limit": page_size, "continuationToken": token}
            return self._get(ListClientsResponse, "clients", "", query=query)

        async for page in pages(fetch):
            for client in page.clients:
                yield client

    async def client(self, client_id: str) -> ClientResponse:
        """One client. Raises NotFound."""
        return await self._get(ClientResponse, "clients", client_id)

    async def create_client(
        self,
        client_id: str,
        *,
        scopes: Iterable[str] = (),
        expires: datetime,
        description: str = "",
        delete_on_expiration: bool = False,
    ) -> CreateClientResponse:
        """Make a client. Its ``access_token`` is told this once; a repeat within 15 minutes tells it again.

        The caller needs every scope that it gives. Raises Conflict when there is another client of this id.
        """
        body = CreateClientRequest(
            scopes=tuple(scopes),
            expires=expires,
            description=description,
            delete_on_expiration=delete_on_expiration,
        )
        return await self._put(CreateClientResponse, "clients", client_id, body=body.to_json())

    async def update_client(
        self,
        client_id: str,
        *,
        expires: datetime,
        description: str,
        scopes: Iterable[str] | None = None,
        delete_on_expiration: bool = False,
    ) -> ClientResponse:
        """Replace what a client is; its scopes only if they are given. Raises NotFound."""
        given = {} if scopes is None else {"scopes": tuple(scopes)}
        body = CreateClientRequest.model_validate(
            {
                "expires": expires,
                "description": description,
                "delete_on_expiration": delete_on_expiration,
                **given,
            }
        )
        return await self._post(ClientResponse, "clients", client_id, body=body.to_json())

    async def reset_access_token(self, client_id: str) -> CreateClientResponse:
        """Give a client a new ``access_token``, told this once; the old one ends. Raises NotFound."""
        return await self._post(CreateClientResponse, "clients", client_id, "reset")

    async def enable_client(self, client_id: str) -> ClientResponse:
        """Let a disabled client call again. Raises NotFound."""
        return await self._post(ClientResponse, "clients", client_id, "enable")

    async def disable_client(self, client_id: str) -> ClientResponse:
        """Let a client, and temporary credentials it issued, call no more. Raises NotFound."""
        return await self._post(ClientResponse, "clients", client_id, "disable")

    async def delete_client(self, client_id: str) -> None:
        """Remove a client; nothing happens if there is none."""
        await self._call("DELETE", "clients", client_id)

    # Roles

    async def list_roles(self, *, page_size: int | None = None) -> AsyncIterator[RoleResponse]:
        """All roles, by id."""

        def fetch(token: str | None) -> Awaitable[ListRolesResponse]:
            query = {"limit": page_size, "continuationToken": token}
            return self._get(ListRolesResponse, "roles2", "", query=query)

        async for page in pages(fetch):
            for role in page.roles:
                yield role

    async def role(self, role_id: str) -> RoleResponse:
        """One role. Raises NotFound."""
        return await self._get(RoleResponse, "roles", role_id)

    async def create_role(
        self, role_id: str, *, scopes: Iterable[str], description: str = ""
    ) -> RoleResponse:
        """Make a role: what whoever has the scope ``assume:<role_id>`` may do.

        The caller needs every scope that it gives. Raises Conflict when there is another role of this id.
        """
        body = CreateRoleRequest(scopes=tuple(scopes), description=description).to_json()
        return await self._put(RoleResponse, "roles", role_id, body=body)

    async def update_role(self, role_id: str, *, scopes: Iterable[str], description: str) -> RoleResponse:
        """Replace what a role is. Raises NotFound."""
        body = CreateRoleRequest(scopes=tuple(scopes), description=description).to_json()
        return await self._post(RoleResponse, "roles", role_id, body=body)

    async def delete_role(self, role_id: str) -> None:
        """Remove a role; nothing happens if there is none."""
        await self._call("DELETE", "roles", role_id)

"""The handlers of the auth service: clients, roles, scopes, and tests of credentials (``auth.md`` 4)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from queue_service.api.directory import CachedDirectory
from queue_service.api.endpoint import Call
from queue_service.api.gate import AccessGate, ScopedPermit
from queue_service.api.paging import page_of
from queue_service.auth.authenticator import Authenticator, NotAuthentic, StoredClient
from queue_service.auth.request import SignedRequest
from queue_service.auth.roles import ASSUME, ExpansionTooLarge, Roles, find_cycle, role_scope_problem
from queue_service.auth.scopes import ScopeSet
from queue_service.auth.temporary import two_slugids
from queue_service.core.access import (
    Client,
    Role,
    client_not_found,
    refuse_static,
    refuse_wild_scopes,
    role_not_found,
)
from queue_service.core.errors import AuthenticationFailed, InputError, RequestConflict
from queue_service.operations import clients as client_operations
from queue_service.operations import roles as role_operations
from queue_service.operations.clients import Authorize, Rule
from queue_service.operations.first_start import ANONYMOUS
from queue_service.operations.roles import ScopesById
from queue_service.store import clients, roles
from queue_service.store.database import Database
from queue_service.store.vault import Vault, WrongKey
from schemas.auth import (
    AllRolesResponse,
    AuthenticateHawkRequest,
    AuthenticateHawkResponse,
    ClientResponse,
    CreateClientRequest,
    CreateClientResponse,
    CreateRoleRequest,
    ExpandScopesRequest,
    ListClientsResponse,
    ListRoleIdsResponse,
    ListRolesResponse,
    RoleResponse,
    ScopesResponse,
    TestAuthenticateRequest,
    TestAuthenticateResponse,
)
from schemas.times import EPOCH

T = TypeVar("T")
PlainCall = Call[None]

ANONYMOUS_LASTS: Final = timedelta(minutes=15)
"""For how long a service may rely on it that a request had no credentials."""
TESTER: Final = "tester"
TESTER_TOKEN: Final = "no-secret"
"""Published with the API, for the tests of clients. It opens nothing."""
TESTER_SCOPES: Final = ("test:*", "auth:create-client:test:*")
_ALL_OF: Final = {"AllOf": [{"for": "scope", "in": "scopes", "each": "<scope>"}]}
EXPANSIONS_AT_ONCE: Final = 50
"""A large set of roles takes a millisecond to expand; in between, others have their turn."""


class AuthApi:
    """Handlers with what they need. ``new_token`` makes an access token."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        directory: CachedDirectory,
        gate: AccessGate,
        *,
        new_token: Callable[[], str] = two_slugids,
    ) -> None:
        self._database = database
        self._vault = vault
        self._directory = directory
        self._gate = gate
        self._new_token = new_token

    # ---- scopes ---------------------------------------------------------------------------------------

    async def current_scopes(self, call: PlainCall) -> ScopesResponse:
        return ScopesResponse.trusted(scopes=call.permit.scopes)

    async def expand_scopes(self, call: Call[ExpandScopesRequest]) -> ScopesResponse:
        return ScopesResponse.trusted(scopes=await self._expanded(call.body.scopes))

    # ---- clients --------------------------------------------------------------------------------------

    async def list_clients(self, call: PlainCall) -> ListClientsResponse:
        prefix, page = call.query.get("prefix", ""), page_of(call.query)
        static = [
            client
            for client in self._directory.static.values()
            if client.client_id.startswith(prefix) and client.client_id > page.after
        ]
        async with self._database.read() as connection:
            stored = await clients.page(connection, prefix, page.after, page.wanted)
        # A static client hides a stored one with its id.
        by_id = {client.client_id: client for client in (*stored, *static)}
        ids, token = page.cut(sorted(by_id)[: page.wanted])
        return ListClientsResponse.trusted(
            clients=tuple([await self._shown(by_id[client_id]) async for client_id in _paced(ids)]),
            continuation_token=token,
        )

    async def client(self, call: PlainCall) -> ClientResponse:
        client_id = call.params["clientId"]
        found = self._directory.static.get(client_id)
        if found is None:
            async with self._database.read() as connection:
                found = await clients.get(connection, client_id)
        if found is None:
            raise client_not_found(client_id)
        return await self._shown(found)

    async def create_client(self, call: Call[CreateClientRequest]) -> CreateClientResponse:
        client_id, body = call.params["clientId"], call.body
        scopes = body.scopes or ()
        refuse_static(client_id)
        refuse_wild_scopes(scopes)
        call.require(scopes=scopes)
        await self._expanded(scopes)
        now = self._database.clock.now()
        wanted = Client(
            client_id=client_id,
            description=body.description,
            scopes=scopes,
            token=self._vault.seal(client_id, self._new_token()),
            expires=body.expires,
            created=now,
            last_modified=now,
            last_date_used=now,
            last_rotated=now,
            delete_on_expiration=body.delete_on_expiration,
        )
        created = await self._database.write(lambda tx: client_operations.create(tx, wanted))
        return await self._shown_with_token(created)

    async def update_client(self, call: Call[CreateClientRequest]) -> ClientResponse:
        client_id, body = call.params["clientId"], call.body
        refuse_static(client_id)
        refuse_wild_scopes(body.scopes or ())
        rule = client_operations.replaced(
            description=body.description,
            expires=body.expires,
            scopes=body.scopes,
            delete_on_expiration=body.delete_on_expiration,
        )

        def authorize(client: Client) -> None:
            had = set(client.scopes)
            call.require(scopesAdded=[scope for scope in body.scopes or () if scope not in had])

        return await self._shown(await self._change(client_id, rule, authorize))

    async def reset_access_token(self, call: PlainCall) -> CreateClientResponse:
        client_id = call.params["clientId"]
        rule = client_operations.rotated(self._vault.seal(client_id, self._new_token()))
        return await self._shown_with_token(await self._change(client_id, rule))

    async def enable_client(self, call: PlainCall) -> ClientResponse:
        return await self._shown(await self._change(call.params["clientId"], client_operations.enabled))

    async def disable_client(self, call: PlainCall) -> ClientResponse:
        return await self._shown(await self._change(call.params["clientId"], client_operations.disabled))

    async def delete_client(self, call: PlainCall) -> None:
        client_id = call.params["clientId"]
        refuse_static(client_id)
        await self._database.write(lambda tx: client_operations.delete(tx, client_id))

    # ---- roles ----------------------------------------------------------------------------------------

    async def list_roles(self, call: PlainCall) -> AllRolesResponse:
        async with self._database.read() as connection:
            found = await roles.every(connection)
        return AllRolesResponse.trusted(roles=await self._shown_roles(found))

    async def list_roles2(self, call: PlainCall) -> ListRolesResponse:
        found, token = await self._page_of_roles(call)
        return ListRolesResponse.trusted(roles=await self._shown_roles(found), continuation_token=token)

    async def list_role_ids(self, call: PlainCall) -> ListRoleIdsResponse:
        found, token = await self._page_of_roles(call)
        return ListRoleIdsResponse.trusted(
            role_ids=tuple(role.role_id for role in found), continuation_token=token
        )

    async def role(self, call: PlainCall) -> RoleResponse:
        role_id = call.params["roleId"]
        async with self._database.read() as connection:
            found = await roles.get(connection, role_id)
        if found is None:
            raise role_not_found(role_id)
        return await self._shown_role(found)

    async def create_role(self, call: Call[CreateRoleRequest]) -> RoleResponse:
        role_id, body = call.params["roleId"], call.body
        _check_scopes(role_id, body.scopes)
        call.require(scopes=body.scopes)
        now = self._database.clock.now()
        wanted = Role(role_id, tuple(sorted(body.scopes)), body.description, now, now)
        check = partial(_check_all, role_id)
        created = await self._database.write(lambda tx: role_operations.create(tx, wanted, check))
        return await self._shown_role(created)

    async def update_role(self, call: Call[CreateRoleRequest]) -> RoleResponse:
        role_id, body = call.params["roleId"], call.body
        _check_scopes(role_id, body.scopes)
        scopes = tuple(sorted(body.scopes))

        def authorize(every: ScopesById) -> None:
            had = _expansion(Roles(every), [ASSUME + role_id])
            call.require(scopesAdded=[scope for scope in scopes if not had.satisfies(scope)])

        updated = await self._database.write(
            lambda tx: role_operations.update(
                tx, role_id, scopes, body.description, authorize, partial(_check_all, role_id)
            )
        )
        return await self._shown_role(updated)

    async def delete_role(self, call: PlainCall) -> None:
        role_id = call.params["roleId"]
        await self._database.write(lambda tx: role_operations.delete(tx, role_id))

    # ---- credentials ----------------------------------------------------------------------------------

    async def authenticate_hawk(self, call: Call[AuthenticateHawkRequest]) -> AuthenticateHawkResponse:
        body = call.body
        request = SignedRequest(
            method=body.method.upper(),
            resource=body.resource,
            host=body.host.lower(),
            port=body.port,
            authorization=body.authorization,
        )
        try:
            identity = await self._gate.identify(request)
        except NotAuthentic as error:
            return AuthenticateHawkResponse.trusted(status="auth-failed", message=str(error))
        if identity.status == "no-auth":
            return AuthenticateHawkResponse.trusted(
                status="no-auth",
                scheme="none",
                scopes=identity.scopes.scopes,
                expires=self._database.clock.now() + ANONYMOUS_LASTS,
            )
        return AuthenticateHawkResponse.trusted(
            status="auth-success",
            scheme="hawk",
            client_id=identity.client_id,
            scopes=identity.scopes.scopes,
            expires=identity.expires,
            hash=identity.hash,
        )

    async def test_authenticate(self, call: Call[TestAuthenticateRequest]) -> TestAuthenticateResponse:
        return await self._tested(call, call.body.client_scopes, call.body.required_scopes)

    async def test_authenticate_get(self, call: PlainCall) -> TestAuthenticateResponse:
        return await self._tested(call, TESTER_SCOPES, ("test:authenticate-get",))

    # ---- parts ----------------------------------------------------------------------------------------

    async def _change(self, client_id: str, rule: Rule, authorize: Authorize | None = None) -> Client:
        refuse_static(client_id)
        return await self._database.write(lambda tx: client_operations.change(tx, client_id, rule, authorize))

    async def _shown(self, client: Client) -> ClientResponse:
        return ClientResponse.trusted(**await self._members(client))

    async def _shown_with_token(self, client: Client) -> CreateClientResponse:
        try:
            token = self._vault.open(client.client_id, client.token)
        except WrongKey:
            raise RequestConflict(
                f"Client `{client.client_id}` already exists, and the service cannot read its access token: "
                "reset it."
            ) from None
        return CreateClientResponse.trusted(**await self._members(client), access_token=token)

    async def _members(self, client: Client) -> dict[str, Any]:
        return {
            "client_id": client.client_id,
            "expires": client.expires,
            "description": client.description,
            "created": client.created,
            "last_modified": client.last_modified,
            "last_date_used": client.last_date_used,
            "last_rotated": client.last_rotated,
            "scopes": client.scopes,
            "expanded_scopes": await self._expanded(client.scopes),
            "disabled": client.disabled,
            "delete_on_expiration": client.delete_on_expiration,
        }

    async def _expanded(self, scopes: Iterable[str]) -> tuple[str, ...]:
        await self._directory.renew()
        return _expansion(self._directory.roles, scopes).scopes

    async def _page_of_roles(self, call: PlainCall) -> tuple[list[Role], str | None]:
        page = page_of(call.query)
        async with self._database.read() as connection:
            found = {role.role_id: role for role in await roles.page(connection, page.after, page.wanted)}
        ids, token = page.cut(list(found))
        return [found[role_id] for role_id in ids], token

    async def _shown_roles(self, found: Sequence[Role]) -> tuple[RoleResponse, ...]:
        return tuple([await self._shown_role(role) async for role in _paced(found)])

    async def _shown_role(self, role: Role) -> RoleResponse:
        return RoleResponse.trusted(
            role_id=role.role_id,
            scopes=role.scopes,
            description=role.description,
            created=role.created,
            last_modified=role.last_modified,
            expanded_scopes=await self._expanded([ASSUME + role.role_id]),
        )

    async def _tested(
        self, call: Call[Any], has: tuple[str, ...], required: tuple[str, ...]
    ) -> TestAuthenticateResponse:
        """Judge the credentials of this very call: ``tester`` is the only client, and has these scopes."""
        authenticator = Authenticator(_Tester(has))
        try:
            identity = await authenticator.authenticate(call.signed, self._database.clock.now())
        except NotAuthentic as error:
            raise AuthenticationFailed(str(error)) from None
        ScopedPermit(identity).require(_ALL_OF, {"scopes": required})
        scopes = tuple(scope for scope in identity.scopes.scopes if scope != f"assume:{ANONYMOUS}")
        return TestAuthenticateResponse.trusted(client_id=identity.client_id, scopes=scopes)


class _Tester:
    """A directory with one client and no roles."""

    roles = Roles({})

    def __init__(self, scopes: tuple[str, ...]) -> None:
        self._client = StoredClient(TESTER, TESTER_TOKEN, scopes, EPOCH.replace(year=9999), False)

    async def client(self, client_id: str) -> StoredClient | None:
        return self._client if client_id == TESTER else None


async def _paced(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with a breath for other calls now and then."""
    for number, item in enumerate(items, 1):
        yield item
        if number % EXPANSIONS_AT_ONCE == 0:
            await asyncio.sleep(0)


def _check_scopes(role_id: str, scopes: Iterable[str]) -> None:
    refuse_wild_scopes(scopes)
    for scope in scopes:
        if (problem := role_scope_problem(role_id, scope)) is not None:
            raise InputError(problem)


def _check_all(role_id: str, every: ScopesById) -> None:
    """All roles as they would be, of which this one is new or changed. Raises InputError."""
    if (cycle := find_cycle(every)) is not None:
        named = " -> ".join(f"`{member}`" for member in (*cycle, cycle[0]))
        raise InputError(f"Roles must not contain each other in a circle: {named}.")
    _expansion(Roles(every), [ASSUME + role_id])


def _expansion(known: Roles, scopes: Iterable[str]) -> ScopeSet:
    try:
        return known.expand(scopes)
    except ExpansionTooLarge as error:
        raise InputError(str(error)) from None

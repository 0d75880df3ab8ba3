"""The table of the auth service's endpoints: one declaration each (``auth.md`` 4)."""

from typing import Any, Final

from queue_service.api.auth_api import AuthApi
from queue_service.api.endpoint import Endpoint
from schemas import auth as shapes

_PAGED: Final = ("continuationToken", "limit")


def _each(scope: str, given: str) -> dict[str, Any]:
    """The scope itself, and each scope of this list of the call."""
    return {"AllOf": [scope, {"each": "<scope>", "for": "scope", "in": given}]}


def _scopes() -> list[Endpoint]:
    return [
        Endpoint(
            name="currentScopes",
            method="get",
            route="/scopes/current",
            category="Scopes",
            title="Get current scopes",
            description="What the caller may do, everything that roles give included.",
            handler=AuthApi.current_scopes,
            scopes="auth:current-scopes",
            output=shapes.ScopesResponse,
        ),
        Endpoint(
            name="expandScopes",
            method="post",
            route="/scopes/expand",
            category="Scopes",
            title="Expand scopes",
            description="The scopes given, with everything that roles add to them.",
            handler=AuthApi.expand_scopes,
            scopes="auth:expand-scopes",
            input=shapes.ExpandScopesRequest,
            output=shapes.ScopesResponse,
        ),
    ]


def _clients() -> list[Endpoint]:
    return [
        Endpoint(
            name="listClients",
            method="get",
            route="/clients/",
            category="Clients",
            title="List clients",
            description="Clients in order of their ids, those whose id begins with `prefix` if it is given.",
            handler=AuthApi.list_clients,
            scopes="auth:list-clients",
            query=("continuationToken", "limit", "prefix"),
            output=shapes.ListClientsResponse,
        ),
        Endpoint(
            name="client",
            method="get",
            route="/clients/<clientId>",
            category="Clients",
            title="Get a client",
            description="Everything about a client but its access token.",
            handler=AuthApi.client,
            scopes="auth:get-client:<clientId>",
            output=shapes.ClientResponse,
        ),
        Endpoint(
            name="createClient",
            method="put",
            route="/clients/<clientId>",
            category="Clients",
            title="Create a client",
            description=(
                "Creates a client and answers with its access token, which is not shown again. The caller "
                "must have every scope that the client is to have. Within 15 minutes the call can be "
                "repeated: with equal properties it answers as the first time."
            ),
            handler=AuthApi.create_client,
            scopes=_each("auth:create-client:<clientId>", "scopes"),
            deferred=True,
            input=shapes.CreateClientRequest,
            output=shapes.CreateClientResponse,
        ),
        Endpoint(
            name="updateClient",
            method="post",
            route="/clients/<clientId>",
            category="Clients",
            title="Update a client",
            description=(
                "Replaces the properties of a client; scopes that are left out stay as they are. The caller "
                "must have the scopes that are added."
            ),
            handler=AuthApi.update_client,
            scopes=_each("auth:update-client:<clientId>", "scopesAdded"),
            deferred=True,
            input=shapes.CreateClientRequest,
            output=shapes.ClientResponse,
        ),
        Endpoint(
            name="resetAccessToken",
            method="post",
            route="/clients/<clientId>/reset",
            category="Clients",
            title="Reset an access token",
            description="Gives the client another access token. The former one is refused from then on.",
            handler=AuthApi.reset_access_token,
            scopes="auth:reset-access-token:<clientId>",
            output=shapes.CreateClientResponse,
        ),
        Endpoint(
            name="enableClient",
            method="post",
            route="/clients/<clientId>/enable",
            category="Clients",
            title="Enable a client",
            description="Lets a disabled client authenticate again. Does nothing to an enabled one.",
            handler=AuthApi.enable_client,
            scopes="auth:enable-client:<clientId>",
            output=shapes.ClientResponse,
        ),
        Endpoint(
            name="disableClient",
            method="post",
            route="/clients/<clientId>/disable",
            category="Clients",
            title="Disable a client",
            description=(
                "Refuses the client, and temporary credentials that it issued, until it is enabled again."
            ),
            handler=AuthApi.disable_client,
            scopes="auth:disable-client:<clientId>",
            output=shapes.ClientResponse,
        ),
        Endpoint(
            name="deleteClient",
            method="delete",
            route="/clients/<clientId>",
            category="Clients",
            title="Delete a client",
            description="Deletes a client, and with it temporary credentials that it issued.",
            handler=AuthApi.delete_client,
            scopes="auth:delete-client:<clientId>",
        ),
    ]


def _roles() -> list[Endpoint]:
    return [
        Endpoint(
            name="listRoles",
            method="get",
            route="/roles/",
            category="Roles",
            title="List roles",
            description="Every role at once. There may be many: `listRoles2` has pages.",
            handler=AuthApi.list_roles,
            scopes="auth:list-roles",
            output=shapes.AllRolesResponse,
        ),
        Endpoint(
            name="listRoles2",
            method="get",
            route="/roles2/",
            category="Roles",
            title="List roles, page by page",
            description="Roles in order of their ids.",
            handler=AuthApi.list_roles2,
            scopes="auth:list-roles",
            query=_PAGED,
            output=shapes.ListRolesResponse,
        ),
        Endpoint(
            name="listRoleIds",
            method="get",
            route="/roleids/",
            category="Roles",
            title="List role ids",
            description="Ids of roles in their order.",
            handler=AuthApi.list_role_ids,
            scopes="auth:list-roles",
            query=_PAGED,
            output=shapes.ListRoleIdsResponse,
        ),
        Endpoint(
            name="role",
            method="get",
            route="/roles/<roleId>",
            category="Roles",
            title="Get a role",
            description="A role, and what holding it gives.",
            handler=AuthApi.role,
            scopes="auth:get-role:<roleId>",
            output=shapes.RoleResponse,
        ),
        Endpoint(
            name="createRole",
            method="put",
            route="/roles/<roleId>",
            category="Roles",
            title="Create a role",
            description=(
                "Whoever has `assume:<roleId>` has the role's scopes. In a role whose id ends with `*`, "
                "`<..>` in a scope stands for what the star matched. The caller must have every scope of the "
                "role. The call can be repeated with equal scopes and description."
            ),
            handler=AuthApi.create_role,
            scopes=_each("auth:create-role:<roleId>", "scopes"),
            deferred=True,
            input=shapes.CreateRoleRequest,
            output=shapes.RoleResponse,
        ),
        Endpoint(
            name="updateRole",
            method="post",
            route="/roles/<roleId>",
            category="Roles",
            title="Update a role",
            description=(
                "Replaces scopes and description of a role. The caller must have the scopes that the role "
                "did not give before."
            ),
            handler=AuthApi.update_role,
            scopes=_each("auth:update-role:<roleId>", "scopesAdded"),
            deferred=True,
            input=shapes.CreateRoleRequest,
            output=shapes.RoleResponse,
        ),
        Endpoint(
            name="deleteRole",
            method="delete",
            route="/roles/<roleId>",
            category="Roles",
            title="Delete a role",
            description="Deletes a role; its holders lose its scopes.",
            handler=AuthApi.delete_role,
            scopes="auth:delete-role:<roleId>",
        ),
    ]


def _credentials() -> list[Endpoint]:
    return [
        Endpoint(
            name="authenticateHawk",
            method="post",
            route="/authenticate-hawk",
            category="Credentials",
            title="Authenticate a request",
            description=(
                "Who sent a request that another service received, and what he may do. The service must "
                "compare `hash`, if it is there, with the body it received."
            ),
            handler=AuthApi.authenticate_hawk,
            input=shapes.AuthenticateHawkRequest,
            output=shapes.AuthenticateHawkResponse,
        ),
        Endpoint(
            name="testAuthenticate",
            method="post",
            route="/test-authenticate",
            category="Credentials",
            title="Test authentication",
            description=(
                "For tests of clients: judges the call as if the client `tester` with the access token "
                "`no-secret` had `clientScopes`, and requires `requiredScopes`."
            ),
            handler=AuthApi.test_authenticate,
            tests_credentials=True,
            input=shapes.TestAuthenticateRequest,
            output=shapes.TestAuthenticateResponse,
        ),
        Endpoint(
            name="testAuthenticateGet",
            method="get",
            route="/test-authenticate-get/",
            category="Credentials",
            title="Test authentication by GET",
            description=(
                "As `testAuthenticate`: `tester` has `test:*` and `auth:create-client:test:*`, and "
                "`test:authenticate-get` is required."
            ),
            handler=AuthApi.test_authenticate_get,
            tests_credentials=True,
            output=shapes.TestAuthenticateResponse,
        ),
    ]


AUTH_ENDPOINTS: Final[tuple[Endpoint, ...]] = (*_scopes(), *_clients(), *_roles(), *_credentials())
"""The endpoints of the auth service; the handlers are methods of :class:`AuthApi`."""

"""Request and response bodies of the auth service: clients, roles, scopes, and tests of credentials."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, Strict, StringConstraints, model_serializer, model_validator

from schemas.base import INTEGRAL, Document, Request, Text
from schemas.ids import PRINTABLE_PATTERN, ClientId, RoleId, Scope
from schemas.task import UNIQUE, UNIQUE_ITEMS
from schemas.times import Time

MAX_SCOPES: Final = 5000
"""Scopes of one client or role, and of one list to expand."""
MAX_SCOPE_LENGTH: Final = 4096
MAX_DESCRIPTION: Final = 10_240


GivenScope = Annotated[
    str, StringConstraints(pattern=f"^(?:{PRINTABLE_PATTERN})$", strict=True, max_length=MAX_SCOPE_LENGTH)
]
ScopeList = Annotated[tuple[GivenScope, ...], Field(max_length=MAX_SCOPES)]
UniqueScopes = Annotated[
    tuple[GivenScope, ...],
    Field(max_length=MAX_SCOPES, json_schema_extra=UNIQUE_ITEMS),
    UNIQUE,
]
Description = Annotated[
    str, StringConstraints(pattern=r"^[^\x00]*$", strict=True, max_length=MAX_DESCRIPTION)
]
"""Any text without NUL, which PostgreSQL does not keep."""


class CreateClientRequest(Request):
    """What a client is to be. On an update, ``scopes`` that are left out stay as they are."""

    schema_name = "create-client-request"

    expires: Time
    description: Description
    scopes: UniqueScopes | None = None
    delete_on_expiration: Annotated[bool, Strict()] = False


class ClientResponse(Document):
    """A client without its secret; ``expanded_scopes`` is what its roles give it as well."""

    schema_name = "get-client-response"

    client_id: ClientId
    expires: Time
    description: Text
    created: Time
    last_modified: Time
    last_date_used: Time
    last_rotated: Time
    scopes: tuple[Scope, ...]
    expanded_scopes: tuple[Scope, ...]
    disabled: bool
    delete_on_expiration: bool


class CreateClientResponse(ClientResponse):
    """A client with its secret, which is shown this once."""

    schema_name = "create-client-response"

    access_token: Annotated[Text, Field(repr=False)]


class ListClientsResponse(Document):
    schema_name = "list-clients-response"

    clients: tuple[ClientResponse, ...]
    continuation_token: Text | None = None


class CreateRoleRequest(Request):
    """What a role is to be."""

    schema_name = "create-role-request"

    scopes: UniqueScopes
    description: Description


class RoleResponse(Document):
    """A role; ``expanded_scopes`` is what ``assume:<roleId>`` gives."""

    schema_name = "get-role-response"

    role_id: RoleId
    scopes: tuple[Scope, ...]
    description: Text
    created: Time
    last_modified: Time
    expanded_scopes: tuple[Scope, ...]


class AllRolesResponse(Document):
    """Every role: on the wire an array without an object around it."""

    schema_name = "get-all-roles-response"

    roles: tuple[RoleResponse, ...]

    @model_validator(mode="before")
    @classmethod
    def _of_array(cls, value: Any) -> Any:
        return {"roles": value} if isinstance(value, list) else value

    @model_serializer(mode="plain")
    def _as_array(self) -> tuple[RoleResponse, ...]:
        return self.roles


class ListRolesResponse(Document):
    schema_name = "list-roles2-response"

    roles: tuple[RoleResponse, ...]
    continuation_token: Text | None = None


class ListRoleIdsResponse(Document):
    schema_name = "get-role-ids-response"

    role_ids: tuple[RoleId, ...]
    continuation_token: Text | None = None


class ExpandScopesRequest(Request):
    schema_name = "expand-scopes-request"

    scopes: ScopeList


class ScopesResponse(Document):
    """A set of scopes in normal form (``auth.md`` 3.2)."""

    schema_name = "scopes-response"

    scopes: tuple[Scope, ...]


HeaderText = Annotated[str, StringConstraints(strict=True, max_length=64 * 1024)]


class AuthenticateHawkRequest(Request):
    """A request that another service received, for us to say who sent it."""

    schema_name = "authenticate-hawk-request"

    method: Literal["get", "post", "put", "head", "delete", "options", "trace", "copy", "patch"]
    resource: HeaderText
    host: Annotated[str, StringConstraints(strict=True, max_length=1024)]
    port: Annotated[int, Field(ge=0, le=65535), INTEGRAL]
    authorization: Annotated[HeaderText | None, Field(repr=False)] = None
    source_ip: Annotated[str, StringConstraints(strict=True, max_length=100)] | None = None


class AuthenticateHawkResponse(Document):
    """Who sent it and what he may do, or why he is not believed; ``hash`` is for the asker to check."""

    schema_name = "authenticate-hawk-response"

    status: Literal["auth-success", "auth-failed", "no-auth"]
    message: Text | None = None
    scheme: Literal["hawk", "none"] | None = None
    client_id: Text | None = None
    scopes: tuple[Scope, ...] | None = None
    expires: Time | None = None
    hash: Text | None = None


class TestAuthenticateRequest(Request):
    """Scopes that the client ``tester`` is to have, and those that the call is to require."""

    __test__ = False
    schema_name = "test-authenticate-request"

    client_scopes: ScopeList = ()
    required_scopes: ScopeList = ()


class TestAuthenticateResponse(Document):
    __test__ = False
    schema_name = "test-authenticate-response"

    client_id: Text
    scopes: tuple[Scope, ...]

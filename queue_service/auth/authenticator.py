"""Who calls, and with which scopes (``auth.md`` 1.7, 2.4)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from queue_service.auth.errors import NotAuthentic
from queue_service.auth.request import SignedRequest
from queue_service.auth.roles import Roles
from queue_service.auth.scopes import ScopeSet

__all__ = ["SKEW", "Authenticator", "Directory", "Identity", "NotAuthentic", "StoredClient"]

SKEW: Final = timedelta(minutes=15)
"""How far the clock of a client may be off."""


@dataclass(frozen=True, slots=True)
class StoredClient:
    """A permanent client. Any change of it must give a new object."""

    client_id: str
    access_token: str = field(repr=False)
    scopes: tuple[str, ...]
    """As stored, not expanded."""
    expires: datetime
    disabled: bool


class Directory(Protocol):
    """Clients and roles as they are now."""

    @property
    def roles(self) -> Roles: ...

    async def client(self, client_id: str) -> StoredClient | None:
        """The client, or None when there is none. Asked for well-formed ids only."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller of one request."""

    client_id: str
    """Of named temporary credentials the name; empty for an anonymous caller."""
    scopes: ScopeSet
    """Expanded, with what everybody has."""
    expires: datetime
    hash: str | None
    """The payload hash that the caller signed."""
    status: Literal["auth-success", "no-auth"]


class Authenticator:
    """Judges the credentials of requests."""

    def __init__(self, directory: Directory, *, skew: timedelta = SKEW) -> None:
        self._directory = directory
        self._skew = skew

    async def authenticate(
        self, request: SignedRequest, now: datetime, *, check_payload: bool = True
    ) -> Identity:
        """Who sent the request. Raises NotAuthentic for anything that is not right about its credentials.

        Without ``check_payload`` the caller must compare :attr:`Identity.hash` with the body.
        """
        raise NotImplementedError

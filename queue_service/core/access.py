"""Clients and roles as values, and the rules of creating them again (``auth.md`` 4.1, 4.2).

An access token is held here only in the sealed form in which it is stored.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from queue_service.core.errors import InputError, RequestConflict, ResourceNotFound

STATIC_PREFIX: Final = "static/"
REPEAT_WITHIN: Final = timedelta(minutes=15)
"""For so long creating a client again gives the same token, for a caller that lost the first answer."""
USED_EVERY: Final = timedelta(hours=6)
"""How exact the time is at which a client was used last."""


@dataclass(frozen=True, slots=True)
class SealedToken:
    """An encrypted access token, and the name of the key it was encrypted with."""

    text: str = field(repr=False)
    key_id: str


@dataclass(frozen=True, slots=True)
class Client:
    """A client that may sign requests and issue temporary credentials."""

    client_id: str
    description: str
    scopes: tuple[str, ...]
    token: SealedToken
    expires: datetime
    created: datetime
    last_modified: datetime
    last_date_used: datetime
    last_rotated: datetime
    disabled: bool = False
    delete_on_expiration: bool = False


@dataclass(frozen=True, slots=True)
class Role:
    """Scopes that holders of ``assume:<role_id>`` have as well; they are sorted."""

    role_id: str
    scopes: tuple[str, ...]
    description: str
    created: datetime
    last_modified: datetime


def refuse_static(client_id: str) -> None:
    """Static clients belong to the settings of the service. Raises InputError."""
    if client_id.startswith(STATIC_PREFIX):
        raise InputError(
            f"`{client_id}` is a static client: it is changed in the settings of the service, not by a call."
        )


def refuse_wild_scopes(scopes: Iterable[str]) -> None:
    """No stored scope ends with two stars (``auth.md`` 3.1). Raises InputError."""
    for scope in scopes:
        if scope.endswith("**"):
            raise InputError(f"`scopes` has `{scope}`: a scope must not end with `**`.")


def refuse_different_client(stored: Client, wanted: Client, now: datetime) -> None:
    """Raises RequestConflict unless creating ``wanted`` repeats the creation of ``stored``."""
    same = (
        stored.description == wanted.description
        and stored.expires == wanted.expires
        and set(stored.scopes) == set(wanted.scopes)
    )
    if not same or stored.disabled or now - stored.created > REPEAT_WITHIN:
        raise RequestConflict(
            f"Client `{stored.client_id}` already exists. Creating it again is possible within 15 minutes, "
            "with equal description, expires and scopes, while it is enabled."
        )


def refuse_different_role(stored: Role, wanted: Role) -> None:
    """Raises RequestConflict unless creating ``wanted`` repeats the creation of ``stored``."""
    if (stored.scopes, stored.description) != (wanted.scopes, wanted.description):
        raise RequestConflict(f"Role `{stored.role_id}` already exists with other scopes or description.")


def client_not_found(client_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"There is no client with clientId `{client_id}`.")


def role_not_found(role_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"There is no role with roleId `{role_id}`.")

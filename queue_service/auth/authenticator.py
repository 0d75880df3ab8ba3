"""Who calls, and with which scopes (``auth.md`` 1.7, 2.4)."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from queue_service.auth.cache import Cache
from queue_service.auth.certificates import (
    Certificate,
    check_rights,
    check_signature,
    check_time,
    issuer_of,
    read_certificate,
    read_scopes,
    temporary_key,
)
from queue_service.auth.errors import NotAuthentic
from queue_service.auth.hawk import Signature, decoded_ext, signature_of
from queue_service.auth.request import SignedRequest
from queue_service.auth.roles import ExpansionTooLarge, Roles, size
from queue_service.auth.scopes import ScopeSet
from schemas.ids import CLIENT_ID_PATTERN
from schemas.times import from_ms

__all__ = ["SKEW", "Authenticator", "Directory", "Identity", "NotAuthentic", "StoredClient"]

SKEW: Final = timedelta(minutes=15)
"""How far the clock of a client may be off."""
NO_AUTH_LIFE: Final = timedelta(minutes=15)
"""How long other services may believe that a caller without credentials has the scopes of everybody."""
CACHE_SIZE: Final = 32 * 1024 * 1024
"""How large everything that is remembered of credentials may be, in bytes as ``roles.size`` counts them."""
ANONYMOUS: Final = "assume:anonymous"
"""The scope that everybody has."""

_CLIENT_ID: Final = re.compile(CLIENT_ID_PATTERN)


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
    issuer: str = field(default="", compare=False)
    """The stored client whose access token is behind the credentials; empty for an anonymous caller."""


@dataclass(frozen=True, slots=True)
class _Grant:
    """What credentials give as long as the client and the roles are these."""

    client: StoredClient
    roles: Roles
    certificate: Certificate | None
    key: bytes = field(repr=False)
    client_id: str
    scopes: ScopeSet
    expires: datetime


class Authenticator:
    """Judges the credentials of requests; remembers what it found of those that were valid.

    What it remembers counts only while the directory gives the very same objects, so that every change of a
    client or of roles is honoured with the next request.
    """

    def __init__(self, directory: Directory, *, skew: timedelta = SKEW) -> None:
        self._directory = directory
        self._skew = skew
        self.grants: Cache[tuple[str, str], _Grant] = Cache(CACHE_SIZE)
        """What credentials were found to give; it counts how often that was known already."""

    async def authenticate(
        self, request: SignedRequest, now: datetime, *, check_payload: bool = True
    ) -> Identity:
        """Who sent the request. Raises NotAuthentic for anything that is not right about its credentials.

        Without ``check_payload`` the caller must compare :attr:`Identity.hash` with the body.
        """
        signature = signature_of(request)
        try:
            if signature is None:
                everybody = self._directory.roles.expand((ANONYMOUS,))
                return Identity("", everybody, now + NO_AUTH_LIFE, None, "no-auth")
            signature.check_time(now, self._skew)
            grant = await self._remembered(signature, request, now)
            if grant is None:
                grant = await self._judged(signature, request, now)
        except ExpansionTooLarge as error:
            raise NotAuthentic(str(error)) from None
        if check_payload:
            signature.check_payload(request)
        return Identity(
            grant.client_id,
            grant.scopes,
            grant.expires,
            signature.hash,
            "auth-success",
            issuer=grant.client.client_id,
        )

    async def _remembered(self, signature: Signature, request: SignedRequest, now: datetime) -> _Grant | None:
        """The grant of an earlier request with these credentials, if all that changes with time allows."""
        grant = self.grants.get((signature.client_id, signature.ext))
        if grant is None:
            return None
        client = await self._directory.client(grant.client.client_id)
        if client is not grant.client or self._directory.roles is not grant.roles:
            return None
        _check_client(client, now)
        if grant.certificate is not None:
            check_time(grant.certificate, now)
        signature.check_mac(grant.key, request)
        return grant

    async def _judged(self, signature: Signature, request: SignedRequest, now: datetime) -> _Grant:
        """Judge credentials from the beginning, in the order of ``auth.md`` 2.4.

        The signature of the request is checked as soon as its key is known, and not at the end: without the
        key nobody makes this server expand scopes, or remember anything.
        """
        ext = decoded_ext(signature.ext)
        has_certificate = "certificate" in ext
        client_id = signature.client_id
        issuer = issuer_of(ext["certificate"], client_id) if has_certificate else client_id
        client = await self._client(issuer, now)
        roles = self._directory.roles
        key, scopes, expires = client.access_token.encode(), client.scopes, client.expires
        certificate = None
        if has_certificate:
            certificate = read_certificate(ext["certificate"], client_id)
            check_time(certificate, now)
            check_rights(certificate, roles.expand(client.scopes))
            check_signature(certificate, key)
            key, scopes = temporary_key(certificate, key), certificate.scopes
            expires = min(expires, from_ms(certificate.expiry))
        signature.check_mac(key, request)
        expanded = roles.expand((*scopes, ANONYMOUS))
        if "authorizedScopes" in ext:
            expanded = _authorized(ext["authorizedScopes"], expanded, roles)
        grant = _Grant(client, roles, certificate, key, client_id, expanded, expires)
        weight = len(client_id) + len(signature.ext) + size(scopes) + size(expanded.scopes)
        self.grants.put((client_id, signature.ext), grant, weight)
        return grant

    async def _client(self, client_id: str, now: datetime) -> StoredClient:
        if _CLIENT_ID.fullmatch(client_id) is None:
            raise NotAuthentic("What the credentials name as their client can be none.")
        client = await self._directory.client(client_id)
        if client is None:
            raise NotAuthentic(f"There is no client `{client_id}`.")
        _check_client(client, now)
        return client


def _check_client(client: StoredClient, now: datetime) -> None:
    if client.disabled:
        raise NotAuthentic(f"The client `{client.client_id}` is disabled.")
    if client.expires <= now:
        raise NotAuthentic(f"The client `{client.client_id}` has expired.")


def _authorized(value: object, held: ScopeSet, roles: Roles) -> ScopeSet:
    """What is left of the scopes when a client restricts its own request to fewer."""
    scopes = read_scopes(value, "`authorizedScopes`")
    for scope in scopes:
        if not held.satisfies(scope):
            raise NotAuthentic(f"The credentials lack the scope `{scope}` of `authorizedScopes`.")
    return roles.expand((*scopes, ANONYMOUS))

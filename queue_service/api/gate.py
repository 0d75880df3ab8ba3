"""The gate of a service that knows its callers: credentials are judged here, and scopes are asked here."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog

from queue_service.api.directory import CachedDirectory
from queue_service.api.permit import Permit
from queue_service.auth.authenticator import Authenticator, Identity, NotAuthentic
from queue_service.auth.cache import Cache
from queue_service.auth.expressions import Expression, described, missing, render, satisfied
from queue_service.auth.request import SignedRequest
from queue_service.core.access import USED_EVERY
from queue_service.core.errors import AuthenticationFailed, InsufficientScopes
from queue_service.store import clients
from queue_service.store.database import Database

logger = structlog.get_logger(__name__)


class ScopedPermit:
    """What an identity's scopes permit."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    @property
    def client_id(self) -> str:
        return self._identity.client_id

    @property
    def scopes(self) -> tuple[str, ...]:
        return self._identity.scopes.scopes

    @property
    def expires(self) -> datetime:
        return self._identity.expires

    def require(self, scopes: Any, parameters: Mapping[str, Any]) -> None:
        """Pass when the scope expression is satisfied. Raises InsufficientScopes."""
        required = render(scopes, parameters)
        if required is not None and not satisfied(required, self._identity.scopes):
            raise InsufficientScopes(refusal(self._identity, required))


def refusal(identity: Identity, required: Expression) -> str:
    """What a caller is told who lacks scopes (``auth.md`` 3.4)."""
    if identity.status == "no-auth":
        return (
            "This call needs credentials: without any you do not have sufficient scopes. "
            f"It requires:\n\n{described(required)}"
        )
    return (
        f"Client `{identity.client_id}` does not have sufficient scopes. It is missing:\n\n"
        f"{described(missing(required, identity.scopes))}\n\n"
        f"The call requires:\n\n{described(required)}"
    )


class AccessGate:
    """Admits callers by their credentials."""

    def __init__(self, database: Database, directory: CachedDirectory) -> None:
        self._database = database
        self._directory = directory
        self._authenticator = Authenticator(directory)
        self._writing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Finish writing down who was there."""
        if self._writing:
            await asyncio.wait(self._writing)

    @property
    def generation(self) -> int:
        return self._directory.generation

    @property
    def known(self) -> Cache[Any, Any]:
        """What is remembered of credentials."""
        return self._authenticator.grants

    async def admit(self, request: SignedRequest) -> Permit:
        """The permit of the caller. Raises AuthenticationFailed."""
        try:
            return ScopedPermit(await self._judged(request))
        except NotAuthentic as error:
            raise AuthenticationFailed(str(error)) from None

    async def refresh(self, since: int) -> bool:
        return await self._directory.refresh(since)

    async def identify(self, request: SignedRequest) -> Identity:
        """Who sent a request to another service, which has its body to compare. Raises NotAuthentic."""
        generation = self.generation
        try:
            return await self._judged(request, check_payload=False)
        except NotAuthentic:
            if not await self.refresh(generation):
                raise
        return await self._judged(request, check_payload=False)

    async def _judged(self, request: SignedRequest, *, check_payload: bool = True) -> Identity:
        await self._directory.renew()
        now = self._database.clock.now()
        identity = await self._authenticator.authenticate(request, now, check_payload=check_payload)
        if self._directory.take_use(identity.issuer, now):
            self._write_use(identity.issuer)
        return identity

    def _write_use(self, client_id: str) -> None:
        """In the background: nobody waits for it, and nothing is lost if it fails."""
        task = asyncio.create_task(self._written(client_id), name="client used")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _written(self, client_id: str) -> None:
        try:
            await self._database.write(lambda tx: clients.mark_used(tx, client_id, USED_EVERY))
        except Exception as error:
            logger.warning("the use of a client is not written down", client=client_id, reason=str(error))

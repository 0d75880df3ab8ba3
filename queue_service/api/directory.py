"""What this process keeps of clients and roles in memory, and how it learns that they have changed.

Every change counts up the generation of ``store.access``. A signal tells this process of it, in the moment
of the commit for its own changes and by a notification for others'. As a notification can be lost, on
PostgreSQL what is older than a second is compared with the generation before it is used, and always before
somebody is refused. On SQLite nobody else makes changes.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from queue_service.auth.authenticator import StoredClient
from queue_service.auth.roles import Roles
from queue_service.core.access import USED_EVERY, Client
from queue_service.store import access, clients, roles
from queue_service.store.database import Database
from queue_service.store.signals import AccessChanged, Signal
from queue_service.store.vault import Vault, WrongKey
from schemas.ids import CLIENT_ID_PATTERN

FRESH_SECONDS: Final = 1.0
MAX_CLIENTS: Final = 10_000
"""Clients kept in memory; those that were used longest ago go first."""
_CLIENT_ID: Final = re.compile(CLIENT_ID_PATTERN)


@dataclass(slots=True)
class _Known:
    client: StoredClient
    used: datetime
    generation: int
    """When the client was read."""


class CachedDirectory:
    """Clients and roles for the authenticator. ``static``: clients of the settings, by id.

    Call :meth:`renew` before each use. ``monotonic`` is the time in seconds by which a view grows old.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        static: Mapping[str, Client],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._vault = vault
        self.static = static
        self._monotonic = monotonic
        self._fresh_seconds = float("inf") if database.is_sqlite else FRESH_SECONDS
        self.generation = -1
        """Counts the changes of clients and roles: a number for each state of both."""
        self.roles = Roles({})
        self._role_scopes: dict[str, tuple[str, ...]] = {}
        self._clients: OrderedDict[str, _Known] = OrderedDict()
        self._changed = True
        """Whether a change was announced that is not here yet."""
        self._checked = 0.0
        """When the check began that found the generation up to date."""
        self._begun = 0
        """How many checks have begun."""
        self._checking = asyncio.Lock()
        database.subscribe(self._on_signal)

    async def client(self, client_id: str) -> StoredClient | None:
        """The client, or None when there is none, or none whose token our key opens.

        The same object as before if nothing has changed about it.
        """
        generation, known = self.generation, self._clients.get(client_id)
        if known is not None and known.generation == generation:
            self._clients.move_to_end(client_id)
            return known.client
        client = await self._stored(client_id)
        usable = None if client is None else self._usable(client)
        if client is None or usable is None:
            self._clients.pop(client_id, None)
            return None
        if known is not None and known.client == usable:
            usable = known.client
        self._clients[client_id] = _Known(usable, client.last_date_used, generation)
        self._clients.move_to_end(client_id)
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        return usable

    def _usable(self, client: Client) -> StoredClient | None:
        try:
            token = self._vault.open(client.client_id, client.token)
        except WrongKey:
            return None
        return StoredClient(client.client_id, token, client.scopes, client.expires, client.disabled)

    async def _stored(self, client_id: str) -> Client | None:
        if client_id in self.static:
            return self.static[client_id]
        if _CLIENT_ID.fullmatch(client_id) is None:
            return None
        async with self._database.read() as connection:
            return await clients.get(connection, client_id)

    async def renew(self) -> None:
        """Look whether clients or roles have changed, unless that was done just now."""
        while not self._fresh:
            async with self._checking:
                if not self._fresh:
                    await self._check()

    async def refresh(self, since: int) -> bool:
        """Look now; whether clients or roles are others than those of the generation ``since``."""
        begun = self._begun
        if self.generation == since and not (self._fresh and self._database.is_sqlite):
            async with self._checking:
                if self._changed or self._begun == begun:  # else somebody looked since we asked
                    await self._check()
        return self.generation != since

    def take_use(self, client_id: str, now: datetime) -> bool:
        """Whether it is time to write that the client is used; says so once."""
        known = self._clients.get(client_id)
        if known is None or client_id in self.static or now - known.used < USED_EVERY:
            return False
        known.used = now
        return True

    @property
    def _fresh(self) -> bool:
        return not self._changed and self._monotonic() - self._checked < self._fresh_seconds

    async def _check(self) -> None:
        began = self._monotonic()
        self._begun += 1
        self._changed = False  # from here on another change says so again
        try:
            async with self._database.read() as connection:
                # The generation first: what is read after it is at least as new.
                state = await access.state(connection)
                generation = 0 if state is None else state.generation
                if generation != self.generation:
                    scopes = await roles.scopes_by_id(connection)
                    if scopes != self._role_scopes:
                        self.roles, self._role_scopes = Roles(scopes), scopes
                    self.generation = generation
        except BaseException:
            self._changed = True
            raise
        self._checked = began

    def _on_signal(self, signal: Signal) -> None:
        if isinstance(signal, AccessChanged):
            self._changed = True

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


class _View:
    """Clients and roles of one generation."""

    def __init__(self, generation: int, roles: Roles) -> None:
        self.generation = generation
        self.roles = roles
        self.clients: OrderedDict[str, _Known] = OrderedDict()

    def keep(self, known: _Known) -> None:
        self.clients[known.client.client_id] = known
        if len(self.clients) > MAX_CLIENTS:
            self.clients.popitem(last=False)


_NOTHING: Final = _View(-1, Roles({}))


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
        self._view = _NOTHING
        self._changed = True
        """Whether a change was announced that the view does not have."""
        self._checked = 0.0
        """When the check began that found the view up to date."""
        self._checking = asyncio.Lock()
        database.subscribe(self._on_signal)

    @property
    def roles(self) -> Roles:
        return self._view.roles

    @property
    def generation(self) -> int:
        """Counts the changes of clients and roles; a number for each state of both."""
        return self._view.generation

    async def client(self, client_id: str) -> StoredClient | None:
        """The client, or None when there is none, or none whose token our key opens."""
        view = self._view
        known = view.clients.get(client_id)
        if known is not None:
            view.clients.move_to_end(client_id)
            return known.client
        client = await self._stored(client_id)
        if client is None:
            return None
        try:
            token = self._vault.open(client_id, client.token)
        except WrongKey:
            return None
        usable = StoredClient(client_id, token, client.scopes, client.expires, client.disabled)
        view.keep(_Known(usable, client.last_date_used))
        return usable

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
        asked = self._monotonic()
        if self._view.generation == since and not (self._fresh and self._database.is_sqlite):
            async with self._checking:
                if self._changed or self._checked < asked:
                    await self._check()
        return self._view.generation != since

    def take_use(self, client_id: str, now: datetime) -> bool:
        """Whether it is time to write that the client is used; says so once."""
        known = self._view.clients.get(client_id)
        if known is None or client_id in self.static or now - known.used < USED_EVERY:
            return False
        known.used = now
        return True

    @property
    def _fresh(self) -> bool:
        return not self._changed and self._monotonic() - self._checked < self._fresh_seconds

    async def _check(self) -> None:
        began = self._monotonic()
        self._changed = False  # from here on another change says so again
        try:
            async with self._database.read() as connection:
                # The generation first: what is read after it is at least as new.
                state = await access.state(connection)
                generation = 0 if state is None else state.generation
                if generation != self._view.generation:
                    self._view = _View(generation, Roles(await roles.scopes_by_id(connection)))
        except BaseException:
            self._changed = True
            raise
        self._checked = began

    def _on_signal(self, signal: Signal) -> None:
        if isinstance(signal, AccessChanged):
            self._changed = True

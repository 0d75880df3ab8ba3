"""Who may use the service: builds what knows it, from settings and database; the first time, makes it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from queue_service.api.auth_api import AuthApi
from queue_service.api.directory import CachedDirectory
from queue_service.api.gate import AccessGate
from queue_service.api.permit import OPEN_GATE, Gate
from queue_service.auth.temporary import Issuer, two_slugids
from queue_service.core.access import Client
from queue_service.operations import first_start
from queue_service.secret_key import key_file, secret_of
from queue_service.settings import Settings
from queue_service.store import clients
from queue_service.store.database import Database
from queue_service.store.vault import Vault, WrongKey

logger = structlog.get_logger(__name__)

NEVER: Final = datetime(3000, 1, 1, tzinfo=UTC)


class NoRoot(Exception):
    """There is no root client that could be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Access:
    """What the service needs to know its callers, and to give workers credentials."""

    gate: Gate
    api: AuthApi
    issuer: Issuer
    made_root: bool
    """Whether this start has made the root client, so that its token must be shown."""


@asynccontextmanager
async def open_access(database: Database, settings: Settings) -> AsyncIterator[Access]:
    """Access for this process. Raises NoSecretKey and NoRoot."""
    vault = Vault(secret_of(settings))
    token, now = settings.root_access_token.get_secret_value(), database.clock.now()
    new_root = None if token else _root(settings, vault, two_slugids(), now)
    begun = await database.write(lambda tx: first_start.begin(tx, new_root))
    if begun.root is not None:
        token = _opened(begun.root, vault, settings)
    await _warn_of_other_keys(database, vault, settings)
    directory = CachedDirectory(database, vault, _static(settings, vault, begun.state.created))
    await directory.renew()
    gate = AccessGate(database, directory)
    try:
        yield Access(
            gate=OPEN_GATE if settings.no_auth else gate,
            api=AuthApi(database, vault, directory, gate),
            issuer=Issuer(settings.root_client_id, token),
            made_root=begun.made_root,
        )
    finally:
        await gate.close()


async def stored_root_token(database: Database, settings: Settings) -> str:
    """The access token of the root client that a first start has made. Raises NoSecretKey and NoRoot."""
    async with database.read() as connection:
        root = await clients.get(connection, settings.root_client_id)
    if root is None:
        raise NoRoot(f"there is no client {settings.root_client_id} yet: start `taskbus serve` first")
    return _opened(root, Vault(secret_of(settings, make=False)), settings)


def _opened(root: Client, vault: Vault, settings: Settings) -> str:
    try:
        return vault.open(root.client_id, root.token)
    except WrongKey:
        raise NoRoot(
            f"the access token of {root.client_id} in the database was encrypted with another key: "
            f"{_restore(settings)}, or set TASKBUS_ROOT_ACCESS_TOKEN to a new one"
        ) from None


async def _warn_of_other_keys(database: Database, vault: Vault, settings: Settings) -> None:
    async with database.read() as connection:
        number, one = await clients.with_other_key(connection, vault.key_id)
    if number:
        logger.error(
            "access tokens were encrypted with another key; these clients cannot authenticate: "
            f"{_restore(settings)}, or reset their access tokens",
            clients=number,
            among_them=one,
        )


def _restore(settings: Settings) -> str:
    file = key_file(settings)
    now = "" if file is None else f", now {file}"
    return f"restore that key (TASKBUS_SECRET_KEY, or TASKBUS_SECRET_KEY_FILE{now})"


def _static(settings: Settings, vault: Vault, started: datetime) -> dict[str, Client]:
    """The clients of the settings by id."""
    defined: list[Client] = [
        _client(
            vault,
            client.client_id,
            client.access_token.get_secret_value(),
            client.description,
            client.scopes,
            started,
        )
        for client in settings.static_clients
    ]
    if settings.root_access_token:
        defined.append(_root(settings, vault, settings.root_access_token.get_secret_value(), started))
    return {client.client_id: client for client in defined}


def _root(settings: Settings, vault: Vault, token: str, at: datetime) -> Client:
    description = "Root client of the service: may do everything, and issues the credentials of claims."
    return _client(vault, settings.root_client_id, token, description, ("*",), at)


def _client(
    vault: Vault, client_id: str, token: str, description: str, scopes: Iterable[str], at: datetime
) -> Client:
    return Client(
        client_id=client_id,
        description=description,
        scopes=tuple(scopes),
        token=vault.seal(client_id, token),
        expires=NEVER,
        created=at,
        last_modified=at,
        last_date_used=at,
        last_rotated=at,
    )

"""Changes of clients: each one alone at a time, with its message (``auth.md`` 4.1)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from queue_service.core.access import Client, SealedToken, client_not_found, refuse_different_client
from queue_service.store import access, clients, outbox
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing
from schemas.messages import (
    ClientCreatedMessage,
    ClientDeletedMessage,
    ClientMessage,
    ClientUpdatedMessage,
)

Authorize = Callable[[Client], None]
Rule = Callable[[Client, datetime], Client]
"""What becomes of a client at a time."""


async def create(tx: Tx, wanted: Client) -> Client:
    """The new client, or the stored one when the call repeats its creation. Raises RequestConflict."""
    await access.lock(tx)
    stored = await clients.get(tx.connection, wanted.client_id)
    if stored is not None:
        refuse_different_client(stored, wanted, tx.now)
        return stored
    await clients.insert(tx, wanted)
    await _tell(tx, ClientCreatedMessage(client_id=wanted.client_id))
    return wanted


async def change(tx: Tx, client_id: str, rule: Rule, authorize: Authorize | None = None) -> Client:
    """Apply a rule to a client, after ``authorize`` had its say. Raises ResourceNotFound.

    A rule that alters nothing tells nothing.
    """
    await access.lock(tx)
    stored = await clients.get(tx.connection, client_id)
    if stored is None:
        raise client_not_found(client_id)
    if authorize is not None:
        authorize(stored)
    changed = rule(stored, tx.now)
    if changed is not stored:
        await clients.save(tx, changed)
        await _tell(tx, ClientUpdatedMessage(client_id=client_id))
    return changed


async def delete(tx: Tx, client_id: str) -> None:
    """Delete a client, if there is one."""
    await access.lock(tx)
    if await clients.remove(tx, client_id):
        await _tell(tx, ClientDeletedMessage(client_id=client_id))


async def delete_expired(tx: Tx, before: datetime, limit: int) -> int:
    """Delete clients that expired before this time and are to be deleted then; how many there were."""
    found = await clients.expired(tx.connection, before, limit)
    if not found:
        return 0
    await access.lock(tx)
    deleted = await clients.remove_expired(tx, found, before)
    if deleted:
        await _tell(tx, *(ClientDeletedMessage(client_id=client_id) for client_id in deleted))
    return len(deleted)


def replaced(
    *, description: str, expires: datetime, scopes: tuple[str, ...] | None, delete_on_expiration: bool
) -> Rule:
    """Other properties; without ``scopes`` the client keeps its own."""

    def rule(client: Client, now: datetime) -> Client:
        return replace(
            client,
            description=description,
            expires=expires,
            scopes=client.scopes if scopes is None else scopes,
            delete_on_expiration=delete_on_expiration,
            last_modified=now,
        )

    return rule


def rotated(token: SealedToken) -> Rule:
    """Another access token."""

    def rule(client: Client, now: datetime) -> Client:
        return replace(client, token=token, last_rotated=now, last_modified=now)

    return rule


def enabled(client: Client, now: datetime) -> Client:
    """Able to authenticate."""
    return replace(client, disabled=False, last_modified=now) if client.disabled else client


def disabled(client: Client, now: datetime) -> Client:
    """Unable to authenticate."""
    return client if client.disabled else replace(client, disabled=True, last_modified=now)


async def _tell(tx: Tx, *messages: ClientMessage) -> None:
    await access.changed(tx)
    await outbox.record(tx, [Outgoing(message, (), (f"client {message.client_id}",)) for message in messages])

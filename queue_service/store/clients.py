"""Client rows. Whoever changes them holds the lock of ``store.access``."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import Integer, Row, Text, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.core.access import Client, SealedToken
from queue_service.store.database import Concurrent, Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection
from queue_service.store.tables import DELETED_ON_EXPIRATION, clients
from queue_service.store.types import Milliseconds

# ---- statements --------------------------------------------------------------------------------------

_id = bindparam("of_client", type_=Text)
_limit = bindparam("wanted", type_=Integer)

SELECT: Final = select(clients).where(clients.c.client_id == _id)
PAGE: Final = (
    select(clients)
    .where(
        clients.c.client_id > bindparam("after", type_=Text),
        clients.c.client_id >= bindparam("first", type_=Text),
        clients.c.client_id < bindparam("end", type_=Text),
    )
    .order_by(clients.c.client_id)
    .limit(_limit)
)
_MUTABLE: Final = (
    "description",
    "scopes",
    "sealed_token",
    "key_id",
    "expires",
    "last_modified",
    "last_rotated",
    "disabled",
    "delete_on_expiration",
)
_COLUMNS: Final = ("client_id", "created", "last_date_used", *_MUTABLE)
INSERT: Final = (
    upsert(clients)
    .values({name: bindparam(name, type_=clients.c[name].type) for name in _COLUMNS})
    .on_conflict_do_nothing()
    .returning(clients.c.client_id)
)
SAVE: Final = (
    update(clients)
    .where(clients.c.client_id == _id)
    .values({name: bindparam(name, type_=clients.c[name].type) for name in _MUTABLE})
    .returning(clients.c.client_id)
)
DELETE: Final = delete(clients).where(clients.c.client_id == _id).returning(clients.c.client_id)
USED: Final = (
    update(clients)
    .where(
        clients.c.client_id == _id,
        clients.c.last_date_used <= bindparam("before", type_=Milliseconds),
    )
    .values(last_date_used=bindparam("now", type_=Milliseconds))
)
EXPIRED: Final = (
    select(clients.c.client_id)
    .where(text(DELETED_ON_EXPIRATION), clients.c.expires < bindparam("before", type_=Milliseconds))
    .order_by(clients.c.expires)
    .limit(_limit)
)
_ids = Rows("ids", client_id=Text)
DELETE_EXPIRED: Final = (
    delete(clients)
    .where(
        clients.c.client_id.in_(select(_ids.c.client_id)),
        text(DELETED_ON_EXPIRATION),
        clients.c.expires < bindparam("before", type_=Milliseconds),
    )
    .returning(clients.c.client_id)
)
OTHER_KEY: Final = (
    select(func.count(), func.min(clients.c.client_id))
    .select_from(clients)
    .where(clients.c.key_id != bindparam("key_id", type_=Text))
)


# ---- functions ---------------------------------------------------------------------------------------


async def get(connection: Connection, client_id: str) -> Client | None:
    """The client with this id."""
    row = (await connection.execute(SELECT, {"of_client": client_id})).first()
    return None if row is None else _client(row)


async def page(connection: Connection, prefix: str, after: str, wanted: int) -> list[Client]:
    """Clients whose id begins with ``prefix`` and comes after ``after``, in order of their ids."""
    bounds = {"first": prefix, "end": _end_of(prefix), "after": after, "wanted": wanted}
    return [_client(row) for row in await connection.execute(PAGE, bounds)]


async def insert(tx: Tx, client: Client) -> None:
    """Write a new client. Raises Concurrent when it is there already."""
    if (await tx.connection.execute(INSERT, _values(client, _COLUMNS))).first() is None:
        raise Concurrent("another transaction created the same client")


async def save(tx: Tx, client: Client) -> None:
    """Write a client that was changed. Raises Concurrent when it is gone."""
    values = {"of_client": client.client_id, **_values(client, _MUTABLE)}
    if (await tx.connection.execute(SAVE, values)).first() is None:
        raise Concurrent("a client vanished between reading and writing it")


async def remove(tx: Tx, client_id: str) -> bool:
    """Delete a client; whether there was one."""
    return (await tx.connection.execute(DELETE, {"of_client": client_id})).first() is not None


async def mark_used(tx: Tx, client_id: str, not_since: timedelta) -> None:
    """Write that the client is used now, unless that was written less than ``not_since`` ago."""
    values = {"of_client": client_id, "now": tx.now, "before": tx.now - not_since}
    await tx.connection.execute(USED, values)


async def expired(connection: Connection, before: datetime, limit: int) -> list[str]:
    """Ids of clients that expired before this time and are to be deleted for it."""
    found = await connection.execute(EXPIRED, {"before": before, "wanted": limit})
    return list(found.scalars())


async def remove_expired(tx: Tx, client_ids: list[str], before: datetime) -> list[str]:
    """Delete those of the clients for which that is still so; their ids, in order."""
    deleted = await tx.connection.execute(DELETE_EXPIRED, {**_ids.of(client_ids), "before": before})
    return sorted(deleted.scalars())


async def with_other_key(connection: Connection, key_id: str) -> tuple[int, str]:
    """How many clients have a token that was encrypted with another key, and the id of one of them."""
    row = (await connection.execute(OTHER_KEY, {"key_id": key_id})).one()
    return int(row[0]), str(row[1] or "")


def _end_of(prefix: str) -> str:
    """What comes after everything that begins with the prefix; ids are printable ASCII."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix and prefix.isascii() else "\x7f"


def _client(row: Row[Any]) -> Client:
    return Client(
        client_id=row.client_id,
        description=row.description,
        scopes=tuple(from_json(row.scopes)),
        token=SealedToken(row.sealed_token, row.key_id),
        expires=row.expires,
        created=row.created,
        last_modified=row.last_modified,
        last_date_used=row.last_date_used,
        last_rotated=row.last_rotated,
        disabled=bool(row.disabled),
        delete_on_expiration=bool(row.delete_on_expiration),
    )


def _values(client: Client, columns: tuple[str, ...]) -> Mapping[str, Any]:
    values: dict[str, Any] = {
        "client_id": client.client_id,
        "description": client.description,
        "scopes": to_json(client.scopes).decode(),
        "sealed_token": client.token.text,
        "key_id": client.token.key_id,
        "expires": client.expires,
        "created": client.created,
        "last_modified": client.last_modified,
        "last_date_used": client.last_date_used,
        "last_rotated": client.last_rotated,
        "disabled": int(client.disabled),
        "delete_on_expiration": int(client.delete_on_expiration),
    }
    return {name: values[name] for name in columns}

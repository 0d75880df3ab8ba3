"""Rows for the relay: messages whose routing keys tell which they are."""

from collections.abc import Callable
from typing import Final

from sqlalchemy import insert, select

from queue_service.store import outbox
from queue_service.store.database import Database, Tx
from queue_service.store.signals import OutboxFilled
from queue_service.store.tables import outbox as table
from tests.store.given import read

RECORD: Final = insert(table)
ALL: Final = select(table.c.id, table.c.routing_key).order_by(table.c.id)


def first_letter(name: str) -> str:
    return name[0]


async def record(
    database: Database,
    *names: str,
    exchange: str = "exchange/test",
    key_of: Callable[[str], str] = first_letter,
) -> None:
    """A row for each name, which is its routing key; those with the same order key must keep their order."""

    async def script(tx: Tx) -> None:
        rows = [
            {
                "exchange": exchange,
                "routing_key": name,
                "cc": "[]",
                "order_keys": f'["{key_of(name)}"]',
                "body": "{}",
                "created": tx.now,
            }
            for name in names
        ]
        for row in rows:
            await tx.connection.execute(RECORD, row)
        tx.announce(OutboxFilled())

    await database.write(script)


async def waiting(database: Database) -> list[str]:
    """The names of the rows that have not been published, oldest first."""
    return list(await ids(database))


async def aside(database: Database) -> list[str]:
    """The names of the rows that are set aside."""
    return [row.message.routing_key for row in await read(database, outbox.next_set_aside, 100_000)]


async def ids(database: Database) -> dict[str, str]:
    """The message-id of every row, by its name."""
    async with database.read() as connection:
        return {row.routing_key: str(row.id) for row in await connection.execute(ALL)}

"""Release 0.1 as it was: its schema, what was in a database of its, and what its program said to it.

``release_0_1.json`` was recorded with the program of that release on each kind of database: first a group of
tasks in every state was left there (``tables``), then a process went on working with them (``statements``,
with their values and the rows they gave).
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from alembic import command
from sqlalchemy import Connection, text

from queue_service.store.database import Database
from queue_service.store.migrations import runner

REVISION: Final = "0005"
COUNTED: Final = ("outbox", "resolutions")
"""Tables whose ids the database counts up."""


@cache
def recorded() -> dict[str, Any]:
    """The recording."""
    file = Path(__file__).with_name("release_0_1.json")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


async def install(database: Database) -> None:
    """Give an empty database the schema of the release, and what was in it."""
    async with database.engine.begin() as connection:
        await connection.run_sync(lambda sync: command.upgrade(runner._config(sync), REVISION))
        await connection.run_sync(_fill)


def _fill(connection: Connection) -> None:
    for name, table in recorded()["tables"].items():
        columns = table["columns"]
        insert = text(
            f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join(f':{c}' for c in columns)})"
        )
        connection.execute(insert, [dict(zip(columns, row, strict=True)) for row in table["rows"]])
    if connection.dialect.name == "postgresql":
        for name in COUNTED:
            connection.execute(
                text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}))")
            )


async def content(database: Database) -> dict[str, list[list[Any]]]:
    """The rows of the release's tables, in the columns it knows."""
    found = {}
    async with database.engine.connect() as connection:
        for name, table in recorded()["tables"].items():
            columns = ", ".join(table["columns"])
            rows = await connection.execute(text(f"SELECT {columns} FROM {name}"))
            found[name] = sorted(([*row] for row in rows), key=repr)
    return found

"""What operators ask of the database that nobody else asks: its schema, its clock, what has been forgotten in it."""

from typing import Final

from sqlalchemy import Text, column, select, table

from queue_service.store.statements import Connection

_revision = table("alembic_version", column("version_num", Text))
REVISION: Final = select(_revision.c.version_num)


async def revision(connection: Connection) -> str | None:
    """The revision of the schema. Raises what the driver raises when there is none at all."""
    found: str | None = (await connection.execute(REVISION)).scalar()
    return found

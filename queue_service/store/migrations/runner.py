"""Bring a database to the newest schema, or tell which revision it has."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from queue_service.store.database import Database, translated_errors

MIGRATION_LOCK = 0x7461736B627573
"""Two programs that migrate the same PostgreSQL database do so one after the other."""


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@cache
def newest_revision() -> str:
    """The revision this program was written for."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("there are no migrations in this installation")
    return head


@cache
def revisions() -> frozenset[str]:
    """All revisions that this program knows."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


async def current_revision(database: Database) -> str | None:
    """The revision of the database; None when it is empty."""
    with translated_errors():
        async with database.engine.connect() as connection:
            return await connection.run_sync(_revision)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def migrate(database: Database) -> tuple[str | None, str]:
    """Upgrade to the newest schema; the revisions before and after. Raises StoreUnavailable."""
    before = await current_revision(database)
    with translated_errors():
        async with database.engine.begin() as connection:
            if not database.is_sqlite:
                await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            await connection.run_sync(lambda sync: command.upgrade(_config(sync), "head"))
    return before, newest_revision()

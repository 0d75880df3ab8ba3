"""The migrated schema is the one the statements were written for, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from queue_service.store.database import Database
from queue_service.store.migrations import runner
from queue_service.store.tables import metadata
from tests.store.databases import BOTH, administer, new_name, of_server, opened
from tests.store.manual_clock import ManualClock


@pytest.fixture(params=BOTH)
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        async with opened(f"sqlite:///{tmp_path / 'empty.db'}", ManualClock()) as database:
            yield database
        return
    server: str = request.getfixturevalue("postgres_url")
    name = new_name()
    await administer(server, f"CREATE DATABASE {name}")
    async with opened(of_server(server, name), ManualClock()) as database:
        yield database
    await administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def differences(connection: Connection) -> Any:
    options = {"compare_type": True, "compare_server_default": True}
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def described(connection: Connection) -> dict[str, Any]:
    """Everything of the schema that a statement may depend on, partial indexes and collations included."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%'"))
        return {row.name: _clauses(row.sql or "") for row in rows if "alembic" not in row.name}
    indexes = connection.execute(
        text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
    )
    columns = connection.execute(
        text(
            "SELECT table_name || '.' || column_name, data_type, collation_name, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public'"
        )
    )
    found = {row[0]: tuple(row[1:]) for row in (*indexes, *columns)}
    return {name: facts for name, facts in found.items() if "alembic" not in name}


def _clauses(sql: str) -> list[str]:
    """What a statement of SQLite says, in any order: a column that was added later stands at the end."""
    head, _, rest = " ".join(sql.split()).partition(" (")
    body, _, tail = rest.rpartition(")")
    return [head, *sorted(clause.strip() for clause in body.split(",")), tail]


async def test_migrated_schema_has_no_difference_to_the_tables(empty: Database) -> None:
    await runner.migrate(empty)
    async with empty.engine.begin() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrated_schema_is_the_one_made_from_the_tables(empty: Database) -> None:
    await runner.migrate(empty)
    async with empty.engine.begin() as connection:
        migrated = await connection.run_sync(described)
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        assert await connection.run_sync(described) == migrated


async def test_migrating_tells_the_revisions_before_and_after(empty: Database) -> None:
    newest = runner.newest_revision()
    assert await runner.current_revision(empty) is None
    assert await runner.migrate(empty) == (None, newest)
    assert await runner.current_revision(empty) == newest
    assert await runner.migrate(empty) == (newest, newest)


async def test_every_revision_can_be_taken_back_and_made_again(empty: Database) -> None:
    await runner.migrate(empty)
    async with empty.engine.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(runner._config(sync), "base"))
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert tables == ["alembic_version"]
    await runner.migrate(empty)
    async with empty.engine.begin() as connection:
        assert await connection.run_sync(differences) == []


async def test_two_programs_may_migrate_at_once(empty: Database) -> None:
    newest = runner.newest_revision()
    outcomes = await asyncio.gather(runner.migrate(empty), runner.migrate(empty))
    assert [after for _, after in outcomes] == [newest, newest]

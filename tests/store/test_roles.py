"""Rows of roles."""

from dataclasses import replace
from datetime import timedelta

import pytest

from queue_service.core.access import Role
from queue_service.store import roles
from queue_service.store.database import Database, StoreUnavailable, Tx
from tests.core.samples import NOW


def role(role_id: str = "r", *scopes: str) -> Role:
    return Role(role_id, scopes, "d é", NOW, NOW + timedelta(hours=1))


async def insert(database: Database, *made: Role) -> None:
    async def script(tx: Tx) -> None:
        for one in made:
            await roles.insert(tx, one)

    await database.write(script)


async def stored(database: Database, role_id: str = "r") -> Role | None:
    async with database.read() as connection:
        return await roles.get(connection, role_id)


async def test_a_role_comes_back_as_it_was_written(database: Database) -> None:
    made = role("hook id:*", "a", "b:<..>")
    await insert(database, made)
    assert await stored(database, "hook id:*") == made
    assert await stored(database, "hook id:") is None


async def test_a_role_is_not_written_twice(database: Database) -> None:
    await insert(database, role())
    with pytest.raises(StoreUnavailable):
        await insert(database, role("r", "other"))
    assert await stored(database) == role()


async def test_saving_keeps_when_it_was_created(database: Database) -> None:
    await insert(database, role("r", "a"))
    later = NOW + timedelta(days=1)
    changed = Role("r", ("b",), "other", later, later)
    await database.write(lambda tx: roles.save(tx, changed))
    assert await stored(database) == replace(changed, created=NOW)


async def test_saving_a_role_that_is_gone_is_noticed(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await database.write(lambda tx: roles.save(tx, role()))


async def test_removing_tells_whether_there_was_one(database: Database) -> None:
    await insert(database, role())
    assert await database.write(lambda tx: roles.remove(tx, "r"))
    assert not await database.write(lambda tx: roles.remove(tx, "r"))


async def test_lists_are_in_order_of_the_ids_by_their_bytes(database: Database) -> None:
    made = [role(name, f"of {name}") for name in ("b", "a*", "B", "a b")]
    await insert(database, *made)
    async with database.read() as connection:
        assert [one.role_id for one in await roles.every(connection)] == ["B", "a b", "a*", "b"]
        assert [one.role_id for one in await roles.page(connection, "a b", 1)] == ["a*"]
        assert [one.role_id for one in await roles.page(connection, "", 3)] == ["B", "a b", "a*"]
        assert await roles.scopes_by_id(connection) == {one.role_id: one.scopes for one in made}

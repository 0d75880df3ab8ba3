"""Leases: one holder at a time, by the clock."""

import asyncio
from datetime import timedelta

from queue_service.store import leases
from queue_service.store.database import Database
from tests.store.databases import opened
from tests.store.manual_clock import ManualClock

DURATION = timedelta(seconds=10)


async def acquire(database: Database, holder: str, name: str = "relay") -> bool:
    return await database.write(lambda tx: leases.acquire(tx, name, holder, DURATION))


async def release(database: Database, holder: str) -> None:
    await database.write(lambda tx: leases.release(tx, "relay", holder))


async def test_a_lease_has_one_holder(database: Database) -> None:
    assert await acquire(database, "one")
    assert not await acquire(database, "two")
    assert await acquire(database, "two", name="other lease")


async def test_a_lease_can_be_taken_once_it_has_expired(database: Database, clock: ManualClock) -> None:
    await acquire(database, "one")
    clock.advance(seconds=9.999)
    assert not await acquire(database, "two")
    clock.advance(seconds=0.001)
    assert await acquire(database, "two")
    assert not await acquire(database, "one")


async def test_a_holder_renews_its_lease(database: Database, clock: ManualClock) -> None:
    await acquire(database, "one")
    clock.advance(seconds=9)
    assert await acquire(database, "one")
    clock.advance(seconds=9)
    assert not await acquire(database, "two")


async def test_a_lease_that_was_given_back_is_free(database: Database) -> None:
    await acquire(database, "one")
    await release(database, "two")
    assert not await acquire(database, "two")
    await release(database, "one")
    assert await acquire(database, "two")


async def test_of_many_processes_one_gets_the_lease(
    postgres_database: Database, postgres_database_url: str, clock: ManualClock
) -> None:
    async with opened(postgres_database_url, clock, pool_size=5) as database:
        granted = await asyncio.gather(*(acquire(database, f"process {number}") for number in range(10)))
    assert granted.count(True) == 1

"""Pages of ids: in order, each continuing after the last (``queue-behaviour.md`` 9)."""

from datetime import timedelta

from queue_service.store import listing
from queue_service.store.database import Database
from queue_service.store.dependencies import Edge, insert_edges
from tests.core.samples import EXPIRES, NOW, new_ids, task
from tests.store.given import read, store

IDS = new_ids(5)
GROUP, OTHER_GROUP = new_ids(2)


async def given_group(database: Database) -> None:
    await store(
        database,
        *(task(task_id=task_id, task_group_id=GROUP) for task_id in IDS[::-1] if task_id != IDS[2]),
        task(task_id=IDS[2], task_group_id=OTHER_GROUP),
    )


async def test_members_of_a_group_come_in_the_order_of_their_ids(database: Database) -> None:
    await given_group(database)
    members = [IDS[0], IDS[1], IDS[3], IDS[4]]
    assert await read(database, listing.group_members, GROUP, "", 10) == members
    assert await read(database, listing.group_members, GROUP, "", 2) == members[:2]
    assert await read(database, listing.group_members, GROUP, members[1], 2) == members[2:]
    assert await read(database, listing.group_members, GROUP, members[3], 2) == []


async def test_existing_ids_come_in_order_and_once(database: Database) -> None:
    await given_group(database)
    asked = [IDS[4], IDS[0], *new_ids(2), IDS[2], "not an id"]
    assert await read(database, listing.existing, asked, "", 10) == [IDS[0], IDS[2], IDS[4]]
    assert await read(database, listing.existing, asked, IDS[0], 1) == [IDS[2]]
    assert await read(database, listing.existing, [], "", 10) == []


async def test_dependents_come_in_the_order_of_their_ids_satisfied_or_not(database: Database) -> None:
    required, *dependents = IDS
    edges = [
        (Edge(required, dependent, "all-completed"), number % 2 == 0, EXPIRES)
        for number, dependent in enumerate(dependents)
    ]
    other = (Edge(IDS[1], required, "all-completed"), False, EXPIRES)
    await database.write(lambda tx: insert_edges(tx, [*edges[::-1], other]))
    assert await read(database, listing.dependents, required, NOW, "", 10) == dependents
    assert await read(database, listing.dependents, required, NOW, dependents[0], 2) == dependents[1:3]


async def test_a_dependent_is_listed_until_it_expires(database: Database) -> None:
    required, dependent = IDS[:2]
    edge = (Edge(required, dependent, "all-completed"), False, EXPIRES)
    await database.write(lambda tx: insert_edges(tx, [edge]))
    in_time = EXPIRES - timedelta(milliseconds=1)
    assert await read(database, listing.dependents, required, in_time, "", 10) == [dependent]
    assert await read(database, listing.dependents, required, EXPIRES, "", 10) == []

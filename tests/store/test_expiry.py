"""Deleting what has expired (``queue-behaviour.md`` 11)."""

from datetime import timedelta

from queue_service.core.groups import TaskGroup
from queue_service.store import dependencies, expiry, groups, listing, tasks
from queue_service.store.database import Database
from queue_service.store.dependencies import Edge
from tests.core.samples import EXPIRES, NOW, new_ids, task
from tests.store.given import read, store

MILLISECOND = timedelta(milliseconds=1)
IDS = new_ids(4)


async def test_expired_tasks_go_with_their_definitions(database: Database) -> None:
    await store(
        database,
        *(task("scheduled completed", task_id=IDS[n], expires=EXPIRES + n * MILLISECOND) for n in range(4)),
    )
    assert await database.write(lambda tx: expiry.delete_tasks(tx, EXPIRES, 10)) == 0
    assert await database.write(lambda tx: expiry.delete_tasks(tx, EXPIRES + 2 * MILLISECOND, 10)) == 2
    assert list(await read(database, tasks.get, IDS)) == IDS[2:]
    assert sorted(await read(database, tasks.definitions, IDS)) == IDS[2:]


async def test_the_tasks_that_expired_first_go_first(database: Database) -> None:
    await store(
        database,
        *(task("scheduled completed", task_id=IDS[n], expires=EXPIRES - n * MILLISECOND) for n in range(4)),
    )
    assert await database.write(lambda tx: expiry.delete_tasks(tx, EXPIRES + MILLISECOND, 3)) == 3
    assert list(await read(database, tasks.get, IDS)) == IDS[:1]


async def test_the_id_of_a_deleted_task_can_be_used_again(database: Database) -> None:
    await store(database, task("scheduled completed", task_id=IDS[0], expires=EXPIRES))
    await database.write(lambda tx: expiry.delete_tasks(tx, EXPIRES + MILLISECOND, 10))
    await store(database, task("scheduled completed", task_id=IDS[0]))
    assert list(await read(database, tasks.get, IDS)) == IDS[:1]


async def test_expired_groups_go(database: Database) -> None:
    wanted = [TaskGroup(IDS[n], "sched", EXPIRES + n * MILLISECOND) for n in range(4)]
    await database.write(lambda tx: groups.ensure(tx, wanted, margin=timedelta(0)))
    assert await database.write(lambda tx: expiry.delete_groups(tx, EXPIRES + 2 * MILLISECOND, 1)) == 1
    assert await database.write(lambda tx: expiry.delete_groups(tx, EXPIRES + 2 * MILLISECOND, 10)) == 1
    assert list(await read(database, groups.get, IDS)) == IDS[2:]


async def test_dependency_records_expire_with_the_dependent(database: Database) -> None:
    required, early, late = IDS[:3]
    edges = [
        (Edge(required, early, "all-completed"), False, EXPIRES),
        (Edge(required, late, "all-completed"), False, EXPIRES + MILLISECOND),
    ]
    await database.write(lambda tx: dependencies.insert_edges(tx, edges))
    before = EXPIRES + MILLISECOND
    assert await database.write(lambda tx: expiry.delete_dependencies(tx, before, 10)) == 1
    assert await read(database, listing.dependents, required, NOW, "", 10) == [late]


async def test_the_next_expiry_is_that_of_the_first_task(database: Database) -> None:
    assert await read(database, expiry.next_expiry) is None
    await store(
        database,
        *(task("scheduled completed", task_id=IDS[n], expires=EXPIRES + n * MILLISECOND) for n in (1, 2)),
    )
    assert await read(database, expiry.next_expiry) == EXPIRES + MILLISECOND

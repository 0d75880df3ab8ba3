"""Task group rows (``queue-behaviour.md`` 5)."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from queue_service.core.groups import TaskGroup
from queue_service.store import groups
from queue_service.store.database import Database
from tests.core.samples import EXPIRES, GROUP_ID, NOW, new_ids, task
from tests.store.given import read, store
from tests.store.manual_clock import ManualClock

HOUR = timedelta(hours=1)
GROUP = TaskGroup(GROUP_ID, "sched", EXPIRES + HOUR)


async def ensure(database: Database, *wanted: TaskGroup) -> dict[str, TaskGroup]:
    return await database.write(lambda tx: groups.ensure(tx, wanted, margin=HOUR))


async def test_a_group_is_created_on_demand(database: Database) -> None:
    assert await ensure(database, GROUP) == {GROUP_ID: GROUP}
    assert await read(database, groups.get, [GROUP_ID]) == {GROUP_ID: GROUP}


@pytest.mark.parametrize(
    ("task_expires", "group_expires"),
    [
        (EXPIRES + HOUR + timedelta(milliseconds=1), EXPIRES + 2 * HOUR + timedelta(milliseconds=1)),
        (EXPIRES + HOUR, EXPIRES + HOUR),
        (EXPIRES + HOUR / 2, EXPIRES + HOUR),
        (EXPIRES - HOUR, EXPIRES + HOUR),
    ],
    ids=["later than the group", "with the group", "within the margin", "earlier than the first task"],
)
async def test_a_group_outlives_its_tasks(
    database: Database, task_expires: datetime, group_expires: datetime
) -> None:
    """Only a task that expires after the group prolongs it, to an hour after the task."""
    await ensure(database, GROUP)
    found = await ensure(database, replace(GROUP, expires=task_expires + HOUR))
    assert found[GROUP_ID].expires == group_expires


async def test_a_group_of_another_scheduler_stays_as_it_is(database: Database) -> None:
    await ensure(database, GROUP)
    asked = TaskGroup(GROUP_ID, "other", EXPIRES + 9 * HOUR)
    assert await ensure(database, asked) == {GROUP_ID: GROUP}


async def test_a_sealed_group_stays_as_it_is(database: Database) -> None:
    await ensure(database, GROUP)
    await database.write(lambda tx: groups.seal(tx, [GROUP_ID]))
    found = await ensure(database, replace(GROUP, expires=EXPIRES + 9 * HOUR))
    assert found == {GROUP_ID: replace(GROUP, sealed=NOW)}


async def test_many_groups_are_ensured_at_once(database: Database) -> None:
    wanted = {key: TaskGroup(key, "sched", EXPIRES) for key in new_ids(5)}
    await ensure(database, *list(wanted.values())[:2])
    assert await ensure(database, *wanted.values()) == wanted


async def test_the_first_seal_is_kept(database: Database, clock: ManualClock) -> None:
    await ensure(database, GROUP)
    sealed = {GROUP_ID: replace(GROUP, sealed=NOW)}
    assert await database.write(lambda tx: groups.seal(tx, [GROUP_ID])) == sealed
    clock.advance(hours=1)
    assert await database.write(lambda tx: groups.seal(tx, [GROUP_ID])) == sealed
    assert await read(database, groups.get, [GROUP_ID]) == sealed


async def test_what_does_not_exist_is_left_out(database: Database) -> None:
    await ensure(database, GROUP)
    (unknown,) = new_ids(1)
    assert list(await read(database, groups.get, [unknown, GROUP_ID])) == [GROUP_ID]
    assert await database.write(lambda tx: groups.lock(tx, [unknown])) == {}
    assert await database.write(lambda tx: groups.lock(tx, [GROUP_ID])) == {GROUP_ID: GROUP}
    assert await database.write(lambda tx: groups.seal(tx, [unknown])) == {}


async def test_a_group_is_resolved_when_every_task_was_resolved_once(database: Database) -> None:
    whole, part, empty, gone = new_ids(4)
    await ensure(database, *(TaskGroup(key, "sched", EXPIRES) for key in (whole, part, empty)))
    ids = new_ids(5)
    resolved: dict[str, Any] = {"ever_resolved": True}
    await store(
        database,
        task("scheduled completed", task_id=ids[0], task_group_id=whole, **resolved),
        task("scheduled completed", "rerun pending", task_id=ids[1], task_group_id=whole, **resolved),
        task("scheduled completed", task_id=ids[2], task_group_id=part, **resolved),
        task(task_id=ids[3], task_group_id=part),
        task("scheduled failed", task_id=ids[4], task_group_id=gone, **resolved),
    )
    found = await read(database, groups.resolved, [whole, part, gone])
    assert [group.task_group_id for group in found] == [whole]

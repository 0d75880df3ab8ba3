"""Task rows: what is read is what was written, and nothing is written over what somebody else wrote."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from queue_service.core import transitions
from queue_service.core.dependencies import Dependency
from queue_service.core.task import Change, Task, nothing
from queue_service.store import tasks
from queue_service.store.database import Concurrent, Database, StoreUnavailable, Tx
from queue_service.store.signals import QueueFilled, Signal, TimerSet
from tests.core.samples import CLAIM_TIMEOUT, DEADLINE, EXPIRES, HELD_BY, definition, new_ids, task
from tests.core.states import STATES
from tests.store.given import read, store


async def test_a_task_in_any_state_is_read_as_it_was_written(database: Database) -> None:
    written = {
        task_id: replace(state, task_id=task_id)
        for task_id, state in zip(new_ids(len(STATES)), STATES.values(), strict=True)
    }
    await store(database, *written.values())
    assert await read(database, tasks.get, list(written)) == written


async def test_text_of_any_kind_is_kept(database: Database) -> None:
    odd = "naïve \u0000 \U0001f600 ' \" \\ \n %(x)s :y $1"
    written = task(tags={odd: odd}, routes=(odd,))
    payload = {odd: [None, True, 1.5, -(2**53), {"": odd}], "large": 12345678901234567890}
    defined = definition(payload=payload, tags={odd: odd})

    async def script(tx: Tx) -> None:
        await tasks.create(tx, [(Change(None, written), defined)])

    await database.write(script)
    assert await read(database, tasks.get, [written.task_id]) == {written.task_id: written}
    assert await read(database, tasks.definitions, [written.task_id]) == {written.task_id: defined}


async def test_what_does_not_exist_is_left_out(database: Database) -> None:
    known, unknown = new_ids(2)
    await store(database, task(task_id=known))
    asked = [unknown, known, known]
    assert list(await read(database, tasks.get, asked)) == [known]
    assert list(await read(database, tasks.definitions, asked)) == [known]
    assert await read(database, tasks.get, []) == {}
    assert await read(database, tasks.definitions, []) == {}


async def test_lock_reads_tasks_in_the_order_of_their_ids(database: Database) -> None:
    ids = new_ids(3)
    await store(database, *(task(task_id=task_id) for task_id in ids))
    assert list(await database.write(lambda tx: tasks.lock(tx, ids[::-1]))) == ids
    assert await database.write(lambda tx: tasks.lock(tx, [])) == {}


async def test_lock_states_tells_what_dependents_need(database: Database) -> None:
    done, open_task, unknown = new_ids(3)
    await store(
        database,
        task("scheduled completed", task_id=done, ever_resolved=True),
        task(task_id=open_task, expires=DEADLINE),
    )
    found = await database.write(lambda tx: tasks.lock_states(tx, [unknown, open_task, done]))
    assert found == {
        done: Dependency(done, "completed", EXPIRES),
        open_task: Dependency(open_task, "unscheduled", DEADLINE),
    }
    assert await database.write(lambda tx: tasks.lock_states(tx, [])) == {}


async def test_a_task_that_exists_is_not_created_again(database: Database) -> None:
    old, new = new_ids(2)
    await store(database, task("scheduled running", task_id=old))
    with pytest.raises(StoreUnavailable, match="lost 5 races"):
        await store(database, task(task_id=new), task(task_id=old))
    found = await read(database, tasks.get, [old, new])
    assert list(found) == [old]
    assert found[old].state == "running"


async def test_save_writes_every_part_that_may_change(database: Database) -> None:
    before = task("scheduled pending")
    await store(database, before)
    after = task(
        "scheduled exception worker-shutdown held",
        "retry running",
        retries_left=4,
        priority="highest",
        ever_resolved=True,
        claimed_by_id=True,
    )
    await database.write(lambda tx: tasks.save(tx, [Change(before, after)]))
    assert await read(database, tasks.get, [after.task_id]) == {after.task_id: replace(after, version=1)}


async def test_save_counts_the_changes_of_a_task(database: Database) -> None:
    await store(database, task())
    for version in (1, 2, 3):
        stored = (await read(database, tasks.get, [task().task_id]))[task().task_id]
        await save_with_retries_left(database, [stored], version)
        assert (await read(database, tasks.get, [stored.task_id]))[stored.task_id].version == version


async def test_save_refuses_to_overwrite_another_version(database: Database) -> None:
    """The second of two that read the same version loses, with all that it meant to write beside it."""
    mine, neighbour = new_ids(2)
    await store(database, task(task_id=mine), task(task_id=neighbour))
    stale = await read(database, tasks.get, [mine, neighbour])
    await save_with_retries_left(database, [stale[mine]], 3)
    refused: list[Concurrent] = []

    async def script(tx: Tx) -> None:
        try:
            await tasks.save(tx, with_retries_left(stale.values(), 1))
        except Concurrent as error:
            refused.append(error)
            raise

    with pytest.raises(StoreUnavailable):
        await database.write(script)
    assert len(refused) == 5
    found = await read(database, tasks.get, [mine, neighbour])
    assert (found[mine].retries_left, found[neighbour].retries_left) == (3, 5)


def with_retries_left(loaded: Iterable[Task], left: int) -> list[Change]:
    return [Change(found, replace(found, retries_left=left)) for found in loaded]


async def save_with_retries_left(database: Database, loaded: Iterable[Task], left: int) -> None:
    await database.write(lambda tx: tasks.save(tx, with_retries_left(loaded, left)))


async def test_save_of_what_does_not_exist_is_refused(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await save_with_retries_left(database, [task()], 1)


async def test_save_leaves_alone_what_did_not_change(database: Database) -> None:
    before = task("scheduled pending")
    await store(database, before)
    await database.write(lambda tx: tasks.save(tx, [nothing(before)]))
    assert (await read(database, tasks.get, [before.task_id]))[before.task_id].version == 0


# What a change announces


async def signals_of(database: Database, *changes: Change) -> list[Signal]:
    """What is announced when these changes of stored tasks are saved."""
    seen: list[Signal] = []
    database.subscribe(seen.append)
    await database.write(lambda tx: tasks.save(tx, changes))
    return seen


async def test_a_new_task_announces_its_queue_and_its_timers(database: Database) -> None:
    seen: list[Signal] = []
    database.subscribe(seen.append)
    await store(database, task("scheduled pending"))
    assert seen == [QueueFilled("prov/type"), TimerSet("deadline", DEADLINE), TimerSet("expiry", EXPIRES)]


async def test_a_claim_announces_when_it_runs_out(database: Database) -> None:
    before = task("scheduled pending")
    await store(database, before)
    now = database.clock.now()
    claim = transitions.claim(before, now, now + CLAIM_TIMEOUT, **HELD_BY)
    assert await signals_of(database, claim) == [TimerSet("claim", now + CLAIM_TIMEOUT)]


async def test_a_retry_announces_its_queue(database: Database) -> None:
    before = task("scheduled running")
    await store(database, before)
    retry = transitions.report_exception(before, 0, "worker-shutdown", database.clock.now())
    assert await signals_of(database, retry) == [QueueFilled("prov/type")]


async def test_equal_signals_are_announced_once(database: Database) -> None:
    before = [task("scheduled failed", task_id=task_id, ever_resolved=True) for task_id in new_ids(3)]
    await store(database, *before)
    reruns = [transitions.rerun(found, database.clock.now()) for found in before]
    assert await signals_of(database, *reruns) == [QueueFilled("prov/type")]

"""Rows of task queues and workers (``queue-behaviour.md`` 7.4, 11)."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from queue_service.core.workers import QuarantineDetail, RecentTask, Seen, Worker, WorkerKey
from queue_service.store import workers
from queue_service.store.database import Database, Tx
from schemas.times import MILLISECOND
from tests.core.samples import NOW, new_ids
from tests.store.given import read

EXPIRES: Final = NOW + timedelta(days=1)
SEEN: Final = Seen(NOW, EXPIRES)
QUEUES: Final = ["a-b/type", "a/one", "a/two", "b/one"]
"""In the order of their bytes, where ``-`` comes before ``/``."""


def key(worker_id: str = "w-1", *, queue: str = "a/one", group: str = "eu") -> WorkerKey:
    return WorkerKey(queue, group, worker_id)


async def note(database: Database, *queues: str, seen: Seen = SEEN) -> None:
    await database.write(lambda tx: workers.note_queues(tx, dict.fromkeys(queues, seen)))


async def given(database: Database, *keys: WorkerKey, seen: Seen = SEEN) -> None:
    await database.write(lambda tx: workers.ensure(tx, dict.fromkeys(keys, seen)))


async def save(database: Database, worker: Worker) -> None:
    async def script(tx: Tx) -> None:
        (locked,) = await workers.lock(tx, [worker.key])
        assert locked.key == worker.key
        await workers.save(tx, [worker])

    await database.write(script)


async def quarantine(database: Database, worker: WorkerKey, until: datetime) -> None:
    stored = await read(database, workers.get, worker)
    assert stored is not None
    await save(database, replace(stored, quarantine_until=until))


# ---- task queues


async def test_a_task_queue_is_as_it_was_noted_until_it_expires(database: Database) -> None:
    await note(database, "a/one")
    found = await read(database, workers.get_queue, "a/one", EXPIRES - MILLISECOND)
    assert found is not None
    assert (found.task_queue_id, found.seen) == ("a/one", SEEN)
    assert await read(database, workers.get_queue, "a/one", EXPIRES) is None
    assert await read(database, workers.get_queue, "a/two", NOW) is None


async def test_no_time_of_a_task_queue_moves_backwards(database: Database) -> None:
    later = timedelta(hours=1)
    await note(database, "a/one")
    await note(database, "a/one", seen=Seen(NOW + later, EXPIRES - later))
    await note(database, "a/one", seen=Seen(NOW - later, EXPIRES + later))
    found = await read(database, workers.get_queue, "a/one", NOW)
    assert found is not None
    assert found.seen == Seen(NOW + later, EXPIRES + later)


async def test_task_queues_come_in_pages_in_the_order_of_their_ids(database: Database) -> None:
    await note(database, *reversed(QUEUES))
    await note(database, "a/gone", seen=Seen(NOW, NOW))
    listed = await read(database, workers.list_queues, NOW, "", 10)
    assert [queue.task_queue_id for queue in listed] == QUEUES
    listed = await read(database, workers.list_queues, NOW, QUEUES[0], 2)
    assert [queue.task_queue_id for queue in listed] == QUEUES[1:3]


async def test_a_provisioner_has_its_own_task_queues(database: Database) -> None:
    await note(database, *QUEUES)
    listed = await read(database, workers.list_queues_of, "a", NOW, "", 10)
    assert [queue.task_queue_id for queue in listed] == ["a/one", "a/two"]
    listed = await read(database, workers.list_queues_of, "a", NOW, "a/one", 10)
    assert [queue.task_queue_id for queue in listed] == ["a/two"]


async def test_a_provisioner_is_the_latest_of_its_task_queues(database: Database) -> None:
    hour = timedelta(hours=1)
    await note(database, "a/one", seen=Seen(NOW, EXPIRES + hour))
    await note(database, "a/two", seen=Seen(NOW + hour, EXPIRES))
    found = await read(database, workers.get_provisioner, "a", NOW)
    assert found is not None
    assert (found.expires, found.last_date_active) == (EXPIRES + hour, NOW + hour)
    assert await read(database, workers.get_provisioner, "b", NOW) is None
    assert await read(database, workers.get_provisioner, "a", EXPIRES + hour) is None


async def test_provisioners_come_in_pages_in_the_order_of_their_ids(database: Database) -> None:
    await note(database, *QUEUES)
    listed = await read(database, workers.list_provisioners, NOW, "", 10)
    assert [provisioner.provisioner_id for provisioner in listed] == ["a", "a-b", "b"]
    listed = await read(database, workers.list_provisioners, NOW, "a", 1)
    assert [provisioner.provisioner_id for provisioner in listed] == ["a-b"]


async def test_expired_task_queues_go_those_first_that_expired_first(database: Database) -> None:
    for number, queue in enumerate(QUEUES):
        await note(database, queue, seen=Seen(NOW, EXPIRES - number * MILLISECOND))
    assert await database.write(lambda tx: workers.delete_queues(tx, EXPIRES, 2)) == 2
    assert [queue.task_queue_id for queue in await read(database, workers.list_queues, NOW, "", 10)] == [
        "a-b/type",
        "a/one",
    ]
    assert await database.write(lambda tx: workers.delete_queues(tx, EXPIRES, 10)) == 1


# ---- workers


async def test_a_new_worker_has_no_claim_and_no_quarantine(database: Database) -> None:
    await given(database, key())
    assert await read(database, workers.get, key()) == Worker(key(), NOW, SEEN)
    assert await read(database, workers.get, key("w-2")) is None


async def test_a_known_worker_stays_as_it_is(database: Database) -> None:
    await given(database, key())
    await given(database, key(), key("w-2"), seen=Seen(NOW + timedelta(hours=1), EXPIRES))
    stored = await read(database, workers.get, key())
    assert stored is not None
    assert (stored.first_claim, stored.seen) == (NOW, SEEN)


async def test_a_saved_worker_is_read_back_equal(database: Database) -> None:
    await given(database, key())
    saved = Worker(
        key(),
        NOW,
        Seen(NOW + MILLISECOND, EXPIRES + MILLISECOND),
        tuple(RecentTask(task_id, n, NOW + n * MILLISECOND) for n, task_id in enumerate(new_ids(3))),
        EXPIRES,
        (QuarantineDetail("static/me", NOW, EXPIRES, 'ein "Grund" ☃'),),
    )
    await save(database, saved)
    assert await read(database, workers.get, key()) == saved


async def test_only_known_workers_are_locked_in_the_order_of_their_keys(database: Database) -> None:
    keys = [key("w-2"), key("w-1"), key("w-1", group="us"), key("w-1", queue="a/two")]
    await given(database, *keys[:3])
    locked = await database.write(lambda tx: workers.lock(tx, keys))
    assert [worker.key for worker in locked] == [keys[1], keys[0], keys[2]]


async def test_workers_come_in_pages_by_group_and_id(database: Database) -> None:
    keys = [key("b", group="eu"), key("a", group="us"), key("b", group="us")]
    await given(database, *reversed(keys), key("a", queue="a/two"))
    listed = await read(database, workers.list_workers, "a/one", NOW, ("", ""), 10)
    assert [worker.key for worker in listed] == keys
    listed = await read(database, workers.list_workers, "a/one", NOW, ("eu", "b"), 1)
    assert [worker.key for worker in listed] == keys[1:2]
    listed = await read(database, workers.list_workers, "a/one", NOW, ("us", "a"), 10)
    assert [worker.key for worker in listed] == keys[2:]


async def test_an_expired_worker_is_listed_while_it_is_quarantined(database: Database) -> None:
    await given(database, key("w-1"), key("w-2"), key("w-3"))
    await quarantine(database, key("w-2"), EXPIRES + timedelta(days=1))
    await quarantine(database, key("w-3"), EXPIRES)
    listed = await read(database, workers.list_workers, "a/one", EXPIRES, ("", ""), 10)
    assert [worker.key for worker in listed] == [key("w-2")]


async def test_the_quarantined_are_those_whose_date_lies_ahead(database: Database) -> None:
    await given(database, key("w-1"), key("w-2"), key("w-3"))
    await quarantine(database, key("w-2"), NOW)
    await quarantine(database, key("w-3"), NOW + MILLISECOND)
    assert await read(database, workers.quarantined, NOW) == {key("w-3"): NOW + MILLISECOND}


async def test_expired_workers_go_but_not_while_they_are_quarantined(database: Database) -> None:
    await given(database, key("w-1"), key("w-2"), key("w-3"), seen=Seen(NOW, NOW - timedelta(days=1)))
    await given(database, key("w-4"), seen=Seen(NOW, NOW))
    await quarantine(database, key("w-2"), NOW + timedelta(days=1))
    await quarantine(database, key("w-3"), NOW - MILLISECOND)
    assert await database.write(lambda tx: workers.delete_workers(tx, NOW, 10)) == 2
    assert await read(database, workers.get, key("w-1")) is None
    assert await read(database, workers.get, key("w-3")) is None
    assert await read(database, workers.get, key("w-2")) is not None
    assert await read(database, workers.get, key("w-4")) is not None

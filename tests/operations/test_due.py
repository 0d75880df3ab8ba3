"""What the passing of time does (``queue-behaviour.md`` 6.5, 6.6, 11)."""

import asyncio
from datetime import timedelta

from queue_service.core import transitions
from tests.core.samples import DEADLINE, EXPIRES, GROUP_ID, NOW, new_ids, task
from tests.operations.queue import LIMITS, Queue, creation, request
from tests.store.databases import opened
from tests.store.manual_clock import ManualClock

A, B, C = new_ids(3)


async def test_an_expired_claim_is_retried(queue: Queue, clock: ManualClock) -> None:
    await queue.create(A)
    await queue.run(A)
    await queue.told()
    clock.advance(seconds=1199.999)
    assert await queue.expire_claims() == 0
    clock.advance(milliseconds=1)
    assert await queue.expire_claims() == 1
    found = await queue.task(A)
    assert found is not None
    assert [run.reason_resolved for run in found.runs] == ["claim-expired", None]
    exception, pending = await queue.messages()
    assert (str(exception), str(pending)) == (f"task-exception {A} 0", f"task-pending {A} 1")
    assert exception.body["workerId"] == "w-1"
    assert exception.body["status"] == pending.body["status"]
    assert await queue.unlooked_at() == []
    assert await queue.claimed_ids(request()) == [[A]]


async def test_the_last_expired_claim_ends_the_task(queue: Queue, clock: ManualClock) -> None:
    await queue.create(A, retries=0)
    await queue.run(A)
    await queue.told()
    clock.advance(minutes=20)
    await queue.expire_claims()
    assert await queue.told() == [f"task-exception {A} 0"]
    assert await queue.unlooked_at() == [(A, "exception")]


async def test_a_renewed_claim_does_not_expire(queue: Queue, clock: ManualClock) -> None:
    await queue.create(A)
    await queue.run(A)
    clock.advance(minutes=19)
    await queue.change(A, lambda task, now: transitions.reclaim(task, 0, now, now + LIMITS.claim_timeout))
    clock.advance(minutes=19)
    assert await queue.expire_claims() == 0
    clock.advance(minutes=1)
    assert await queue.expire_claims() == 1


async def test_a_claim_past_the_deadline_is_left_to_the_deadline(queue: Queue, clock: ManualClock) -> None:
    await queue.given(task("scheduled running", task_id=A))
    clock.move_to(DEADLINE)
    assert await queue.expire_claims() == 0
    assert await queue.states(A) == ["running"]


async def test_expired_claims_are_worked_off_in_batches(queue: Queue, clock: ManualClock) -> None:
    await queue.given(*(task("scheduled running", task_id=task_id) for task_id in (A, B, C)))
    clock.advance(hours=1)
    assert [await queue.expire_claims(limit=2) for _ in range(3)] == [2, 1, 0]


async def test_a_deadline_acts_after_its_delay(queue: Queue, clock: ManualClock) -> None:
    await queue.given(
        task(task_id=A), task("scheduled pending", task_id=B), task("scheduled running", task_id=C)
    )
    clock.move_to(DEADLINE + LIMITS.deadline_delay - timedelta(milliseconds=1))
    assert await queue.pass_deadlines() == 0
    clock.advance(milliseconds=1)
    assert await queue.pass_deadlines() == 3
    messages = await queue.messages()
    assert sorted(map(str, messages)) == [f"task-exception {task_id} 0" for task_id in (A, B, C)]
    assert not any("workerId" in message.body for message in messages)
    assert await queue.states(A, B, C) == ["exception"] * 3
    assert len(await queue.unlooked_at()) == 3


async def test_a_resolved_task_has_no_deadline(queue: Queue, clock: ManualClock) -> None:
    await queue.given(task("scheduled completed", task_id=A, ever_resolved=True))
    clock.move_to(DEADLINE + timedelta(days=1))
    assert await queue.pass_deadlines() == 0
    assert await queue.told() == []


async def test_expired_records_are_deleted_after_the_grace(queue: Queue, clock: ManualClock) -> None:
    await queue.create_all(
        creation(A, taskGroupId=GROUP_ID), creation(B, taskGroupId=GROUP_ID, dependencies=[A])
    )
    clock.move_to(EXPIRES + LIMITS.expiry_grace)
    assert await queue.pass_deadlines() == 2
    assert await queue.delete_expired() == 0
    clock.advance(milliseconds=1)
    assert await queue.delete_expired() == 2
    assert await queue.task(A) is None
    assert await queue.group(GROUP_ID) is not None
    clock.advance(hours=1)
    assert await queue.delete_expired() == 1
    assert await queue.group(GROUP_ID) is None


async def test_records_are_deleted_in_batches_and_without_messages(queue: Queue, clock: ManualClock) -> None:
    await queue.given(*(task("scheduled completed", task_id=task_id) for task_id in (A, B, C)))
    clock.move_to(EXPIRES + timedelta(days=1))
    assert [await queue.delete_expired(limit=2) for _ in range(3)] == [2, 1, 0]
    assert await queue.told() == []


async def test_a_task_is_not_deleted_before_its_end_was_told(queue: Queue, clock: ManualClock) -> None:
    """After a time in which nothing ran: found by the simulation with seed 62."""
    await queue.given(
        task(task_id=A), task("scheduled pending", task_id=B), task("scheduled running", task_id=C)
    )
    clock.move_to(EXPIRES + timedelta(days=1))
    assert await queue.delete_expired() == 0
    await queue.pass_deadlines()
    assert sorted(await queue.told()) == [f"task-exception {task_id} 0" for task_id in (A, B, C)]
    assert await queue.delete_expired() == 3


async def test_two_processes_share_what_is_due(
    postgres_queue: Queue, postgres_database_url: str, clock: ManualClock
) -> None:
    ids = new_ids(40)
    await postgres_queue.given(*(task("scheduled running", task_id=task_id) for task_id in ids))
    clock.move_to(NOW + timedelta(hours=1))
    async with opened(postgres_database_url, clock) as database:
        processes = (postgres_queue, Queue(database))
        while any(await asyncio.gather(*(process.expire_claims(limit=7) for process in processes))):
            pass
    assert sorted(await postgres_queue.told()) == sorted(
        [f"task-exception {task_id} 0" for task_id in ids] + [f"task-pending {task_id} 1" for task_id in ids]
    )

"""claimWork on lists (``queue-behaviour.md`` 7.1, 7.2): who gets what, and in which order."""

import asyncio
from datetime import timedelta

from queue_service.core import transitions
from tests.core.samples import DEADLINE, new_ids, task
from tests.operations.queue import LIMITS, Queue, creation, request
from tests.store.databases import opened
from tests.store.manual_clock import ManualClock

A, B, C, D, E = new_ids(5)


async def test_a_claimed_run_is_running_and_told(queue: Queue) -> None:
    await queue.create(A)
    await queue.told()
    ((claimed,),) = await queue.claim(request(worker="w-7"))
    until = queue.now + LIMITS.claim_timeout
    run = claimed.task.runs[0]
    assert (run.state, run.worker_group, run.worker_id) == ("running", "eu-1", "w-7")
    assert (run.started, run.taken_until) == (queue.now, until)
    assert await queue.states(A) == ["running"]
    assert await queue.told() == [f"task-running {A} 0"]


async def test_a_claim_comes_with_the_definition_at_its_current_priority(queue: Queue) -> None:
    await queue.create(A, priority="low", payload={"x": None})
    await queue.change(A, lambda task, now: transitions.change_priority(task, "high", now))
    ((claimed,),) = await queue.claim(request())
    assert (claimed.definition.payload, claimed.definition.priority) == ({"x": None}, "high")


async def test_priority_decides_before_age(queue: Queue, clock: ManualClock) -> None:
    for task_id, priority in ((A, "low"), (B, "highest"), (C, "low"), (D, "highest"), (E, "medium")):
        await queue.create(task_id, priority=priority)
        clock.advance(seconds=1)
    assert await queue.claimed_ids(request(5)) == [[B, D, E, A, C]]


async def test_earlier_requests_are_served_first_and_in_full(queue: Queue) -> None:
    await queue.create_all(*map(creation, (A, B, C, D)))
    assert await queue.claimed_ids(request(3), request(3), request(3)) == [[A, B, C], [D], []]


async def test_messages_come_in_the_order_of_the_claims(queue: Queue) -> None:
    ids = new_ids(5)[::-1]
    await queue.create_all(*map(creation, ids))
    await queue.told()
    await queue.claim(request(2), request(3))
    assert await queue.told() == [f"task-running {task_id} 0" for task_id in ids]


async def test_nothing_is_claimed_for_a_worker_that_left(queue: Queue) -> None:
    await queue.create_all(creation(A), creation(B))
    gone = request(5, alive=False)
    assert await queue.claimed_ids(gone, request(1), gone, request(1)) == [[], [A], [], [B]]
    await queue.create(C)
    assert await queue.claimed_ids(gone) == [[]]
    assert await queue.states(C) == ["pending"]


async def test_requests_for_several_task_queues_share_a_transaction(queue: Queue) -> None:
    await queue.create(A, taskQueueId="prov/one")
    await queue.create(B, taskQueueId="prov/two")
    requests = request(5, "prov/two"), request(5, "prov/none"), request(5, "prov/one")
    assert await queue.claimed_ids(*requests) == [[B], [], [A]]


async def test_nothing_pending_is_no_error_and_tells_nothing(queue: Queue) -> None:
    assert await queue.claimed_ids(request(), request(5, "not/known")) == [[], []]
    assert await queue.told() == []


async def test_a_run_past_its_deadline_is_not_handed_out(queue: Queue, clock: ManualClock) -> None:
    await queue.given(
        task("scheduled pending", task_id=A),
        task("scheduled pending", task_id=B, deadline=DEADLINE + timedelta(milliseconds=1)),
    )
    clock.move_to(DEADLINE)
    assert await queue.claimed_ids(request(2)) == [[B]]


async def test_a_retry_is_handed_out_again(queue: Queue) -> None:
    await queue.given(task("scheduled running", task_id=A))
    await queue.change(A, lambda task, now: transitions.report_exception(task, 0, "worker-shutdown", now))
    ((claimed,),) = await queue.claim(request())
    assert [run.state for run in claimed.task.runs] == ["exception", "running"]


async def test_two_processes_never_hand_out_the_same_run(
    postgres_queue: Queue, postgres_database_url: str, clock: ManualClock
) -> None:
    ids = new_ids(120)
    await postgres_queue.create_all(*map(creation, ids))
    async with opened(postgres_database_url, clock) as database:
        processes = (postgres_queue, Queue(database))
        claimed = await asyncio.gather(
            *(process.claimed_ids(request(5), request(5)) for process in processes * 6)
        )
    handed_out = [task_id for answers in claimed for answer in answers for task_id in answer]
    rest = await postgres_queue.claimed_ids(request(120))
    assert sorted(handed_out + rest[0]) == ids

"""The lines of waiting workers (``queue-behaviour.md`` 7.2): who is served when, and who is not."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

import pytest

from queue_service.core.workers import WorkerKey
from queue_service.operations.batching import Overloaded
from queue_service.operations.claims import Claimed, WorkRequest
from queue_service.operations.work_desk import MAX_REQUESTS, MAX_RUNS, WorkDesk
from queue_service.store.database import StoreUnavailable
from queue_service.store.signals import OutboxFilled, QueueFilled
from tests.core.samples import definition, task
from tests.operations.queue import QUEUE_ID, request
from tests.store.manual_clock import ManualClock

RUN = Claimed(task("scheduled running"), definition())
OTHER_QUEUE = "prov/other"
Call = "asyncio.Task[list[Claimed]]"


class Runs:
    """Pending runs by task queue, handed out as the operation does; a claim waits while the gate is shut."""

    def __init__(self, **pending: int) -> None:
        self.pending = Counter({QUEUE_ID: pending.get("here", 0), OTHER_QUEUE: pending.get("there", 0)})
        self.calls: list[list[WorkRequest]] = []
        self.under_way = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self._begun = asyncio.Condition()

    async def claim(self, requests: Sequence[WorkRequest]) -> list[list[Claimed]]:
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            async with self._begun:
                self.calls.append(list(requests))
                self._begun.notify_all()
            outcomes = [self._claimed(asked) for asked in requests] if self.gate.is_set() else None
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            return outcomes if outcomes is not None else [self._claimed(asked) for asked in requests]
        finally:
            self.under_way -= 1

    def _claimed(self, asked: WorkRequest) -> list[Claimed]:
        count = min(asked.wanted, self.pending[asked.task_queue_id]) if asked.alive() else 0
        self.pending[asked.task_queue_id] -= count
        return [RUN] * count

    async def begun(self, count: int) -> None:
        async with self._begun:
            await self._begun.wait_for(lambda: len(self.calls) >= count)


class Worker:
    """A worker that waits for work; ``leave`` cuts its connection."""

    def __init__(
        self, desk: WorkDesk, wanted: int = 1, *, queue_id: str = QUEUE_ID, seconds: float = 60
    ) -> None:
        self._gone = asyncio.Event()
        self.call = asyncio.create_task(
            desk.claim_work(request(wanted, queue_id), seconds=seconds, gone=self._gone.wait)
        )

    def leave(self) -> None:
        self._gone.set()

    async def got(self) -> int:
        """How many runs it was given in the end."""
        return len(await self.call)


def desk_for(runs: Runs, *, poll_seconds: float | None = None, max_waiting: int = 50_000) -> WorkDesk:
    return WorkDesk(runs.claim, now=ManualClock().now, poll_seconds=poll_seconds, max_waiting=max_waiting)


async def quiet() -> None:
    """Let everything run that can run without anything new happening."""
    for _ in range(20):
        await asyncio.sleep(0)


async def waiting(desk: WorkDesk, count: int, **options: object) -> list[Worker]:
    """So many workers that have found nothing pending, in the order of their arrival."""
    workers = [Worker(desk, **options) for _ in range(count)]  # type: ignore[arg-type]
    await quiet()
    return workers


async def test_a_worker_is_served_at_once_when_runs_are_pending() -> None:
    runs = Runs(here=5)
    assert await Worker(desk_for(runs), 3).got() == 3
    assert runs.pending[QUEUE_ID] == 2
    assert len(runs.calls) == 1


async def test_a_worker_never_waits_for_its_batch_to_fill() -> None:
    assert await Worker(desk_for(Runs(here=2)), 32).got() == 2


async def test_a_worker_that_does_not_wait_is_answered_behind_a_long_line_of_those_that_do() -> None:
    desk = desk_for(Runs())
    line = await waiting(desk, MAX_REQUESTS + 1)
    assert await Worker(desk, seconds=0).got() == 0
    assert not any(worker.call.done() for worker in line)
    desk.close()


async def test_a_worker_that_does_not_wait_gets_what_those_before_it_leave() -> None:
    runs = Runs(here=5)
    desk = desk_for(runs)
    first, second, third = Worker(desk, 3), Worker(desk, 1000, seconds=0), Worker(desk, 1, seconds=0)
    assert [await worker.got() for worker in (first, second, third)] == [3, 2, 0]


async def test_a_waiting_worker_is_woken_by_the_commit() -> None:
    runs = Runs()
    desk = desk_for(runs)
    (worker,) = await waiting(desk, 1)
    runs.pending[QUEUE_ID] = 1
    desk.on_signal(QueueFilled(QUEUE_ID))
    assert await worker.got() == 1


async def test_other_signals_wake_nobody() -> None:
    runs = Runs()
    desk = desk_for(runs)
    workers = await waiting(desk, 1)
    asked = len(runs.calls)
    desk.on_signal(QueueFilled(OTHER_QUEUE))
    desk.on_signal(OutboxFilled())
    await quiet()
    assert len(runs.calls) == asked
    assert not workers[0].call.done()
    desk.close()


async def test_waiting_workers_are_served_in_the_order_of_their_arrival() -> None:
    runs = Runs()
    desk = desk_for(runs)
    workers = await waiting(desk, 5)
    for served in range(1, 6):
        runs.pending[QUEUE_ID] = 1
        desk.on_signal(QueueFilled(QUEUE_ID))
        await quiet()
        assert [worker.call.done() for worker in workers] == [True] * served + [False] * (5 - served)


async def test_the_first_in_line_gets_all_it_wants_before_the_next() -> None:
    runs = Runs()
    desk = desk_for(runs)
    first, second = await waiting(desk, 2, wanted=4)
    runs.pending[QUEUE_ID] = 5
    desk.on_signal(QueueFilled(QUEUE_ID))
    assert [await first.got(), await second.got()] == [4, 1]


async def test_runs_that_come_during_a_claim_are_not_missed() -> None:
    runs = Runs()
    desk = desk_for(runs)
    runs.gate.clear()
    worker = Worker(desk)
    await runs.begun(1)
    runs.gate.set()
    desk.on_signal(QueueFilled(QUEUE_ID))
    await quiet()
    runs.pending[QUEUE_ID] = 1
    desk.on_signal(QueueFilled(QUEUE_ID))
    assert await worker.got() == 1


async def test_one_claim_is_under_way_at_a_time() -> None:
    runs = Runs(here=500, there=500)
    desk = desk_for(runs)
    workers = [Worker(desk, queue_id=queue_id) for queue_id in (QUEUE_ID, OTHER_QUEUE) * 100]
    assert [await worker.got() for worker in workers] == [1] * 200
    assert runs.most_at_once == 1


# Leaving


async def test_after_its_time_a_worker_gets_nothing() -> None:
    assert await Worker(desk_for(Runs()), seconds=0).got() == 0


async def test_a_worker_whose_connection_is_lost_leaves_the_line() -> None:
    runs = Runs()
    desk = desk_for(runs)
    first, second = await waiting(desk, 2)
    first.leave()
    assert await first.got() == 0
    runs.pending[QUEUE_ID] = 1
    desk.on_signal(QueueFilled(QUEUE_ID))
    assert await second.got() == 1


async def test_a_worker_whose_call_is_cancelled_leaves_the_line() -> None:
    runs = Runs()
    desk = desk_for(runs)
    first, second = await waiting(desk, 2)
    first.call.cancel()
    await asyncio.wait([first.call])
    runs.pending[QUEUE_ID] = 1
    desk.on_signal(QueueFilled(QUEUE_ID))
    assert await second.got() == 1


async def test_nothing_is_claimed_for_a_worker_that_left_before_its_turn_in_the_claim() -> None:
    runs = Runs(here=1)
    desk = desk_for(runs)
    runs.gate.clear()
    first, second = Worker(desk), Worker(desk)
    await runs.begun(1)
    first.leave()
    await first.call
    runs.gate.set()
    assert [await first.got(), await second.got()] == [0, 1]


async def test_a_run_that_was_claimed_for_a_worker_that_just_left_is_told_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = Runs()
    desk = desk_for(runs)
    (worker,) = await waiting(desk, 1)
    claimed_already = runs.claim

    async def claim(requests: Sequence[WorkRequest]) -> list[list[Claimed]]:
        runs.pending[QUEUE_ID] = 1
        outcomes = await claimed_already(requests)
        worker.leave()
        await worker.call
        return outcomes

    desk._claim = claim
    with caplog.at_level(logging.WARNING):
        desk.on_signal(QueueFilled(QUEUE_ID))
        assert await worker.got() == 0
        await quiet()
    assert "a worker left while its claim was committed" in caplog.text


async def test_a_worker_whose_time_ends_during_a_claim_gets_what_was_claimed() -> None:
    runs = Runs(here=1)
    desk = desk_for(runs)
    runs.gate.clear()
    worker = Worker(desk, seconds=0)
    await runs.begun(1)
    await quiet()
    assert not worker.call.done()
    runs.gate.set()
    assert await worker.got() == 1


async def test_a_worker_whose_time_ends_during_a_claim_that_finds_nothing_gets_nothing() -> None:
    runs = Runs()
    desk = desk_for(runs)
    runs.gate.clear()
    worker = Worker(desk, seconds=0)
    await runs.begun(1)
    await quiet()
    runs.gate.set()
    assert await worker.got() == 0


# Many


async def test_a_dismissed_worker_gets_nothing_and_others_wait_on() -> None:
    desk = desk_for(Runs())
    dismissed, other = Worker(desk), Worker(desk, queue_id=OTHER_QUEUE)
    await quiet()
    desk.dismiss(WorkerKey(QUEUE_ID, "eu-1", "w-2"))
    desk.dismiss(WorkerKey(QUEUE_ID, "eu-1", "w-1"))
    assert await dismissed.got() == 0
    await quiet()
    assert not other.call.done()
    desk.close()


@pytest.mark.parametrize("pending", [0, 1])
async def test_a_worker_that_is_dismissed_during_a_claim_gets_what_was_claimed(pending: int) -> None:
    runs = Runs(here=pending)
    runs.gate.clear()
    desk = desk_for(runs)
    worker = Worker(desk)
    await runs.begun(1)
    desk.dismiss(WorkerKey(QUEUE_ID, "eu-1", "w-1"))
    await quiet()
    assert not worker.call.done()
    runs.gate.set()
    assert await worker.got() == pending


async def test_many_waiting_workers_ask_once_when_nothing_is_pending() -> None:
    """No busy loop: the first of the line prove that it is dry, and then everybody waits."""
    runs = Runs()
    desk = desk_for(runs)
    await waiting(desk, 10 * MAX_REQUESTS)
    asked = len(runs.calls)
    for more in (1, 2):
        desk.on_signal(QueueFilled(QUEUE_ID))
        await quiet()
        assert len(runs.calls) == asked + more
    assert all(len(requests) <= MAX_REQUESTS for requests in runs.calls)
    desk.close()
    await quiet()


async def test_more_workers_than_fit_into_a_transaction_are_all_served() -> None:
    runs = Runs()
    desk = desk_for(runs)
    workers = await waiting(desk, 3 * MAX_REQUESTS + 1)
    runs.pending[QUEUE_ID] = 3 * MAX_REQUESTS + 1
    desk.on_signal(QueueFilled(QUEUE_ID))
    assert [await worker.got() for worker in workers] == [1] * len(workers)


async def test_a_transaction_hands_out_a_bounded_number_of_runs() -> None:
    runs = Runs()
    desk = desk_for(runs)
    workers = await waiting(desk, 20, wanted=32)
    runs.pending[QUEUE_ID] = 20 * 32
    desk.on_signal(QueueFilled(QUEUE_ID))
    assert [await worker.got() for worker in workers] == [32] * 20
    assert max(sum(asked.wanted for asked in requests) for requests in runs.calls) <= MAX_RUNS


async def test_a_single_request_larger_than_the_bound_is_served() -> None:
    assert await Worker(desk_for(Runs(here=2 * MAX_RUNS)), 2 * MAX_RUNS).got() == 2 * MAX_RUNS


async def test_a_busy_task_queue_does_not_starve_another() -> None:
    """However many come for one task queue, a worker of another one is heard in the next transaction."""
    runs = Runs(there=1)
    desk = desk_for(runs)
    runs.gate.clear()
    busy = [Worker(desk) for _ in range(2 * MAX_REQUESTS)]
    await runs.begun(1)
    desk.on_signal(QueueFilled(QUEUE_ID))
    other = Worker(desk, queue_id=OTHER_QUEUE)
    await quiet()
    claim = runs.claim

    async def claim_while_more_come(requests: Sequence[WorkRequest]) -> list[list[Claimed]]:
        busy.extend(Worker(desk) for asked in requests if asked.task_queue_id == QUEUE_ID)
        runs.pending[QUEUE_ID] = 10 * MAX_REQUESTS
        desk.on_signal(QueueFilled(QUEUE_ID))
        return await claim(requests)

    desk._claim = claim_while_more_come
    runs.gate.set()
    assert await other.got() == 1
    heard = [any(asked.task_queue_id == OTHER_QUEUE for asked in requests) for requests in runs.calls]
    assert heard.index(True) <= 2
    desk.close()
    await asyncio.wait([worker.call for worker in busy])


# Trouble


@pytest.mark.parametrize("failure", [StoreUnavailable("gone"), ZeroDivisionError("a fault of ours")])
async def test_a_failed_claim_is_told_to_those_it_was_for(failure: Exception) -> None:
    runs = Runs()
    desk = desk_for(runs)
    workers = await waiting(desk, 2)
    runs.failure = failure
    desk.on_signal(QueueFilled(QUEUE_ID))
    for worker in workers:
        with pytest.raises(type(failure), match=str(failure)):
            await worker.call
    runs.failure = None
    runs.pending[QUEUE_ID] = 1
    assert await Worker(desk).got() == 1


async def test_too_many_workers_are_refused_and_make_room_when_they_leave() -> None:
    desk = desk_for(Runs(), max_waiting=2)
    first, second = await waiting(desk, 2)
    with pytest.raises(Overloaded, match="2 workers wait already"):
        await Worker(desk).call
    first.leave()
    await first.call
    (third,) = await waiting(desk, 1)
    assert not third.call.done()
    desk.close()
    assert [await second.got(), await third.got()] == [0, 0]


async def test_a_closed_desk_answers_with_nothing_and_lets_nobody_wait() -> None:
    desk = desk_for(Runs())
    workers = await waiting(desk, 3)
    desk.close()
    assert [await worker.got() for worker in workers] == [0, 0, 0]
    with pytest.raises(Overloaded, match="stops"):
        await Worker(desk).call


# Signals that are lost


async def test_a_run_whose_signal_was_lost_is_found_by_looking_again() -> None:
    runs = Runs()
    desk = desk_for(runs, poll_seconds=0.001)
    (worker,) = await waiting(desk, 1)
    runs.pending[QUEUE_ID] = 1
    assert await worker.got() == 1


async def test_nobody_looks_again_where_no_signal_can_be_lost() -> None:
    runs = Runs()
    desk = desk_for(runs, poll_seconds=None)
    await waiting(desk, 1)
    assert desk._poll_timer is None
    desk.close()
    await quiet()


async def test_nobody_looks_again_when_nobody_waits() -> None:
    runs = Runs(here=1)
    desk = desk_for(runs, poll_seconds=0.001)
    assert await Worker(desk).got() == 1
    await quiet()
    assert desk._poll_timer is None or not desk._lines

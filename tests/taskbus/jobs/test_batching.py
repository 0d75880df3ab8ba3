"""Reports that meet travel together, and each is told what became of it."""

import asyncio
from typing import cast

import pytest

from taskbus import Queue
from taskbus.credentials import Credentials
from taskbus.errors import Conflict, ConnectionFailed
from taskbus.jobs.batching import BatchingQueue
from taskbus.outcomes import WORKER_SHUTDOWN, Completed, Outcome
from tests.taskbus.hands import GONE, LOST
from tests.taskbus.samples import TASK_ID
from tests.taskbus.scripted_queue import ScriptedQueue

CLAIM = Credentials("task-client", "secret")


@pytest.fixture
def batching(queue: ScriptedQueue) -> BatchingQueue:
    return BatchingQueue(cast(Queue, queue))


def report(batching: BatchingQueue, run_id: int, outcome: Outcome) -> asyncio.Task[None]:
    return asyncio.create_task(batching.using(CLAIM).report(TASK_ID, run_id, outcome))


async def test_a_lone_report_is_sent_at_once(queue: ScriptedQueue, batching: BatchingQueue) -> None:
    await report(batching, 0, Completed())
    assert queue.calls == [("bulk", 1), ("completed", TASK_ID, 0)]


async def test_reports_that_arrive_while_one_is_under_way_travel_together(
    queue: ScriptedQueue, batching: BatchingQueue
) -> None:
    queue.bulk_gate = asyncio.Event()
    first = report(batching, 0, Completed())
    await queue.called("bulk")
    others = [report(batching, number, Completed()) for number in (1, 2)]
    others.append(report(batching, 3, WORKER_SHUTDOWN))
    await asyncio.sleep(0)
    queue.bulk_gate.set()
    await asyncio.gather(first, *others)
    assert [call for call in queue.calls if call[0] == "bulk"] == [("bulk", 1), ("bulk", 3)]
    assert queue.reports()[-1] == ("exception", TASK_ID, 3, "worker-shutdown")


async def test_one_that_is_refused_does_not_fail_the_others(
    queue: ScriptedQueue, batching: BatchingQueue
) -> None:
    queue.fail("completed", LOST)
    refused, taken = report(batching, 0, Completed()), report(batching, 1, Completed())
    with pytest.raises(Conflict, match="the claim is lost"):
        await refused
    await taken


async def test_a_lost_server_is_the_error_of_all(queue: ScriptedQueue, batching: BatchingQueue) -> None:
    queue.fail("bulk", GONE)
    reports = [report(batching, number, Completed()) for number in (0, 1)]
    for one in reports:
        with pytest.raises(ConnectionFailed):
            await one
    await report(batching, 0, Completed())
    assert queue.reports() == [("completed", TASK_ID, 0)]


async def test_one_whose_claim_was_lost_leaves_the_line(
    queue: ScriptedQueue, batching: BatchingQueue
) -> None:
    queue.bulk_gate = asyncio.Event()
    first = report(batching, 0, Completed())
    await queue.called("bulk")
    leaving, staying = report(batching, 1, Completed()), report(batching, 2, Completed())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait({leaving})
    queue.bulk_gate.set()
    await asyncio.gather(first, staying)
    assert queue.reports() == [("completed", TASK_ID, 0), ("completed", TASK_ID, 2)]


async def test_a_report_that_says_more_is_a_call_of_its_own(
    queue: ScriptedQueue, batching: BatchingQueue
) -> None:
    await report(batching, 0, Completed({"sent": 2}))
    assert queue.calls == [("completed", TASK_ID, 0)]
    assert queue.tokens == ["secret"]

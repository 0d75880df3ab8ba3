"""Reports that meet travel together, and each is told what became of it."""

import asyncio
from typing import Any, cast

import pytest

from taskbus import Queue
from taskbus.credentials import Credentials
from taskbus.errors import Conflict, ConnectionFailed
from taskbus.jobs.batching import BatchingQueue, report_of
from taskbus.outcomes import WORKER_SHUTDOWN, Cancelled, Completed, Failed, Outcome, Snoozed
from tests.taskbus.hands import GONE, LOST
from tests.taskbus.samples import NOW, TASK_ID
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


async def test_long_reports_do_not_make_one_call_too_long(
    queue: ScriptedQueue, batching: BatchingQueue
) -> None:
    long = Completed("x" * 200_000)
    await asyncio.gather(*(report(batching, number, long) for number in range(12)))
    assert [call for call in queue.calls if call[0] == "bulk"] == [("bulk", 5), ("bulk", 5), ("bulk", 2)]


@pytest.mark.parametrize(
    ("outcome", "wire"),
    [
        (Completed(), {"outcome": "completed"}),
        (Completed({"sent": [1]}), {"outcome": "completed", "output": {"sent": [1]}}),
        (Failed(), {"outcome": "failed"}),
        (
            Failed("no", "trace", retry_at=NOW),
            {"outcome": "failed", "error": "no", "trace": "trace", "retryAt": "2024-05-01T12:00:00.000Z"},
        ),
        (Failed("no", retry=False), {"outcome": "failed", "error": "no", "retry": False}),
        (WORKER_SHUTDOWN, {"outcome": "exception", "reason": "worker-shutdown"}),
        (Snoozed(0.5), {"outcome": "snoozed", "delay": 0.5}),
        (Snoozed(0), {"outcome": "snoozed", "delay": 0}),
        (Cancelled("no"), {"outcome": "cancelled", "error": "no"}),
    ],
)
def test_every_outcome_is_a_report(outcome: Outcome, wire: dict[str, Any]) -> None:
    assert report_of(TASK_ID, 1, outcome).to_wire() == {"taskId": TASK_ID, "runId": 1, **wire}

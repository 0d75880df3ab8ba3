"""The worker for jobs against a scripted queue: what it claims, what it reports, and how it stops."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from taskbus import Queue
from taskbus.errors import InsufficientScopes
from taskbus.jobs import Hook, Job, JobOptions, Metric, Run, Taskbus, Worker
from tests.taskbus.jobs.samples import SendInvoice, claimed
from tests.taskbus.manual_clock import ManualClock
from tests.taskbus.samples import TASK_ID
from tests.taskbus.scripted_queue import ScriptedQueue

Start = Callable[[Worker], Any]


class Resize(Job):
    options = JobOptions(queue="media/resize")


async def nothing(job: Job, run: Run) -> None:
    pass


@pytest.fixture
def start(queue: ScriptedQueue, clock: ManualClock) -> Start:
    """A context with a running worker, which is stopped and awaited at its end."""

    @asynccontextmanager
    async def running(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
        bus = Taskbus(cast(Queue, queue))
        task = asyncio.create_task(worker.run(bus, clock=clock))
        try:
            yield task
        finally:
            worker.stop()
            if not task.done():
                await task

    return running


def worker_of(handler: Any = nothing, **options: Any) -> Worker:
    worker = Worker(worker_group="group", worker_id="worker", **options)
    worker.handle(SendInvoice)(handler)
    return worker


async def test_each_queue_of_a_known_type_is_asked_and_no_other(queue: ScriptedQueue, start: Start) -> None:
    worker = worker_of(concurrency=3, queues={"media/resize": 1})
    worker.handle(Resize)(nothing)
    async with start(worker):
        await queue.called("claim", 2)
    assert queue.calls == [
        ("claim", "billing/mail", "group", "worker", 3),
        ("claim", "media/resize", "group", "worker", 1),
    ]


async def test_an_attempt_is_reported_as_it_ended(queue: ScriptedQueue, start: Start) -> None:
    async def handle(job: SendInvoice, run: Run) -> None:
        if job.customer == 1:
            run.snooze(60)
        if job.customer == 2:
            run.cancel("unknown")

    queue.give(*(claimed(SendInvoice(customer=number)) for number in (1, 2, 3)))
    async with start(worker_of(handle)):
        await queue.called("completed")
    assert queue.reports() == [
        ("snoozed", TASK_ID, 0, 60.0),
        ("cancelled", TASK_ID, 0, "unknown"),
        ("completed", TASK_ID, 0),
    ]


async def test_a_handler_that_does_not_end_in_time_is_cancelled_and_its_job_given_back(
    queue: ScriptedQueue, start: Start, clock: ManualClock
) -> None:
    begun = asyncio.Event()

    async def handle(job: SendInvoice, run: Run) -> None:
        begun.set()
        await asyncio.Event().wait()

    queue.give(claimed(SendInvoice(customer=1)))
    worker = worker_of(handle, timeout=-1)
    async with start(worker) as running:
        await begun.wait()
        assert worker.running == (f"{TASK_ID}/0",)
        worker.stop()
        await clock.pass_by(30)
        await running
    assert queue.reports() == [("exception", TASK_ID, 0, "worker-shutdown")]


async def test_a_thread_that_does_not_end_keeps_neither_the_worker_nor_the_job(
    queue: ScriptedQueue, start: Start, clock: ManualClock
) -> None:
    begun, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def handle(job: SendInvoice, run: Run) -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait()

    queue.give(claimed(SendInvoice(customer=1)))
    worker = worker_of(handle, timeout=-1, soft_stop="1m")
    async with start(worker) as running:
        await begun.wait()
        worker.stop()
        await clock.pass_by(60)
        await clock.pass_by(5)
        await running
        assert queue.reports() == [("exception", TASK_ID, 0, "worker-shutdown")]
        release.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    assert queue.reports() == [("exception", TASK_ID, 0, "worker-shutdown")]


async def test_the_claim_of_a_stuck_handler_is_not_renewed(
    queue: ScriptedQueue, start: Start, clock: ManualClock
) -> None:
    begun, stuck, release = asyncio.Event(), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    class Watch(Hook):
        def metric_emit(self, metric: Metric) -> None:
            stuck.set()

    def handle(job: SendInvoice, run: Run) -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait()

    queue.give(claimed(SendInvoice(customer=1)))
    async with start(worker_of(handle, concurrency=1, hooks=[Watch()])):
        await begun.wait()
        await clock.pass_by(60)
        await clock.pass_by(10)
        await stuck.wait()
        clock.advance(530)  # half of the claim's life
        await clock.asleep(600)
        clock.advance(600)  # its end
        release.set()
        await queue.called("claim", 2)
    assert queue.count("reclaim") == 0
    assert queue.reports() == []


@pytest.mark.parametrize("replace", [True, False])
async def test_another_job_takes_the_place_of_a_stuck_one_if_that_is_wanted(
    queue: ScriptedQueue, start: Start, clock: ManualClock, replace: bool
) -> None:
    begun, stuck, release = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Watch(Hook):
        def metric_emit(self, metric: Metric) -> None:
            if metric.name == "job.stuck":
                stuck.set()

    async def handle(job: SendInvoice, run: Run) -> None:
        begun.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    queue.give(claimed(SendInvoice(customer=1)))
    worker = worker_of(handle, concurrency=1, hooks=[Watch()], replace_stuck=replace)
    async with start(worker):
        await begun.wait()
        await clock.pass_by(60)
        await clock.pass_by(10)
        await stuck.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert queue.count("claim") == (2 if replace else 1)
        release.set()


async def test_a_refusal_of_one_queue_ends_the_worker_after_its_jobs(
    queue: ScriptedQueue, start: Start
) -> None:
    queue.fail("claim", InsufficientScopes(403, "InsufficientScopes", "missing scope"))
    worker = worker_of()
    worker.handle(Resize)(nothing)
    async with start(worker) as running:
        with pytest.raises(InsufficientScopes):
            await running


async def test_a_worker_without_handlers_is_a_mistake(queue: ScriptedQueue) -> None:
    with pytest.raises(ValueError, match="expected at least one handler"):
        await Worker().run(Taskbus(cast(Queue, queue)))


async def test_a_worker_stopped_before_it_runs_claims_nothing(queue: ScriptedQueue) -> None:
    worker = worker_of()
    worker.stop()
    await worker.run(Taskbus(cast(Queue, queue)))
    assert queue.calls == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"concurrency": 0}, "concurrency: expected at least 1, got 0"),
        ({"queues": {"a/b": 0}}, "concurrency: expected at least 1, got 0"),
        ({"timeout": "soon"}, "must be a number of seconds"),
        ({"soft_stop": -1}, "must be between 0"),
    ],
)
def test_wrong_options_are_named_at_once(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Worker(**options)

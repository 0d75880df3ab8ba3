"""Whatever makes a run pending wakes the worker that waits for it, by the commit itself."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import pytest

from queue_service.core import transitions
from queue_service.operations import claims
from queue_service.operations.claims import Claimed, WorkRequest
from queue_service.operations.work_desk import WorkDesk
from queue_service.store.database import Database
from tests.core.samples import new_ids, task
from tests.operations.queue import LIMITS, Queue, creation
from tests.operations.test_work_desk import Worker, quiet
from tests.store.manual_clock import ManualClock

A, B = new_ids(2)

Step = Callable[[Queue], Awaitable[object]]


async def nothing(queue: Queue) -> None:
    pass


async def a_running_task(queue: Queue) -> None:
    await queue.given(task("scheduled running", task_id=A))


async def expire(queue: Queue) -> None:
    assert isinstance(queue.database.clock, ManualClock)
    queue.database.clock.advance(hours=1)
    await queue.expire_claims()


async def a_dependent(queue: Queue) -> None:
    await a_running_task(queue)
    await queue.create(B, dependencies=[A])


async def end_the_dependency(queue: Queue) -> None:
    await queue.change(A, lambda task, now: transitions.report(task, 0, "completed", now))
    await queue.work_off_all()


CAUSES: Final[dict[str, tuple[Step, Step]]] = {
    "createTask": (nothing, lambda queue: queue.create(A)),
    "scheduleTask": (
        lambda queue: queue.create(A, dependencies=[A]),
        lambda queue: queue.change(A, transitions.schedule),
    ),
    "rerunTask": (
        lambda queue: queue.given(task("scheduled failed", task_id=A, ever_resolved=True)),
        lambda queue: queue.change(A, transitions.rerun),
    ),
    "worker-shutdown": (
        a_running_task,
        lambda queue: queue.change(
            A, lambda task, now: transitions.report_exception(task, 0, "worker-shutdown", now)
        ),
    ),
    "claim expired": (a_running_task, expire),
    "dependencies met": (a_dependent, end_the_dependency),
    "one of several created": (
        nothing,
        lambda queue: queue.create_all(creation(A, taskQueueId="prov/other"), creation(B)),
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
async def test_a_waiting_worker_gets_the_run_that_becomes_pending(
    queue: Queue, database: Database, cause: str
) -> None:
    async def claim(requests: Sequence[WorkRequest]) -> list[list[Claimed]]:
        return await database.write(lambda tx: claims.claim(tx, requests, timeout=LIMITS.claim_timeout))

    given, happens = CAUSES[cause]
    await given(queue)
    desk = WorkDesk(claim, now=queue.database.clock.now, poll_seconds=None)
    database.subscribe(desk.on_signal)
    worker = Worker(desk)
    await quiet()
    await happens(queue)
    (claimed,) = await worker.call
    assert claimed.task.state == "running"

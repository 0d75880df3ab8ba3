"""Transactions of attached work: items are handed out, given back and given up, many at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from queue_service.core import edits, telling, transitions
from queue_service.core.controls import Controls
from queue_service.core.errors import QueueError
from queue_service.core.task import Change, Task
from queue_service.features.jobs import store as job_store
from queue_service.features.jobs.job import Job
from queue_service.features.jobs.witness import is_job
from queue_service.features.worker_socket import store
from queue_service.features.worker_socket.items import Terms, terms_of
from queue_service.operations import lanes
from queue_service.operations.ledger import Ledger
from queue_service.store import controls, tasks
from queue_service.store.database import Tx
from schemas.task import ExceptionReason

BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Dispatch:
    """An item for a connection."""

    task_id: str
    worker_id: str


@dataclass(frozen=True, slots=True)
class Dispatched:
    """An item that a connection has now."""

    task: Task
    terms: Terms
    worker_id: str
    job: Job | None = None
    """Of an item that is a typed job."""


async def dispatch(tx: Tx, wanted: Sequence[Dispatch], gateway: str) -> list[Dispatched]:
    """Claim these items for their connections; those that are not to be had any more are left out.

    The clock of an item's timeout starts here (WT-1). Pauses and limits hold, as for any claim.
    """
    found = await tasks.lock(tx, [one.task_id for one in wanted])
    waiting = {task_id: task for task_id, task in found.items() if task.in_line}
    held = await controls.hold(tx, sorted({task.task_queue_id for task in waiting.values()}))
    definitions = await tasks.definitions(tx.connection, list(waiting))
    limited = {task_id: task for task_id, task in waiting.items() if task.lane or _limited(held, task)}
    admitted = await lanes.admit_all(tx, list(limited.values()))
    jobs = await job_store.get(tx.connection, [id for id, task in waiting.items() if is_job(task)])
    ledger = Ledger(found)
    outcome: list[Dispatched] = []
    for one in wanted:
        task = waiting.pop(one.task_id, None)
        if task is None or task.deadline_passed(tx.now):
            continue
        queue = held.get(task.task_queue_id)
        try:
            if queue is not None and queue.paused_at is not None:
                continue
            if task.task_id in limited:
                if task.task_id not in admitted:
                    continue
                task = admitted[task.task_id]
            terms = terms_of(definitions[one.task_id])
            change = transitions.claim(
                task, tx.now, tx.now + terms.timeout, worker_group=gateway, worker_id=one.worker_id
            )
        except QueueError:
            continue
        outcome.append(Dispatched(ledger.apply(change), terms, one.worker_id, jobs.get(one.task_id)))
    await ledger.write(tx)
    return outcome


def _limited(held: Mapping[str, Controls], task: Task) -> bool:
    queue = held.get(task.task_queue_id)
    return queue is not None and queue.limits is not None


async def give_back(
    tx: Tx, runs: Mapping[str, int], gateway: str, worker_id: str, reason: ExceptionReason
) -> list[str]:
    """End the runs that a connection still has; the ids of their tasks (WL-1)."""
    found = await tasks.lock(tx, sorted(runs))
    ledger = Ledger(found)
    ended = []
    for task_id, task in found.items():
        run = task.last_run
        if (
            run is not None
            and (run.run_id, run.state) == (runs[task_id], "running")
            and (run.worker_group, run.worker_id) == (gateway, worker_id)
        ):
            ledger.apply(transitions.report_exception(task, run.run_id, reason, tx.now))
            ended.append(task_id)
    await ledger.write(tx)
    return ended


async def give_up_held(tx: Tx, task_ids: Sequence[str]) -> int:
    """Resolve items that waited too long for a worker; how many there were (WH-3)."""
    found = await tasks.lock(tx, task_ids)
    ledger = Ledger(found)
    given_up = 0
    for task in found.values():
        if task.in_line:
            ledger.apply(_given_up(task, tx.now))
            given_up += 1
    await ledger.write(tx)
    return given_up


async def take_over(tx: Tx) -> int:
    """Give back what gateways had that are gone; how many items there were (WI-3)."""
    returned = 0
    for gateway in await store.lapsed(tx, 1):
        lost = await store.of_gateway(tx.connection, gateway, BATCH)
        locked = await tasks.lock(tx, [task.task_id for task in lost])
        ledger = Ledger(locked)
        for task in locked.values():
            run = task.last_run
            if run is not None and run.state == "running" and run.worker_group == gateway:
                ledger.apply(transitions.report_exception(task, run.run_id, "worker-shutdown", tx.now))
                returned += 1
        await ledger.write(tx)
        if len(lost) < BATCH:
            await store.forget(tx, gateway)
    return returned


def _given_up(task: Task, now: datetime) -> Change:
    after = edits.resolved(task, "exception", "resource-unavailable", now)
    return Change(task, after, (telling.exception(after, after.runs[-1]),))

"""Handing out work: many claimWork calls in one transaction."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from queue_service.core import transitions
from queue_service.core.controls import refuse_when_paused
from queue_service.core.errors import task_not_found
from queue_service.core.task import Task
from queue_service.core.workers import WorkerKey
from queue_service.operations import due, lanes
from queue_service.operations.ledger import Ledger
from queue_service.operations.tasks import TaskCall, shown
from queue_service.store import claims, controls, tasks
from queue_service.store.database import Tx
from schemas.task import JsonObject, TaskDefinition

RELEASED = 500
"""Delayed runs that join the line in one transaction; the sweep takes care of more."""
REMEMBERED = 10_000
"""Task queues with limits that a caller remembers."""


@dataclass(frozen=True, slots=True)
class WorkRequest:
    """One worker that asks for up to ``wanted`` runs of a task queue."""

    task_queue_id: str
    worker_group: str
    worker_id: str
    wanted: int
    alive: Callable[[], bool] = lambda: True
    """Whether the worker still listens; nothing is claimed for one that left."""

    @property
    def worker(self) -> WorkerKey:
        return WorkerKey(self.task_queue_id, self.worker_group, self.worker_id)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that was handed out: the task after the claim, and what is to be done."""

    task: Task
    definition: TaskDefinition
    told: JsonObject | None = None
    """What a feature that follows the task has to tell its worker."""


async def claim(
    tx: Tx, requests: Sequence[WorkRequest], *, timeout: timedelta, limited: set[str] | None = None
) -> list[list[Claimed]]:
    """What each request gets: the most urgent and oldest runs, earlier requests first (7.1, 7.2).

    One statement for each task queue asked for, four more where a delayed run has come due, some more where
    limits hold, and a constant number besides. A task queue that is paused gives nothing (Q-2). ``limited``
    remembers from one transaction to the next in which task queues limits hold, which spares statements.
    """
    limited = set() if limited is None else limited
    taken_until = tx.now + timeout
    picked: dict[str, deque[Task]] = {}
    for queue_id in sorted({request.task_queue_id for request in requests}):
        wanted = sum(
            request.wanted for request in requests if request.task_queue_id == queue_id and request.alive()
        )
        picked[queue_id] = deque(await _front(tx, queue_id, wanted, limited) if wanted else ())
    found = {task.task_id: task for queue in picked.values() for task in queue}
    if not found:
        return [[] for _ in requests]
    definitions = await tasks.definitions(tx.connection, list(found))
    ledger = Ledger(found)
    outcomes: list[list[Claimed]] = []
    for request in requests:
        queue = picked[request.task_queue_id]
        claimed = []
        for _ in range(min(request.wanted, len(queue)) if request.alive() else 0):
            change = transitions.claim(
                queue.popleft(),
                tx.now,
                taken_until,
                worker_group=request.worker_group,
                worker_id=request.worker_id,
            )
            task = ledger.apply(change)
            claimed.append(Claimed(task, shown(definitions[task.task_id], task)))
        outcomes.append(claimed)
    await ledger.write(tx)
    told = await _told(tx, [item.task for claimed in outcomes for item in claimed])
    return [[_with(item, told) for item in claimed] for claimed in outcomes] if told else outcomes


async def _front(tx: Tx, task_queue_id: str, wanted: int, limited: set[str]) -> list[Task]:
    """The front of the line, after what has come due has joined it (``seed-systems.md`` C-9, C-16)."""
    if task_queue_id in limited:
        turn = await claims.take_turn(tx, task_queue_id)
        if turn is not None and turn.limited:
            if turn.due and await due.release_in_queue(tx, task_queue_id, RELEASED):
                turn = await claims.take_turn(tx, task_queue_id)
            return await lanes.pick(tx, task_queue_id, wanted, turn=turn)
        limited.discard(task_queue_id)
    line = await claims.pick_pending(tx, task_queue_id, wanted)
    if line.due and await due.release_in_queue(tx, task_queue_id, RELEASED):
        line = await claims.pick_pending(tx, task_queue_id, wanted)
    if not line.limited:
        return line.tasks
    if len(limited) >= REMEMBERED:
        limited.clear()
    limited.add(task_queue_id)
    return await lanes.pick(tx, task_queue_id, wanted)


async def claim_by_id(tx: Tx, call: TaskCall) -> Claimed:
    """A worker claims a run that it names (6.3). Raises QueueError, also while paused and at limits (Q-2)."""
    found = await tasks.lock(tx, [call.task_id])
    if call.task_id not in found:
        raise task_not_found(call.task_id)
    task = found[call.task_id]
    call.authorize(task)
    change = call.rule(task, tx.now)
    if change.claims:
        held = (await controls.hold(tx, [task.task_queue_id])).get(task.task_queue_id)
        if held is not None:
            refuse_when_paused(held)
        if task.lane or (held is not None and held.limits is not None):
            change = call.rule(await lanes.admit(tx, task), tx.now)
    ledger = Ledger(found)
    task = ledger.apply(change)
    await ledger.write(tx)
    definition = (await tasks.definitions(tx.connection, [task.task_id]))[task.task_id]
    return _with(Claimed(task, shown(definition, task)), await _told(tx, [task]))


async def _told(tx: Tx, claimed: Sequence[Task]) -> dict[str, JsonObject]:
    """What witnesses of these tasks have to tell their workers; most tasks have none, and cost nothing."""
    by_witness: dict[str, list[Task]] = {}
    for task in claimed:
        if task.extras is not None and task.extras.witness:
            by_witness.setdefault(task.extras.witness, []).append(task)
    told: dict[str, JsonObject] = {}
    for name, followed in by_witness.items():
        told.update(await tx.witnesses[name].handed_out(tx, followed))
    return told


def _with(claimed: Claimed, told: Mapping[str, JsonObject]) -> Claimed:
    return replace(claimed, told=told.get(claimed.task.task_id))

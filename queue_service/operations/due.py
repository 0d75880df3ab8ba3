"""What the passing of time does: claims that run out, deadlines that pass, records that expire."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from queue_service.core import transitions
from queue_service.core.task import Change, Task
from queue_service.operations import forgetting
from queue_service.operations.ledger import Ledger
from queue_service.store import claims, delays, expiry, workers
from queue_service.store.database import Tx

Sweep = Callable[[Tx, datetime, int], Awaitable[int]]
"""Deletes records of a kind that expired before this time, up to a limit; how many there were."""


async def expire_claims(tx: Tx, limit: int) -> int:
    """End the runs whose claim has run out, retry those that may be; how many were looked at (6.5)."""
    return await _apply(tx, await claims.pick_expired(tx, limit), transitions.expire_claim)


async def release(tx: Tx, limit: int) -> int:
    """Put into line what has come due, up to a limit; how many there were (``seed-systems.md`` C-9)."""
    return await _apply(tx, await delays.pick_due(tx, limit), transitions.come_due)


async def release_in_queue(tx: Tx, task_queue_id: str, limit: int) -> int:
    """The same for one task queue, for a claimer that does not wait for the sweep."""
    return await _apply(tx, await delays.pick_due_in_queue(tx, task_queue_id, limit), transitions.come_due)


async def pass_deadlines(tx: Tx, limit: int, *, delay: timedelta) -> int:
    """Resolve tasks whose deadline passed ``delay`` ago or earlier; how many were looked at (6.6)."""
    return await _apply(
        tx, await claims.pick_past_deadline(tx, tx.now - delay, limit), transitions.pass_deadline
    )


async def delete_expired(tx: Tx, limit: int, *, grace: timedelta, sweeps: Sequence[Sweep] = ()) -> int:
    """Delete records that expired ``grace`` ago or earlier; the largest count of one kind (11)."""
    before = tx.now - grace
    return max(
        await forgetting.delete_artifacts(tx, before, limit),
        await forgetting.delete_objects(tx, before, limit),
        await expiry.delete_tasks(tx, before, limit),
        await expiry.delete_groups(tx, before, limit),
        await expiry.delete_dependencies(tx, before, limit),
        await workers.delete_queues(tx, before, limit),
        await workers.delete_workers(tx, before, limit),
        *[await sweep(tx, before, limit) for sweep in sweeps],
    )


async def _apply(tx: Tx, picked: Sequence[Task], rule: Callable[[Task, datetime], Change]) -> int:
    ledger = Ledger({task.task_id: task for task in picked})
    for task in picked:
        ledger.apply(rule(task, tx.now))
    await ledger.write(tx)
    return len(picked)

"""What is written about workers, and the end of everything that a removed worker has."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from queue_service.core import transitions
from queue_service.core import workers as rules
from queue_service.core.workers import RecentTask, Seen, Worker, WorkerKey, worker_not_found
from queue_service.operations.ledger import Ledger
from queue_service.store import backlog, workers
from queue_service.store.database import Tx
from queue_service.store.signals import QuarantineChanged


@dataclass(frozen=True, slots=True)
class News:
    """What became known of a worker. Claims alone do not make an unknown worker known.

    Of the claims, in the order in which they became known, only so many are kept as will be remembered.
    """

    seen: Seen | None = None
    claims: tuple[RecentTask, ...] = ()

    def merged(self, other: "News") -> "News":
        """This, and what became known after it."""
        if self.seen is not None and other.seen is not None:
            seen: Seen | None = self.seen.merged(other.seen)
        else:
            seen = self.seen or other.seen
        return News(seen, (*self.claims, *other.claims)[-rules.RECENT_TASKS :])


async def note(tx: Tx, queues: Mapping[str, Seen], news: Mapping[WorkerKey, News]) -> None:
    """Write down task queues and workers that were seen, and what workers claimed (7.4)."""
    await workers.note_queues(tx, queues)
    if not news:
        return
    await workers.ensure(tx, {worker: its.seen for worker, its in news.items() if its.seen is not None})
    known = await workers.lock(tx, news)
    noticed = [rules.notice(worker, news[worker.key].seen, news[worker.key].claims) for worker in known]
    await workers.save(tx, [after for before, after in zip(known, noticed, strict=True) if after != before])


async def declare(tx: Tx, key: WorkerKey, expires: datetime) -> Worker:
    """declareWorker: create the task queue and the worker, or keep them until then at least."""
    seen = Seen(tx.now, expires)
    await workers.note_queues(tx, {key.task_queue_id: seen})
    await workers.ensure(tx, {key: seen})
    (worker,) = await workers.lock(tx, [key])
    declared = rules.declare(worker, expires)
    await workers.save(tx, [declared])
    return declared


async def quarantine(tx: Tx, key: WorkerKey, until: datetime, info: str, client_id: str) -> Worker:
    """quarantineWorker. Raises ResourceNotFound for a worker that was never seen."""
    found = await workers.lock(tx, [key])
    if not found:
        raise worker_not_found(key)
    quarantined = rules.quarantine(found[0], until, info, client_id, tx.now)
    await workers.save(tx, [quarantined])
    tx.announce(QuarantineChanged())
    return quarantined


async def shut_down(tx: Tx, key: WorkerKey, limit: int) -> int:
    """End runs that this worker has, as if it had reported ``worker-shutdown``; how many there were (6.7)."""
    held = await backlog.pick_held(tx, key, limit)
    ledger = Ledger({task.task_id: task for task in held})
    for task in held:
        run_id = task.runs[-1].run_id
        ledger.apply(transitions.report_exception(task, run_id, "worker-shutdown", tx.now))
    await ledger.write(tx)
    return len(held)

"""Who asked for work, and what they got, written down beside the claim path and not on it (7.4).

Every claimWork shows a worker and a task queue, and most tell nothing new. So sightings are collected here
and written many at a time, in transactions of their own:

* The first sighting of a task queue or worker is written before the call is answered. Whoever looks right
  after a claim finds them, in this process and in any other.
* Later ones are written once a minute for each of them, so ``lastDateActive`` is a minute coarse.
* Claims (``recentTasks``) are all written, :data:`PACE_SECONDS` after the first of them at the latest, and
  before this process answers a call that shows them. Another process shows them that much later.

No call is refused for a sighting. What was not written when a process is killed is lost: the claims of the
last moments are then missing in ``recentTasks``, on which nothing but people's eyes depends.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final, Literal

import structlog

from queue_service.core.task import Task
from queue_service.core.workers import KEPT, KEPT_AFTER_CLAIM_TASK, RecentTask, Seen, WorkerKey
from queue_service.operations.batching import Batcher, Overloaded
from queue_service.operations.workers import News, note
from queue_service.store.database import Database, StoreUnavailable

logger = structlog.get_logger(__name__)

PACE_SECONDS: Final = 2.0
REFRESH: Final = timedelta(minutes=1)
"""How old the last sighting is that makes another one worth writing."""
DOUBTFUL: Final = KEPT / 2
"""After so long a row may be gone soon: the next sighting is written at once, like a first one."""
MAX_KNOWN: Final = 100_000
"""Task queues and workers that are remembered as written."""
WORKERS_AT_ONCE: Final = 200
"""Workers that one transaction writes."""
MAX_WAITING: Final = 50_000
CLOSE_SECONDS: Final = 5.0

_Urgency = Literal["none", "soon", "now"]


class Sightings:
    """Collects what is to be written of task queues and workers, and writes it at its pace."""

    def __init__(self, database: Database, *, pace: float = PACE_SECONDS) -> None:
        self._database = database
        self._pace = pace
        self._known: dict[str | WorkerKey, Seen] = {}
        self._queues: dict[str, Seen] = {}
        self._news: dict[WorkerKey, News] = {}
        self._writing = Batcher[None, None](self._write, max_items=MAX_WAITING, max_waiting=MAX_WAITING)
        self._under_way = False
        self._timer: asyncio.TimerHandle | None = None
        self._later: asyncio.Task[None] | None = None

    async def active(self, worker: WorkerKey) -> None:
        """A worker asked its task queue for work, or held on to a run."""
        seen = self._seen(KEPT)
        urgency = self._note_queue(worker.task_queue_id, seen)
        of_worker = self._urgency(worker, seen)
        if of_worker != "none":
            self._add(worker, News(seen))
        if "now" in (urgency, of_worker):
            await self._write_quietly()

    async def active_queue(self, task_queue_id: str) -> None:
        """A run of this task queue was claimed by its id, which does not show a worker."""
        if self._note_queue(task_queue_id, self._seen(KEPT_AFTER_CLAIM_TASK)) == "now":
            await self._write_quietly()

    def claimed(self, worker: WorkerKey, tasks: Iterable[Task]) -> None:
        """A worker claimed the last runs of these tasks."""
        runs = ((task.task_id, task.runs[-1]) for task in tasks)
        claims = tuple(
            RecentTask(task_id, run.run_id, run.started) for task_id, run in runs if run.started is not None
        )
        if claims:
            self._add(worker, News(claims=claims))

    async def flush(self) -> None:
        """Write all that is known so far. Raises StoreUnavailable or Overloaded."""
        if self._queues or self._news or self._under_way:
            await self._writing.submit(None)

    async def close(self) -> None:
        """Write what is left, if the database lets us."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._write_quietly()
        except TimeoutError:
            logger.warning("the last sightings of workers are not written: the database takes too long")

    # ---- collecting -----------------------------------------------------------------------------------

    def _seen(self, kept: timedelta) -> Seen:
        now = self._database.clock.now()
        return Seen(now, now + kept)

    def _note_queue(self, task_queue_id: str, seen: Seen) -> _Urgency:
        urgency = self._urgency(task_queue_id, seen)
        if urgency != "none":
            known = self._queues.get(task_queue_id)
            self._queues[task_queue_id] = seen if known is None else known.merged(seen)
            self._plan()
        return urgency

    def _urgency(self, key: str | WorkerKey, seen: Seen) -> _Urgency:
        """Whether this tells news, and for how long they may wait; it is taken for written from here on."""
        known = self._known.get(key)
        if known is not None and seen.at - known.at < REFRESH and seen.expires - known.expires < REFRESH:
            return "none"
        if known is None and len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[key] = seen if known is None else known.merged(seen)
        return "now" if known is None or seen.at - known.at >= DOUBTFUL else "soon"

    def _add(self, worker: WorkerKey, news: News) -> None:
        known = self._news.get(worker)
        self._news[worker] = news if known is None else known.merged(news)
        self._plan()

    # ---- writing --------------------------------------------------------------------------------------

    def _plan(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pace, self._start_writing)

    def _start_writing(self) -> None:
        self._timer = None
        self._later = asyncio.create_task(self._write_quietly(), name="sightings")

    async def _write_quietly(self) -> None:
        try:
            await self.flush()
        except (StoreUnavailable, Overloaded) as error:
            logger.warning("sightings of workers are written later", reason=str(error))

    async def _write(self, calls: Sequence[None]) -> Sequence[None]:
        """Write everything, a bounded number of workers in each transaction."""
        self._under_way = True
        try:
            while self._queues or self._news:
                await self._write_some()
        finally:
            self._under_way = False
        return calls

    async def _write_some(self) -> None:
        queues, self._queues = self._queues, {}
        news = {worker: self._news.pop(worker) for worker in list(self._news)[:WORKERS_AT_ONCE]}
        try:
            await self._database.write(lambda tx: note(tx, queues, news))
        except BaseException:
            self._give_back(queues, news)
            raise

    def _give_back(self, queues: dict[str, Seen], news: dict[WorkerKey, News]) -> None:
        """What could not be written waits for the next time, together with what came since."""
        for task_queue_id, seen in queues.items():
            since = self._queues.get(task_queue_id)
            self._queues[task_queue_id] = seen if since is None else seen.merged(since)
        for worker, its in news.items():
            later = self._news.get(worker)
            self._news[worker] = its if later is None else its.merged(later)
        self._plan()

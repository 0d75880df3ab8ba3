"""The streams of single jobs: each job is read once for all its readers of this process (E-1 … E-8, E-10).

One statement reads the news of all jobs that are watched. A reader first reads what it has missed by itself
and then joins the others of its job, as in ``features/streams/tail.py``.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog
from pydantic_core import from_json, to_json

from queue_service.api.feeds import Feed
from queue_service.api.readers import Readers
from queue_service.api.streaming import Event, Stream
from queue_service.features.jobs import event_store, stream_store, views
from queue_service.features.jobs.event_store import JobEvent
from queue_service.store import attempts
from queue_service.store.database import Database, StoreUnavailable
from queue_service.store.signals import Signal, TopicStirred
from queue_service.store.statements import Connection
from schemas.jobs import JobResponse

logger = structlog.get_logger(__name__)

PAGE: Final = 100
NEWS: Final = 200
POLL_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.5
ALWAYS: Final = frozenset({"snapshot", "end"})
"""Kinds of events that no reader can do without."""
LOSSY: Final = frozenset({"progress", "log"})
_PREFIX: Final = event_store.topic_of("")


@dataclass(eq=False)
class _Watched:
    """A job with readers. They have been given all events up to ``position``."""

    position: int
    readers: dict[Feed, frozenset[str]] = field(default_factory=dict)
    """The kinds of events that each wants."""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Where a reader begins: after this event, with the whole job first if there is a ``snapshot``."""

    after: int
    snapshot: JobResponse | None = None
    reset: bool = False


class JobStreams:
    """Feeds the readers of single jobs in this process."""

    def __init__(self, database: Database, *, most_readers: int) -> None:
        self._database = database
        self._watched: dict[str, _Watched] = {}
        self.readers = Readers("a job", most_readers, database.clock)
        self._news_of: set[str] = set()
        self._stirred = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        database.subscribe(self._on_signal)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="job streams")

    async def stop(self) -> None:
        """End all streams."""
        self.readers.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def open(
        self, job_id: str, last_id: str | None, kinds: Collection[str], expires: datetime
    ) -> Stream | None:
        """A stream of a job's events of these kinds; None when its reader has the last of a job that ended.

        Raises ResourceNotFound, Overloaded and StoreUnavailable.
        """
        self.readers.admit()
        async with self._database.read() as connection:
            beginning = await _beginning(connection, job_id, last_id)
        if beginning is None:
            return None
        feed = Feed(beginning.after, without_what_is_outdated)
        missed = self._missed(job_id, feed, beginning, ALWAYS.union(kinds))
        return self.readers.stream(feed, missed, expires, partial(self._leave, job_id, feed))

    # ---- one reader -----------------------------------------------------------------------------------

    async def _missed(
        self, job_id: str, feed: Feed, beginning: _Beginning, kinds: frozenset[str]
    ) -> AsyncGenerator[Sequence[Event]]:
        """What there is beyond the reader's position, until it can join the others, or the end of the job."""
        if beginning.snapshot is not None:
            yield (_snapshot(beginning.after, beginning.snapshot, reset=beginning.reset),)
        else:
            yield ()  # so that the reader knows that it is connected
        while not feed.ended:
            async with self._database.read() as connection:
                found = await event_store.after(connection, job_id, feed.after, PAGE)
                if found and found[0].sequence != feed.after + 1:
                    feed.after, job = await _present(connection, job_id)
                    yield (_snapshot(feed.after, job, reset=True),)
                    continue
                batch = []
                for one in found:
                    if one.event in kinds:
                        batch.append(await _told(connection, one))
                    feed.after = one.sequence
                    if one.event == "end":
                        feed.end()
                        break
            joined = len(found) < PAGE and not feed.ended and self._join(job_id, feed, kinds)
            if batch:
                yield batch
            if joined:
                return

    def _join(self, job_id: str, feed: Feed, kinds: frozenset[str]) -> bool:
        """Feed this reader with the others of its job from now on, if it has all that they have."""
        watched = self._watched.setdefault(job_id, _Watched(feed.after))
        if feed.after < watched.position:
            return False
        watched.readers[feed] = kinds
        self._news_of.add(job_id)
        self._stirred.set()
        return True

    def _leave(self, job_id: str, feed: Feed) -> None:
        watched = self._watched.get(job_id)
        if watched is not None and watched.readers.pop(feed, None) is not None and not watched.readers:
            del self._watched[job_id]

    # ---- all readers ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        look_at_all = False
        while True:
            self._stirred.clear()
            if look_at_all:
                self._news_of.update(self._watched)
            try:
                more = await self.run_once()
            except StoreUnavailable as error:
                logger.warning("streams of jobs wait for the database", reason=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
                look_at_all = True
                continue
            except Exception:
                logger.exception("streams of jobs failed; they go on")
                await asyncio.sleep(PAUSE_SECONDS)
                look_at_all = True
                continue
            look_at_all = False
            if more:
                await asyncio.sleep(0)  # readers take what they have
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._stirred.wait()
            except TimeoutError:
                look_at_all = True

    async def run_once(self) -> bool:
        """Give the readers what is new of the jobs that were stirred; whether there may be more."""
        jobs, self._news_of = self._news_of & self._watched.keys(), set()
        if not jobs:
            return False
        async with self._database.read() as connection:
            last = {job_id: self._watched[job_id].position for job_id in jobs}
            found = await stream_store.news(connection, last, NEWS)
            told = [(one, await _told(connection, one)) for one in found]
        for one, event in told:
            self._push(one, event)
        if len(found) == NEWS:
            self._news_of |= jobs
            return True
        return False

    def _push(self, one: JobEvent, event: Event) -> None:
        watched = self._watched.get(one.task_id)
        if watched is None or one.sequence <= watched.position:
            return
        if one.sequence != watched.position + 1:  # forgotten before we read them: readers begin anew
            for feed in watched.readers:
                feed.end()
            return
        watched.position = one.sequence
        for feed, kinds in watched.readers.items():
            if one.event in kinds:
                feed.push(one.sequence, event)
            if one.event == "end":
                feed.end()

    def _on_signal(self, signal: Signal) -> None:
        if isinstance(signal, TopicStirred) and signal.topic.startswith(_PREFIX):
            job_id = signal.topic.removeprefix(_PREFIX)
            if job_id in self._watched:
                self._news_of.add(job_id)
                self._stirred.set()


def without_what_is_outdated(waiting: list[Event]) -> list[Event]:
    """Only the newest of the events that may be lost (E-7, P-5)."""
    newest = {event.kind: event for event in waiting if event.kind in LOSSY}
    return [event for event in waiting if event.kind not in LOSSY or newest[event.kind] is event]


async def _beginning(connection: Connection, job_id: str, last_id: str | None) -> _Beginning | None:
    """Where a reader begins that has seen ``last_id`` (E-3, E-4); None when it has seen the end (E-5)."""
    after, job = await _present(connection, job_id)
    if last_id is None:
        return _Beginning(after, job)
    last = await event_store.last_sequence(connection, job_id)
    seen = int(last_id) if last_id.isascii() and last_id.isdigit() else -1
    if seen == last and after < last:
        return None
    following = await event_store.after(connection, job_id, seen, 1) if 0 <= seen < last else []
    if seen == last or (following and following[0].sequence == seen + 1):
        return _Beginning(seen)
    return _Beginning(after, job, reset=True)


async def _present(connection: Connection, job_id: str) -> tuple[int, JobResponse]:
    """The whole job, and the event up to which it is told by that; the ``end`` is always told (E-5).

    The events are counted before the job is read: what happens in between is told twice, and never lost.
    """
    last = await event_store.last_sequence(connection, job_id)
    newest = await event_store.after(connection, job_id, last - 1, 1)
    job = await views.show(connection, job_id)
    ended = bool(newest) and newest[-1].event == "end"
    return (last - 1 if ended else last), job


def _snapshot(position: int, job: JobResponse, *, reset: bool) -> Event:
    data: dict[str, Any] = job.to_wire()
    return Event(str(position), "snapshot", to_json({**data, "reset": True} if reset else data))


async def _told(connection: Connection, one: JobEvent) -> Event:
    data = one.data
    if one.event == "end":  # what a job has given is kept once, beside its task
        output = await attempts.output_of(connection, one.task_id)
        if output is not None:
            data = to_json({**from_json(data), "output": output}).decode()
    return Event(str(one.sequence), one.event, data.encode())

"""The stream of the states of all jobs, for dashboards (E-9): read once for all its readers of this process.

PostgreSQL makes events visible in the order of commits, which is not that of their ids. Ids that are missing
are looked for again until nobody can be about to commit them any more. An event's ``id`` is that of the last
event before which none is missing: whoever resumes there may get an event again, and never misses one.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from pydantic_core import to_json

from queue_service.api.feeds import Feed
from queue_service.api.readers import Readers
from queue_service.api.streaming import Event, Stream
from queue_service.features.jobs import event_store, stream_store
from queue_service.features.jobs.event_store import JobEvent
from queue_service.store.database import Database, StoreUnavailable
from queue_service.store.signals import Signal, TopicStirred

logger = structlog.get_logger(__name__)

PAGE: Final = 100
POLL_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.5
MISSING_SECONDS: Final = 70.0
"""For how long an id is looked for: longer than any transaction of ours goes on."""
MOST_MISSING: Final = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """The jobs of a dashboard; None for any."""

    type: str | None
    state: str | None

    def fits(self, event: JobEvent) -> bool:
        return self.type in (None, event.type) and self.state in (None, event.state)


class StateStreams:
    """Feeds the dashboards of this process."""

    def __init__(self, database: Database, *, most_readers: int) -> None:
        self._database = database
        self.readers = Readers("the states of jobs", most_readers, database.clock)
        self._joined: dict[Feed, Wanted] = {}
        self._position = 0
        """The joined readers have been given all events up to this one that could be seen."""
        self._missing: dict[int, float] = {}
        """Ids before it that could not be seen, and until when they are looked for."""
        self._stirred = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        database.subscribe(self._on_signal)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="job states")

    async def stop(self) -> None:
        """End all streams."""
        self.readers.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def open(self, wanted: Wanted, last_id: str | None, expires: datetime) -> Stream:
        """A stream of states, from the one after ``last_id`` or from now on.

        Raises Overloaded and StoreUnavailable.
        """
        self.readers.admit()
        async with self._database.read() as connection:
            last = await event_store.last_state(connection)
        known = last_id is not None and last_id.isascii() and last_id.isdigit() and int(last_id) <= last
        feed = Feed(int(last_id) if known and last_id is not None else last)
        start = () if known else (_start(feed.after, reset=last_id is not None),)
        missed = self._missed(feed, wanted, start)
        return self.readers.stream(feed, missed, expires, lambda: self._leave(feed))

    async def _missed(
        self, feed: Feed, wanted: Wanted, start: Sequence[Event]
    ) -> AsyncGenerator[Sequence[Event]]:
        """What there is beyond the dashboard's position, until it can join the others."""
        yield start
        while not feed.ended and feed not in self._joined:
            async with self._database.read() as connection:
                found = await event_store.states_after(connection, feed.after, PAGE)
            if found:
                feed.after = found[-1].id
            if len(found) < PAGE:
                self._join(feed, wanted)
            yield [_told(one, one.id) for one in found if wanted.fits(one)]

    def _join(self, feed: Feed, wanted: Wanted) -> None:
        """Feed this dashboard with the others from now on, if it has all that they have."""
        if not self._joined:
            self._position, self._missing = feed.after, {}
        if feed.after >= self._position:
            self._joined[feed] = wanted
            self._stirred.set()

    def _leave(self, feed: Feed) -> None:
        self._joined.pop(feed, None)

    async def _run(self) -> None:
        while True:
            self._stirred.clear()
            try:
                more = await self.run_once()
            except StoreUnavailable as error:
                logger.warning("streams of states wait for the database", reason=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            except Exception:
                logger.exception("streams of states failed; they go on")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if more:
                await asyncio.sleep(0)  # readers take what they have
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._stirred.wait()
            except TimeoutError:
                pass

    async def run_once(self) -> bool:
        """Give the dashboards what is new; whether there may be more."""
        if not self._joined:
            return False
        async with self._database.read() as connection:
            late = await stream_store.of_ids(connection, list(self._missing)) if self._missing else ()
            found = await event_store.states_after(connection, self._position, PAGE)
            if found and not self._database.is_sqlite:
                seen = await stream_store.ids_between(connection, self._position, found[-1].id)
                self._miss(set(range(self._position + 1, found[-1].id)).difference(seen))
        now, there = asyncio.get_running_loop().time(), {one.id for one in late}
        self._missing = {id: until for id, until in self._missing.items() if until > now and id not in there}
        for one in [*(one for one in late if one.event == "state"), *found]:
            self._push(one)
        return len(found) == PAGE

    def _push(self, one: JobEvent) -> None:
        self._position = max(self._position, one.id)
        event = _told(one, min(self._missing) - 1 if self._missing else self._position)
        for feed, wanted in self._joined.items():
            if wanted.fits(one):
                feed.add(event)

    def _miss(self, ids: set[int]) -> None:
        if len(self._missing) + len(ids) <= MOST_MISSING:
            self._missing.update(dict.fromkeys(ids, asyncio.get_running_loop().time() + MISSING_SECONDS))

    def _on_signal(self, signal: Signal) -> None:
        if isinstance(signal, TopicStirred) and signal.topic == event_store.TOPIC:
            self._stirred.set()


def _start(position: int, *, reset: bool) -> Event:
    """The first event of a dashboard that does not go on somewhere: there is no state of all jobs to show."""
    return Event(str(position), "snapshot", to_json({"reset": reset}))


def _told(one: JobEvent, id: int) -> Event:
    head = to_json({"jobId": one.task_id, "type": one.type, "sequence": one.sequence})
    return Event(str(id), one.event, b"%b,%b" % (head[:-1], one.data[1:].encode()))

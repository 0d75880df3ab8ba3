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
from queue_service.api.streaming import Event, Stream
from queue_service.features.jobs import event_store, stream_store
from queue_service.features.jobs.event_store import JobEvent
from queue_service.operations.batching import Overloaded
from queue_service.store.database import Database, StoreUnavailable
from queue_service.store.signals import Signal, TopicStirred

logger = structlog.get_logger(__name__)

PAGE: Final = 100
POLL_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 3600.0
"""Then a reader must come again, with credentials that are still good."""
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
        self._most_readers = most_readers
        self._feeds: set[Feed] = set()
        self._joined: dict[Feed, Wanted] = {}
        self._position = 0
        """The joined readers have been given all events up to this one that could be seen."""
        self._missing: dict[int, float] = {}
        """Ids before it that could not be seen, and until when they are looked for."""
        self._stirred = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        database.subscribe(self._on_signal)

    @property
    def readers(self) -> int:
        """Streams that are open."""
        return len(self._feeds)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="job states")

    async def stop(self) -> None:
        """End all streams; their readers come again, to another process."""
        self._stopping = True
        for feed in self._feeds:
            feed.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def open(self, wanted: Wanted, last_id: str | None, expires: datetime) -> Stream:
        """A stream of states, from the one after ``last_id`` or from now on.

        Raises Overloaded and StoreUnavailable.
        """
        if self._stopping:
            raise Overloaded("this process is about to end")
        if self.readers >= self._most_readers:
            raise Overloaded(f"{self.readers} dashboards are open already")
        async with self._database.read() as connection:
            last = await event_store.last_state(connection)
        known = last_id is not None and last_id.isascii() and last_id.isdigit() and int(last_id) <= last
        feed = Feed(int(last_id) if known and last_id is not None else last)
        seconds = min(LONGEST_SECONDS, (expires - self._database.clock.now()).total_seconds())
        start = () if known else (_start(feed.after, reset=last_id is not None),)
        return Stream(self._batches(feed, wanted, seconds, start), feed.end)

    async def _batches(
        self, feed: Feed, wanted: Wanted, seconds: float, start: Sequence[Event]
    ) -> AsyncGenerator[Sequence[Event], None]:
        timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), feed.end)
        self._feeds.add(feed)
        try:
            yield start
            while not feed.ended and feed not in self._joined:
                async with self._database.read() as connection:
                    found = await event_store.states_after(connection, feed.after, PAGE)
                if found:
                    feed.after = found[-1].id
                if len(found) < PAGE:
                    self._join(feed, wanted)
                yield [_told(one, one.id) for one in found if wanted.fits(one)]
            while (taken := await feed.take()) is not None:
                yield taken
        except StoreUnavailable as error:
            logger.warning("a stream of states ends; its reader will come again", reason=str(error))
        finally:
            timer.cancel()
            feed.close()
            self._feeds.discard(feed)
            self._joined.pop(feed, None)

    def _join(self, feed: Feed, wanted: Wanted) -> None:
        """Feed this dashboard with the others from now on, if it has all that they have."""
        if not self._joined:
            self._position, self._missing = feed.after, {}
        if feed.after >= self._position:
            self._joined[feed] = wanted
            self._stirred.set()

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

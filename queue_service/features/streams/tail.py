"""The end of the log of events, read once for all readers of this process.

A new reader first reads from the log what it has missed, at its own pace; once it has everything it joins the
others, who are fed together. Rules: ``seed-systems.md`` B.7, ``docs/decisions/0014-…``.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from pydantic_core import to_json

from queue_service.api.feeds import Feed
from queue_service.api.readers import Readers
from queue_service.api.streaming import Event, Stream
from queue_service.features.streams.filters import Filters, Wanted
from queue_service.store import event_log
from queue_service.store.database import Database, StoreUnavailable
from queue_service.store.event_log import LoggedEvent, Page, State
from queue_service.store.signals import Signal, TopicStirred

logger = structlog.get_logger(__name__)

PAGE: Final = 100
POLL_SECONDS: Final = 2.0
"""How often the log is looked at without a signal, which may be lost (E-8)."""
PUSHED_AT_ONCE: Final = 2000
"""Events given to readers before others have their turn at the event loop."""
RELIEF_SECONDS: Final = 0.1
"""How long readers who are behind are waited for, before more is read."""
PAUSE_SECONDS: Final = 0.5


class Tail:
    """Feeds the readers of this process. Events are kept for ``kept`` after the last reader has gone."""

    def __init__(self, database: Database, *, kept: timedelta, most_readers: int) -> None:
        self._database = database
        self._kept = kept
        self._filters: Filters[Feed] = Filters()
        self.readers = Readers("events", most_readers, database.clock)
        self._position = 0
        """What the joined readers have been given all events up to."""
        self._renew_at: datetime | None = None
        self._stirred = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        database.subscribe(self._on_signal)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="event streams")

    async def stop(self) -> None:
        """End all streams."""
        self.readers.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def open(self, bindings: Sequence[Wanted], last_id: str | None, expires: datetime) -> Stream:
        """A stream of the events that fit the bindings, from the one after ``last_id`` or from now on.

        Raises Overloaded and StoreUnavailable.
        """
        self.readers.admit()
        state = await self._keep()
        after = _known(last_id, state)
        feed = Feed(state.position if after is None else after)
        ready = _event("ready", feed.after, {"reset": last_id is not None and after is None})
        missed = self._missed(feed, bindings, ready)
        return self.readers.stream(feed, missed, expires, lambda: self._filters.remove(feed))

    # ---- one reader -----------------------------------------------------------------------------------

    async def _missed(
        self, feed: Feed, bindings: Sequence[Wanted], ready: Event
    ) -> AsyncGenerator[Sequence[Event]]:
        """What the log has beyond the reader's position, until it can join the others without a gap."""
        yield (ready,)
        own: Filters[Feed] = Filters()
        own.add(feed, bindings)
        while not feed.ended:
            page = await self._page(feed.after)
            if page.state.floor > feed.after:
                feed.after = page.state.position
                yield (_reset(page.state),)
                continue
            found = [_told(one) for one in page.events if own.match(one.exchange, one.routing_key, one.cc)]
            if page.events:
                feed.after = page.events[-1].position
            joined = len(page.events) < PAGE and self._join(feed, bindings)
            if found:
                yield found
            if joined:
                return

    def _join(self, feed: Feed, bindings: Sequence[Wanted]) -> bool:
        """Feed this reader with the others from now on, if it has all that they have."""
        if not len(self._filters):
            self._position = feed.after
        if feed.after < self._position:
            return False
        self._filters.add(feed, bindings)
        self._stirred.set()
        return True

    # ---- all readers ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._stirred.clear()
            more = False
            try:
                if self.readers:
                    more = await self.run_once()
            except StoreUnavailable as error:
                logger.warning("streams of events wait for the database", reason=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            except Exception:
                logger.exception("streams of events failed; they go on")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if more:
                await self._relieved()
                continue
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._stirred.wait()
            except TimeoutError:
                pass

    async def run_once(self) -> bool:
        """Give the joined readers what is new, up to a page of it; whether there may be more."""
        if self._renew_at is None or self._database.clock.now() >= self._renew_at:
            await self._keep()
        if not len(self._filters):
            return False
        page = await self._page(self._position)
        if not page.state.kept:
            self._renew_at = None
        if page.state.floor > self._position:
            self._position = page.state.position
            reset = _reset(page.state)
            for feed in list(self._filters.readers):
                feed.push(self._position, reset)
            return True
        pushed = 0
        for one in page.events:
            readers = self._filters.match(one.exchange, one.routing_key, one.cc)
            if readers:
                event = _told(one)
                for feed in readers:
                    feed.push(one.position, event)
                pushed += len(readers)
            self._position = one.position
            if pushed > PUSHED_AT_ONCE:
                pushed = 0
                await asyncio.sleep(0)
        return len(page.events) == PAGE

    async def _relieved(self) -> None:
        """Let readers take what they have; wait a moment for those who do not."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if any(feed.behind for feed in self._filters.readers):
            await asyncio.sleep(RELIEF_SECONDS)

    async def _page(self, after: int) -> Page:
        async with self._database.read() as connection:
            return await event_log.after(connection, after, PAGE)

    async def _keep(self) -> State:
        """See to it that events are kept, and how far the log is."""
        now = self._database.clock.now()
        if self._renew_at is not None and now < self._renew_at:
            async with self._database.read() as connection:
                state = await event_log.state(connection)
            if state.kept:
                return state
        state = await self._database.write(lambda tx: event_log.keep(tx, now + self._kept))
        self._renew_at = now + self._kept / 2
        return state

    def _on_signal(self, signal: Signal) -> None:
        if isinstance(signal, TopicStirred) and signal.topic == event_log.TOPIC:
            self._stirred.set()


def _known(last_id: str | None, state: State) -> int | None:
    """The position of the last event that a reader saw, if all events after it are still there (E-4)."""
    if last_id is None or not (last_id.isascii() and last_id.isdigit()):
        return None
    position = int(last_id)
    return position if state.floor <= position <= state.position else None


def _event(kind: str, position: int, data: dict[str, object]) -> Event:
    return Event(str(position), kind, to_json(data))


def _reset(state: State) -> Event:
    """What the reader's position was followed by is forgotten."""
    return _event("reset", state.position, {"reset": True})


def _told(one: LoggedEvent) -> Event:
    head = to_json(
        {
            "exchange": one.exchange,
            "routingKey": one.routing_key,
            "cc": one.cc,
            "messageId": one.message_id,
        }
    )
    return Event(str(one.position), "message", b'%b,"payload":%b}' % (head[:-1], one.body.encode()))

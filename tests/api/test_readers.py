"""Streams of one kind: admitted while there is room, ended together (``seed-systems.md`` E-7, E-8)."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

import pytest

from queue_service.api.feeds import Feed
from queue_service.api.readers import Readers
from queue_service.api.streaming import Event, Stream
from queue_service.operations.batching import Overloaded
from tests.api.manual_clock import ManualClock

FIRST = Event("1", "state", b"{}")


class Opened:
    """A stream that begins with one event, whose end is remembered."""

    def __init__(self, readers: Readers, clock: ManualClock) -> None:
        self.feed = Feed(1)
        self.left = False
        self.stream: Stream = readers.stream(
            self.feed, self._missed(), clock.now() + timedelta(hours=1), self._leave
        )

    async def _missed(self) -> AsyncGenerator[Sequence[Event]]:
        yield (FIRST,)

    def _leave(self) -> None:
        self.left = True


@pytest.fixture
def readers(clock: ManualClock) -> Readers:
    return Readers("events", 1, clock)


async def test_what_was_missed_comes_before_what_is_new(readers: Readers, clock: ManualClock) -> None:
    opened, second = Opened(readers, clock), Event("2", "state", b"{}")
    opened.feed.push(2, second)
    opened.feed.end()
    assert [batch async for batch in opened.stream.batches] == [(FIRST,), [second]]


async def test_no_more_are_admitted_than_there_is_room_for(readers: Readers, clock: ManualClock) -> None:
    opened = Opened(readers, clock)
    readers.admit()
    await anext(opened.stream.batches)
    with pytest.raises(Overloaded, match="1 streams of events are open already"):
        readers.admit()
    await opened.stream.batches.aclose()
    readers.admit()
    assert opened.left


async def test_the_end_of_the_process_ends_all_and_admits_none(readers: Readers, clock: ManualClock) -> None:
    opened = Opened(readers, clock)
    await anext(opened.stream.batches)
    readers.end()
    assert [batch async for batch in opened.stream.batches] == []
    with pytest.raises(Overloaded, match="about to end"):
        readers.admit()

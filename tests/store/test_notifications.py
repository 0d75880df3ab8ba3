"""Signals reach the other server processes on the same PostgreSQL database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from queue_service.store import notifications
from queue_service.store.database import Database, Tx
from queue_service.store.notifications import Notifications, decode, encode
from queue_service.store.signals import (
    AccessChanged,
    OutboxFilled,
    QuarantineChanged,
    QueueFilled,
    Signal,
    TasksResolved,
    TimerSet,
    TopicStirred,
)
from tests.core.samples import NOW
from tests.store.databases import DISCONNECT, administer, opened
from tests.store.manual_clock import ManualClock

SIGNALS: list[Signal] = [
    OutboxFilled(),
    TasksResolved(),
    AccessChanged(),
    QuarantineChanged(),
    TopicStirred("set-0123456789abcdef01234567"),
    QueueFilled("prov/type-1"),
    TimerSet("claim", NOW),
    TimerSet("deadline", NOW + timedelta(milliseconds=1)),
    TimerSet("expiry", NOW),
]


@pytest.mark.parametrize("signal", SIGNALS, ids=encode)
def test_a_signal_survives_its_text(signal: Signal) -> None:
    assert decode(encode(signal)) == signal


@pytest.mark.parametrize("text", ["", "later", "queue", "timer other 5", "outbox now"])
def test_a_kind_of_signal_that_is_not_known_is_passed_over(text: str) -> None:
    assert decode(text) is None


class Process:
    """One server process: its database, its notifications, and the signals it has seen."""

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.notifications = Notifications(database, name)
        self.seen: list[Signal] = []
        self._arrived = asyncio.Condition()
        database.subscribe(self._on_signal)

    def _on_signal(self, signal: Signal) -> None:
        self.seen.append(signal)
        asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()

    async def has_seen(self, signal: Signal) -> None:
        async with self._arrived:
            await self._arrived.wait_for(lambda: signal in self.seen)

    async def announce(self, *signals: Signal) -> None:
        async def script(tx: Tx) -> None:
            for signal in signals:
                tx.announce(signal)

        await self.database.write(script)


@asynccontextmanager
async def process(url: str, name: str) -> AsyncIterator[Process]:
    async with opened(url, ManualClock(), pool_size=1) as database:
        made = Process(database, name)
        made.notifications.start()
        try:
            await made.notifications.listening.wait()
            yield made
        finally:
            await made.notifications.stop()


async def test_a_signal_reaches_the_other_process_and_not_its_own_again(postgres_database_url: str) -> None:
    async with process(postgres_database_url, "one") as one, process(postgres_database_url, "two") as two:
        await one.announce(*SIGNALS)
        await two.has_seen(SIGNALS[-1])
        await two.announce(QueueFilled("back/again"))
        await one.has_seen(QueueFilled("back/again"))
        assert two.seen == [*SIGNALS, QueueFilled("back/again")]
        assert one.seen == [*SIGNALS, QueueFilled("back/again")]


async def test_many_long_signals_at_once_all_arrive(postgres_database_url: str) -> None:
    """More than one notification may carry."""
    many = [QueueFilled(f"{number:038}/{'t' * 38}") for number in range(250)]
    async with process(postgres_database_url, "one") as one, process(postgres_database_url, "two") as two:
        await one.announce(*many)
        await two.has_seen(many[-1])
        assert two.seen == many


async def test_a_lost_connection_is_noticed_and_made_again(
    postgres_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "RECONNECT_SECONDS", 0)
    async with process(postgres_database_url, "one") as one:
        one.notifications.listening.clear()
        await administer(postgres_database_url, DISCONNECT)
        await one.notifications.listening.wait()
        async with process(postgres_database_url, "two") as two:
            await two.announce(TasksResolved())
            await one.has_seen(TasksResolved())


async def test_what_is_announced_before_there_is_a_connection_is_passed_on_later(
    postgres_database_url: str,
) -> None:
    async with (
        process(postgres_database_url, "two") as two,
        opened(postgres_database_url, ManualClock()) as database,
    ):
        one = Process(database, "one")
        one.notifications.start()
        database.announce((TasksResolved(),))
        await two.has_seen(TasksResolved())
        await one.notifications.stop()


async def test_the_options_of_the_url_are_those_of_the_driver(postgres_database_url: str) -> None:
    async with process(f"{postgres_database_url}?ssl=prefer", "one") as one:
        assert one.notifications.listening.is_set()

"""The relay against a publisher that does what the test tells it: what leaves, in which order, what stays."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from events.errors import BrokerUnavailable
from queue_service.loops import outbox_relay
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.store.database import Database, StoreUnavailable
from queue_service.store.signals import OutboxFilled, Signal
from tests.loops.outbox_rows import aside, ids, record, waiting
from tests.loops.scripted_publisher import ScriptedPublisher
from tests.store.databases import opened
from tests.store.manual_clock import ManualClock

LEASE = timedelta(seconds=0.5)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_relay, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(outbox_relay, "LONGEST_PAUSE", 0.004)
    monkeypatch.setattr(outbox_relay, "PACE", 0)


@pytest.fixture
def publisher() -> ScriptedPublisher:
    return ScriptedPublisher()


def relay_for(
    database: Database,
    publisher: ScriptedPublisher,
    holder: str = "this",
    *,
    idle: timedelta = timedelta(hours=1),
) -> OutboxRelay:
    return OutboxRelay(database, publisher, holder, idle=idle, lease=LEASE)  # type: ignore[arg-type]


def time_flies(relay: OutboxRelay) -> None:
    """From now on it is ten seconds later each time it looks."""
    relay._time = itertools.count(relay._time() + 10, 10).__next__  # type: ignore[method-assign]


@pytest.fixture
async def relay(sqlite_database: Database, publisher: ScriptedPublisher) -> AsyncIterator[OutboxRelay]:
    made = relay_for(sqlite_database, publisher)
    yield made
    await made.stop()


# One batch


async def test_recorded_messages_are_published_and_forgotten(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    await record(sqlite_database, "a1", "b1", "a2")
    message_ids = await ids(sqlite_database)
    assert await relay.run_once() == 3
    assert await waiting(sqlite_database) == []
    assert {message.routing_key: message.message_id for message in publisher.sent} == message_ids
    assert await relay.run_once() == 0


async def test_the_broker_is_reached_before_there_is_anything_to_publish(
    publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    """So the exchanges exist when a listener binds to them, and trouble is known early."""
    assert await relay.run_once() == 0
    assert (publisher.connections, relay.connected) == (1, True)


async def test_the_next_of_a_task_leaves_when_the_one_before_is_confirmed(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    await record(sqlite_database, "a1", "a2", "b1", "a3")
    publisher.holding = True
    running = asyncio.create_task(relay.run_once())
    await publisher.has_sent(2)
    assert publisher.keys == ["a1", "b1"]
    publisher.settle()
    assert publisher.keys == ["a1", "b1", "a2"]
    publisher.settle()
    assert publisher.keys == ["a1", "b1", "a2"]
    publisher.settle()
    assert publisher.keys == ["a1", "b1", "a2", "a3"]
    publisher.settle()
    assert await running == 4


async def test_a_batch_is_bounded(
    sqlite_database: Database,
    publisher: ScriptedPublisher,
    relay: OutboxRelay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox_relay, "BATCH", 2)
    await record(sqlite_database, "a1", "b1", "c1")
    assert [await relay.run_once() for _ in range(3)] == [2, 1, 0]
    assert publisher.keys == ["a1", "b1", "c1"]


async def test_more_than_the_socket_takes_at_once_is_published(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    names = [f"{chr(0x4E00 + number)}" for number in range(200)]
    await record(sqlite_database, *names)
    assert await relay.run_once() == 200
    assert publisher.keys == names


# Refused


async def test_a_refused_message_stays_with_what_must_not_pass_it(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    await record(sqlite_database, "a1", "b1", "a2", "b2")
    publisher.refuses = {"a1"}
    with capture_logs() as logs:
        assert await relay.run_once() == 4
    assert await waiting(sqlite_database) == await aside(sqlite_database) == ["a1", "a2"]
    (entry,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (entry["refused"], "advice" in entry) == (1, True)
    publisher.refuses = set()
    time_flies(relay)
    assert await relay.run_once() == 2
    assert publisher.keys == ["a1", "b1", "b2", "a1", "a2"]


async def test_what_comes_later_does_not_pass_what_is_set_aside(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    await record(sqlite_database, "a1", "b1")
    publisher.refuses = {"a1"}
    await relay.run_once()
    await record(sqlite_database, "a2", "c1")
    await relay.run_once()
    assert await waiting(sqlite_database) == await aside(sqlite_database) == ["a1", "a2"]
    assert publisher.keys.count("c1") == 1
    assert "a2" not in publisher.keys


async def test_a_full_queue_does_not_hold_up_the_others(
    database: Database, publisher: ScriptedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rows are refused than a batch has, and more come each time."""
    monkeypatch.setattr(outbox_relay, "BATCH", 10)
    relay = relay_for(database, publisher)
    assert await relay._hold_lease()
    refused = [f"{chr(0x4E00 + number)}1" for number in range(40)]
    publisher.refuses = set(refused)
    await record(database, *refused, "b1")
    while await relay.run_once():
        pass
    assert await waiting(database) == await aside(database) == refused
    assert publisher.keys[-1] == "b1"
    await record(database, refused[0][0] + "2", "b2")
    assert await relay.run_once() == 2
    assert publisher.keys[-1] == "b2"
    publisher.refuses = set()
    while await aside(database):
        await relay.run_once()
    assert publisher.keys[-41:] == [*refused, refused[0][0] + "2"]
    await relay.stop()


async def test_what_was_set_aside_by_a_commit_that_seemed_to_fail_is_known(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    """Found by the simulation, seed 4000355: later messages passed it, and it was never tried again."""
    await relay.run_once()
    await record(sqlite_database, "a1", "a2")
    publisher.refuses = {"a1"}
    write = sqlite_database.write

    async def unsure(script: Callable[..., Any]) -> None:
        await write(script)
        raise StoreUnavailable("the connection was lost after the commit")

    sqlite_database.write = unsure  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreUnavailable):
        await relay.run_once()
    sqlite_database.write = write  # type: ignore[method-assign]
    await record(sqlite_database, "a3")
    await relay.run_once()
    assert "a3" not in publisher.keys
    publisher.refuses = set()
    time_flies(relay)
    while await relay.run_once():
        pass
    assert publisher.keys[-3:] == ["a1", "a2", "a3"]


async def test_another_process_knows_what_is_set_aside(
    postgres_database: Database, publisher: ScriptedPublisher
) -> None:
    one = relay_for(postgres_database, publisher, "one")
    assert await one._hold_lease()
    await record(postgres_database, "a1")
    publisher.refuses = {"a1"}
    await one.run_once()
    await one.stop()
    await record(postgres_database, "a2", "b1")
    two = relay_for(postgres_database, publisher, "two")
    assert await two._hold_lease()
    await two.run_once()
    assert await waiting(postgres_database) == await aside(postgres_database) == ["a1", "a2"]
    await two.stop()


async def test_a_row_published_by_a_relay_that_knows_no_barriers_bars_nothing(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    """Of an older release, that ran in between."""
    await record(sqlite_database, "a1")
    publisher.refuses = {"a1"}
    await relay.run_once()
    async with sqlite_database.engine.begin() as connection:
        await connection.execute(text("DELETE FROM outbox"))
    await record(sqlite_database, "a2")
    after = relay_for(sqlite_database, publisher)
    await after.run_once()
    assert await waiting(sqlite_database) == []
    await after.stop()


async def test_a_message_that_cannot_be_sent_does_not_hang_the_relay(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    await record(sqlite_database, "a1", "a2", "b1")
    publisher.unsendable = {"a2"}
    with pytest.raises(ValueError, match="cannot send a2"):
        await relay.run_once()
    assert "a1" not in await waiting(sqlite_database)


# The broker is lost


async def test_what_was_confirmed_is_forgotten_and_the_rest_published_again_with_the_same_id(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    await record(sqlite_database, "a1", "b1", "a2", "c1")
    message_ids = await ids(sqlite_database)
    publisher.holding = True
    running = asyncio.create_task(relay.run_once())
    await publisher.has_sent(3)
    publisher.settle(1)
    publisher.lose("cut in the middle")
    with pytest.raises(BrokerUnavailable, match="cut in the middle"):
        await running
    assert await waiting(sqlite_database) == ["b1", "a2", "c1"]
    publisher.holding = False
    assert await relay.run_once() == 3
    assert publisher.connections == 2
    assert publisher.keys[-3:] == ["b1", "a2", "c1"]
    assert all(message_ids[message.routing_key] == message.message_id for message in publisher.sent)


async def test_a_broker_that_is_lost_while_sending_leaves_everything(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    await record(sqlite_database, "a1", "b1")
    await relay.run_once()
    await record(sqlite_database, "a2", "b2")
    publisher.holding = True
    publisher.lose()
    publisher.away = BrokerUnavailable("away")
    with pytest.raises(BrokerUnavailable, match="away"):
        await relay.run_once()
    assert not relay.connected
    assert await waiting(sqlite_database) == ["a2", "b2"]


async def test_confirms_of_a_batch_that_was_given_up_send_nothing_more(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    await record(sqlite_database, "a1", "a2")
    publisher.holding = True
    running = asyncio.create_task(relay.run_once())
    await publisher.has_sent(1)
    running.cancel()
    await asyncio.wait([running])
    publisher.settle()
    await asyncio.sleep(0)
    assert publisher.keys == ["a1"]
    assert await waiting(sqlite_database) == ["a1", "a2"]


# Its life


class Emptied:
    """Tells when the outbox is empty: after each commit of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._committed = asyncio.Condition()
        original = database.write

        async def write(script: Callable[..., Any]) -> Any:
            outcome = await original(script)
            async with self._committed:
                self._committed.notify_all()
            return outcome

        database.write = write  # type: ignore[method-assign]

    async def wait(self) -> None:
        async with self._committed:
            while await waiting(self._database):
                await self._committed.wait()


def nudging(database: Database, relay: OutboxRelay) -> None:
    def on_signal(signal: Signal) -> None:
        if isinstance(signal, OutboxFilled):
            relay.nudge()

    database.subscribe(on_signal)


async def test_it_publishes_what_is_recorded_as_soon_as_it_is_nudged(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    emptied = Emptied(sqlite_database)
    nudging(sqlite_database, relay)
    relay.start()
    relay.start()
    for number in range(1, 4):
        await record(sqlite_database, f"a{number}")
        await emptied.wait()
    assert publisher.keys == ["a1", "a2", "a3"]


async def test_it_looks_again_by_itself(sqlite_database: Database, publisher: ScriptedPublisher) -> None:
    relay = relay_for(sqlite_database, publisher, idle=timedelta(milliseconds=1))
    emptied = Emptied(sqlite_database)
    relay.start()
    await record(sqlite_database, "a1")
    await emptied.wait()
    await relay.stop()


async def test_while_the_broker_is_away_events_wait_and_a_line_says_so(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    await record(sqlite_database, "a1", "b1")
    emptied = Emptied(sqlite_database)
    publisher.away = BrokerUnavailable("nobody answers")
    tries: list[float] = []
    came_back = asyncio.Event()

    async def broker_lost(error: BrokerUnavailable, pause: float) -> None:
        await original(error, pause)
        tries.append(pause)
        if len(tries) == 4:
            publisher.away = None
            came_back.set()

    original, relay._broker_lost = relay._broker_lost, broker_lost  # type: ignore[method-assign]
    with capture_logs() as logs:
        relay.start()
        await came_back.wait()
        await emptied.wait()
    lost = [entry for entry in logs if "the broker is away" in entry["event"]]
    assert {(entry["reason"], entry["waiting"]) for entry in lost} == {("nobody answers", "2")}
    assert tries == [0.001, 0.002, 0.004, 0.004]
    assert publisher.keys == ["a1", "b1"]


async def test_while_the_database_is_away_it_tries_again(
    sqlite_database: Database, publisher: ScriptedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = relay_for(sqlite_database, publisher, idle=timedelta(milliseconds=1))
    failures = [StoreUnavailable("locked")] * 2
    read = Database.read

    def failing(database: Database) -> AbstractAsyncContextManager[Any]:
        if failures:
            raise failures.pop()
        return read(database)

    emptied = Emptied(sqlite_database)
    await record(sqlite_database, "a1")
    monkeypatch.setattr(Database, "read", failing)
    relay.start()
    await publisher.has_sent(1)
    monkeypatch.undo()
    await emptied.wait()
    await relay.stop()
    assert failures == []


async def test_stopping_in_the_middle_forgets_what_was_confirmed(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    await record(sqlite_database, "a1", "b1")
    publisher.holding = True
    relay.start()
    await publisher.has_sent(2)
    publisher.settle(1)
    await relay.stop()
    assert await waiting(sqlite_database) == ["b1"]
    assert not relay.connected
    assert publisher.closed == 1


async def test_it_can_be_started_again(
    sqlite_database: Database, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    emptied = Emptied(sqlite_database)
    for name in ("a1", "a2"):
        await record(sqlite_database, name)
        relay.start()
        await emptied.wait()
        await relay.stop()
    assert publisher.keys == ["a1", "a2"]


async def test_stop_without_start_does_nothing(relay: OutboxRelay) -> None:
    await relay.stop()


# Several processes


@dataclass(frozen=True)
class Process:
    """A relay in a process of its own, and what it has published."""

    relay: OutboxRelay
    publisher: ScriptedPublisher
    emptied: Emptied


@asynccontextmanager
async def process(url: str, clock: ManualClock, name: str) -> AsyncIterator[Process]:
    async with opened(url, clock, pool_size=2) as database:
        publisher = ScriptedPublisher()
        relay = relay_for(database, publisher, name, idle=timedelta(milliseconds=1))
        yield Process(relay, publisher, Emptied(database))
        await relay.stop()


async def test_one_process_publishes_and_the_next_takes_over_when_it_stops(
    postgres_database: Database, postgres_database_url: str, clock: ManualClock
) -> None:
    async with (
        process(postgres_database_url, clock, "one") as one,
        process(postgres_database_url, clock, "two") as two,
    ):
        one.relay.start()
        await record(postgres_database, "a1")
        await one.emptied.wait()
        two.relay.start()
        await record(postgres_database, "a2")
        await one.emptied.wait()
        assert two.publisher.connections == 0
        await one.relay.stop()
        await record(postgres_database, "a3")
        await two.emptied.wait()
        assert (one.publisher.keys, two.publisher.keys) == (["a1", "a2"], ["a3"])


async def test_the_next_process_takes_over_when_the_lease_of_a_killed_one_has_expired(
    postgres_database: Database, postgres_database_url: str, clock: ManualClock
) -> None:
    async with (
        process(postgres_database_url, clock, "one") as one,
        process(postgres_database_url, clock, "two") as two,
    ):
        one.relay.start()
        await record(postgres_database, "a1")
        await one.emptied.wait()
        assert one.relay._task is not None
        one.relay._task.cancel()
        await asyncio.wait([one.relay._task])
        two.relay.start()
        await record(postgres_database, "a2")
        assert not await two.relay._hold_lease()
        clock.advance(seconds=LEASE.total_seconds())
        await two.emptied.wait()
        assert two.publisher.keys == ["a2"]


async def test_a_process_whose_lease_ran_out_sends_nothing_more(
    postgres_database: Database, publisher: ScriptedPublisher
) -> None:
    """Its confirms come too late: another process may be publishing by now."""
    relay = OutboxRelay(postgres_database, publisher, "one", idle=LEASE, lease=timedelta(hours=1))  # type: ignore[arg-type]
    assert await relay._hold_lease()
    await record(postgres_database, "a1", "a2")
    publisher.holding = True
    running = asyncio.create_task(relay.run_once())
    await publisher.has_sent(1)
    relay._lease_until = 0.0
    publisher.settle()
    with pytest.raises(outbox_relay.LeaseLost):
        await running
    assert publisher.keys == ["a1"]
    assert await waiting(postgres_database) == ["a2"]


async def test_a_connection_that_takes_longer_than_the_lease_does_not_stand_in_the_way(
    postgres_database: Database, publisher: ScriptedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a busy machine would lose the lease, disconnect and connect for ever."""
    relay = OutboxRelay(postgres_database, publisher, "one", idle=LEASE)  # type: ignore[arg-type]
    assert await relay._hold_lease()
    await record(postgres_database, "a1")
    connect = publisher.connect

    async def slow_connect() -> None:
        await connect()
        relay._lease_until = 0.0

    monkeypatch.setattr(publisher, "connect", slow_connect)
    assert await relay.run_once() == 1
    assert publisher.keys == ["a1"]


async def test_the_points_of_a_crash_are_passed_only_with_messages(
    sqlite_database: Database, publisher: ScriptedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[str] = []
    monkeypatch.setattr(outbox_relay.faults, "point", passed.append)
    relay = OutboxRelay(sqlite_database, publisher, "one", idle=LEASE)  # type: ignore[arg-type]
    assert await relay.run_once() == 0
    assert passed == []
    await record(sqlite_database, "a1")
    assert await relay.run_once() == 1
    assert passed == ["outbox.published", "outbox.deleted"]

"""A day without a broker, by the clock: the outbox grows and nothing else does, the log says so, and then all
leaves in order.
"""

import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import pytest
from structlog.testing import capture_logs

from events.errors import BrokerUnavailable
from queue_service.loops.outbox_alarm import OutboxAlarm, Threshold
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.store import outbox
from queue_service.store.database import Database
from queue_service.store.outbox import Backlog
from tests.core.samples import NOW
from tests.loops.outbox_rows import record, waiting
from tests.loops.scripted_publisher import ScriptedPublisher
from tests.loops.test_outbox_relay import relay_for
from tests.store.manual_clock import ManualClock

HOURS: Final = 24
PER_ROUND: Final = 20
ROUNDS: Final = HOURS * 6
KEPT_BYTES: Final = 200_000
"""What the process may keep more at the end than at the beginning, beside what the test itself keeps."""


@pytest.fixture
async def relay(sqlite_database: Database, publisher: ScriptedPublisher) -> AsyncIterator[OutboxRelay]:
    made = relay_for(sqlite_database, publisher)
    yield made
    await made.stop()


@pytest.fixture
def publisher() -> ScriptedPublisher:
    return ScriptedPublisher()


async def test_a_day_without_a_broker(
    sqlite_database: Database, clock: ManualClock, publisher: ScriptedPublisher, relay: OutboxRelay
) -> None:
    seconds = 0.0
    relay._time = lambda: seconds  # type: ignore[method-assign]
    publisher.away = BrokerUnavailable("nobody answers")
    recorded: list[str] = []
    with capture_logs() as logs:
        for number in range(ROUNDS):
            if number == 1:
                tracemalloc.start()
                before, _ = tracemalloc.get_traced_memory()
            names = [f"{chr(0x4E00 + task)}{number}" for task in range(PER_ROUND)]
            await record(sqlite_database, *names)
            recorded += names
            with pytest.raises(BrokerUnavailable):
                await relay.run_once()
            await relay._look()
            clock.advance(minutes=10)
            seconds += 600
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    lines = logs
    assert after - before < KEPT_BYTES + sum(len(name) + 60 for name in recorded) + 2000 * len(lines)
    assert await depth(sqlite_database) == len(recorded)
    assert lines[-1]["waiting"] == len(recorded)
    assert lines[-1]["oldest_seconds"] == (ROUNDS - 1) * 600
    assert "TASKBUS_AMQP_URL" in lines[-1]["advice"]
    publisher.away = None
    batches = 0
    while await relay.run_once():
        batches += 1
    assert batches == -(-len(recorded) // 500)
    for task in range(PER_ROUND):
        first = chr(0x4E00 + task)
        assert [key for key in publisher.keys if key[0] == first] == recorded[task::PER_ROUND]
    assert await waiting(sqlite_database) == []


async def depth(database: Database) -> int:
    async with database.read() as connection:
        return (await outbox.backlog(connection)).depth


# The line in the log

OLD = Backlog(10, NOW - timedelta(minutes=6), refused=False)
DEEP = Backlog(101, NOW, refused=True)
THRESHOLD = Threshold(100, timedelta(minutes=5))


@pytest.mark.parametrize(
    ("backlog", "connected", "advice"),
    [
        (OLD, False, "bring the broker back"),
        (OLD, True, "memory and disk alarms"),
        (DEEP, True, "full queue with overflow=reject-publish"),
    ],
)
def test_the_warning_says_what_to_do(backlog: Backlog, connected: bool, advice: str) -> None:
    with capture_logs() as logs:
        OutboxAlarm(THRESHOLD).look(backlog, NOW, connected=connected)
    (line,) = logs
    assert (line["log_level"], line["waiting"]) == ("warning", backlog.depth)
    assert advice in line["advice"]


def test_what_is_young_and_short_needs_no_warning() -> None:
    with capture_logs() as logs:
        OutboxAlarm(THRESHOLD).look(Backlog(100, NOW - timedelta(minutes=5), False), NOW, connected=False)
        OutboxAlarm(THRESHOLD).look(Backlog(0, None, False), NOW, connected=False)
    assert logs == []


def test_it_is_told_once_a_minute_and_when_it_is_over() -> None:
    alarm = OutboxAlarm(THRESHOLD)
    with capture_logs() as logs:
        for second in range(0, 130, 10):
            alarm.look(DEEP, NOW + timedelta(seconds=second), connected=True)
        alarm.look(Backlog(0, None, False), NOW, connected=True)
        alarm.look(Backlog(0, None, False), NOW, connected=True)
    assert [line["log_level"] for line in logs] == ["warning", "warning", "warning", "info"]

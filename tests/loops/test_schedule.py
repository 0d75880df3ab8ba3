"""The background loops of a server process: each does its work, and wakes by the signal of a commit."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from queue_service.core import transitions
from queue_service.loops.schedule import Loops
from queue_service.store.database import Database
from queue_service.store.signals import OutboxFilled, QueueFilled, Signal, TasksResolved, TimerSet
from tests.core.samples import DEADLINE, EXPIRES, NOW, new_ids, task
from tests.core.states import LATER, MILLISECOND
from tests.memory_blobs import MemoryBlobs
from tests.operations.queue import LIMITS, Queue, creation
from tests.store.manual_clock import ManualClock

A, B, C, D = new_ids(4)


@pytest.fixture
async def loops(database: Database) -> AsyncIterator[Loops]:
    made = Loops(database, LIMITS, MemoryBlobs())
    yield made
    await made.stop()


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


class Seen:
    """The signals of a database, to wait for."""

    def __init__(self, database: Database) -> None:
        self.signals: list[Signal] = []
        self._more = asyncio.Event()
        database.subscribe(self._on_signal)

    def _on_signal(self, signal: Signal) -> None:
        self.signals.append(signal)
        self._more.set()

    async def wait_for(self, signal: Signal) -> None:
        while signal not in self.signals:
            self._more.clear()
            await self._more.wait()


# Each does its work


async def test_a_claim_that_runs_out_is_retried(loops: Loops, queue: Queue, clock: ManualClock) -> None:
    await queue.given(task("scheduled running", task_id=A))
    clock.advance(hours=1)
    assert await loops.claims.run_once() == 1
    assert await queue.states(A) == ["pending"]


async def test_a_deadline_that_passes_ends_the_task(loops: Loops, queue: Queue, clock: ManualClock) -> None:
    await queue.given(task(task_id=A))
    clock.move_to(DEADLINE + LIMITS.deadline_delay)
    assert await loops.deadlines.run_once() == 1
    assert await queue.states(A) == ["exception"]


async def test_an_end_lets_dependents_go(loops: Loops, queue: Queue) -> None:
    await queue.create_all(creation(A), creation(B, dependencies=[A]))
    await queue.end(A)
    assert await loops.resolutions.run_once() == 1
    assert await queue.states(B) == ["pending"]


async def test_what_has_expired_is_deleted(loops: Loops, queue: Queue, clock: ManualClock) -> None:
    await queue.given(task("scheduled completed", task_id=A))
    clock.move_to(EXPIRES)
    clock.advance(minutes=31)
    assert await loops.expiry.run_once() == 1
    assert await queue.task(A) is None


async def test_what_comes_due_gets_in_line(loops: Loops, queue: Queue, clock: ManualClock) -> None:
    await queue.given(
        task("scheduled pending", task_id=A, available_at=LATER), task(task_id=B, available_at=LATER)
    )
    clock.move_to(LATER - MILLISECOND)
    assert await loops.delays.run_once() == 0
    clock.move_to(LATER)
    assert await loops.delays.run_once() == 2
    assert await queue.states(A, B) == ["pending", "pending"]
    assert await queue.told() == [f"task-pending {A} 0", f"task-pending {B} 0"]


# Each wakes by its signal


async def test_dependents_go_without_anybody_looking_for_them(
    loops: Loops, queue: Queue, database: Database
) -> None:
    await queue.create_all(creation(A), creation(B, dependencies=[A]))
    await queue.run(A)
    database.subscribe(loops.on_signal)
    seen = Seen(database)
    loops.start()
    await loops.resolutions.passed.wait()
    await queue.change(A, lambda task, now: transitions.report(task, 0, "completed", now))
    await seen.wait_for(QueueFilled("prov/type"))
    assert await queue.states(B) == ["pending"]


class Nudged:
    """Notes which loops a signal wakes, and for when."""

    def __init__(self, loops: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nudges: list[object] = []
        for loop in loops.every:
            monkeypatch.setattr(loop, "nudge", lambda loop=loop: self.nudges.append(loop.name))
            monkeypatch.setattr(loop, "nudge_at", lambda due, loop=loop: self.nudges.append((loop.name, due)))


@pytest.mark.parametrize(
    ("signal", "nudges"),
    [
        (TasksResolved(), ["resolutions"]),
        (TimerSet("claim", NOW), [("claim expiry", NOW)]),
        (TimerSet("deadline", NOW), [("deadlines", NOW + LIMITS.deadline_delay)]),
        (TimerSet("expiry", NOW), [("expiry", NOW + LIMITS.expiry_grace)]),
        (TimerSet("delay", NOW), [("delays", NOW)]),
        (QueueFilled("prov/type"), []),
        (OutboxFilled(), []),
    ],
    ids=["end", "claim", "deadline", "expiry", "delay", "queue", "outbox"],
)
async def test_a_signal_wakes_its_loop_when_it_is_due(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch, signal: Signal, nudges: list[object]
) -> None:
    loops = Loops(sqlite_database, LIMITS, MemoryBlobs())
    nudged = Nudged(loops, monkeypatch)
    loops.on_signal(signal)
    assert nudged.nudges == nudges


async def test_loops_mean_to_wake_when_the_next_thing_is_due(
    loops: Loops, queue: Queue, clock: ManualClock
) -> None:
    await queue.given(
        task("scheduled running", task_id=A),
        task("scheduled completed", task_id=B),
        task("scheduled pending", task_id=C, available_at=LATER),
        task(task_id=D, available_at=LATER + MILLISECOND),
    )
    asked = {
        loop.name: await loop._next_due()
        for loop in (loops.claims, loops.delays, loops.deadlines, loops.expiry)
        if loop._next_due is not None
    }
    stored = await queue.task(A)
    assert stored is not None
    assert asked == {
        "claim expiry": stored.runs[0].taken_until,
        "delays": LATER,
        "deadlines": DEADLINE + LIMITS.deadline_delay,
        "expiry": EXPIRES + LIMITS.expiry_grace,
    }


async def test_all_loops_start_and_stop_together(loops: Loops) -> None:
    loops.start()
    assert all(loop.running for loop in loops.every)
    await loops.stop()
    assert not any(loop.running for loop in loops.every)

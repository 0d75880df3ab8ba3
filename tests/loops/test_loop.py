"""How background work is run: when it passes, when it sleeps, and how it is started and stopped."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from queue_service.loops import loop as loop_module
from queue_service.loops.loop import Loop
from queue_service.store.database import StoreUnavailable
from tests.core.samples import NOW
from tests.store.manual_clock import ManualClock

HOUR = timedelta(hours=1)
LONG_AGO = NOW - HOUR


class Work:
    """What a loop has to do: ``found`` of the passes to come, and when the next thing is due."""

    def __init__(self) -> None:
        self.passes = 0
        self.under_way = 0
        self.most_at_once = 0
        self.found: list[int | Exception] = []
        self.due: datetime | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked_for_due = asyncio.Event()
        self.due_gate = asyncio.Event()
        self.due_gate.set()
        self._changed = asyncio.Condition()

    async def run_once(self) -> int:
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        async with self._changed:
            self.passes += 1
            self._changed.notify_all()
        try:
            await self.gate.wait()
            found = self.found.pop(0) if self.found else 0
            if isinstance(found, Exception):
                raise found
            return found
        finally:
            self.under_way -= 1

    async def next_due(self) -> datetime | None:
        due = self.due
        self.asked_for_due.set()
        await self.due_gate.wait()
        return due

    async def passed(self, count: int) -> None:
        """Wait until so many passes have begun."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.passes >= count)


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
async def loop(work: Work) -> AsyncIterator[Loop]:
    made = Loop("test", ManualClock(), work.run_once, batch=10, idle=HOUR, next_due=work.next_due)
    yield made
    await made.stop()


async def asleep(loop: Loop) -> None:
    """Wait until the pass under way, or the next one, is over and the loop sleeps."""
    loop.passed.clear()
    await loop.passed.wait()
    await quiet()


async def quiet() -> None:
    """Let everything run that can run without anything new happening."""
    for _ in range(10):
        await asyncio.sleep(0)


# When it passes


async def test_it_passes_at_the_start_and_then_sleeps(loop: Loop, work: Work) -> None:
    loop.start()
    await asleep(loop)
    assert work.passes == 1


async def test_a_nudge_makes_it_pass(loop: Loop, work: Work) -> None:
    loop.start()
    for count in (1, 2, 3):
        await asleep(loop)
        assert work.passes == count
        loop.nudge()


async def test_a_full_batch_is_followed_by_another_at_once(loop: Loop, work: Work) -> None:
    work.found = [10, 12, 10, 9]
    loop.start()
    await work.passed(4)
    await quiet()
    assert work.passes == 4


async def test_a_nudge_during_a_pass_is_not_lost(loop: Loop, work: Work) -> None:
    work.gate.clear()
    loop.start()
    await work.passed(1)
    loop.nudge()
    work.gate.set()
    await work.passed(2)


async def test_a_nudge_before_the_start_does_no_harm(loop: Loop, work: Work) -> None:
    loop.nudge()
    loop.start()
    await asleep(loop)
    assert work.passes == 1


async def test_what_is_due_already_makes_it_pass_again(loop: Loop, work: Work) -> None:
    work.due = LONG_AGO
    loop.start()
    await work.passed(3)


async def test_it_sleeps_no_longer_than_its_idle_time(work: Work) -> None:
    loop = Loop("test", ManualClock(), work.run_once, batch=10, idle=timedelta(milliseconds=1))
    loop.start()
    await work.passed(3)
    await loop.stop()


async def test_between_two_passes_lies_its_pace(work: Work) -> None:
    loop = Loop("test", ManualClock(), work.run_once, batch=1, idle=HOUR, pace=0.01)
    work.found = [1, 1, 1]
    began = asyncio.get_running_loop().time()
    loop.start()
    await work.passed(4)
    assert asyncio.get_running_loop().time() - began >= 0.03
    await loop.stop()


# Nudges for a time


async def test_something_due_earlier_than_planned_wakes_it(loop: Loop, work: Work) -> None:
    loop.start()
    await asleep(loop)
    loop.nudge_at(NOW + HOUR / 2)
    await work.passed(2)


@pytest.mark.parametrize("later", [HOUR, 2 * HOUR], ids=["as planned", "later"])
async def test_something_due_as_planned_or_later_lets_it_sleep(
    loop: Loop, work: Work, later: timedelta
) -> None:
    loop.start()
    await asleep(loop)
    loop.nudge_at(NOW + later)
    await quiet()
    assert work.passes == 1


async def test_it_means_to_wake_when_the_next_thing_is_due(loop: Loop, work: Work) -> None:
    work.due = NOW + HOUR / 4
    loop.start()
    await asleep(loop)
    loop.nudge_at(NOW + HOUR / 2)
    await quiet()
    assert work.passes == 1
    loop.nudge_at(NOW + HOUR / 8)
    await work.passed(2)


async def test_something_announced_during_a_pass_is_not_slept_through(loop: Loop, work: Work) -> None:
    """The pass, and its question for what is due next, may have looked before it was committed."""
    work.gate.clear()
    loop.start()
    await work.passed(1)
    loop.nudge_at(LONG_AGO)
    work.gate.set()
    await work.passed(2)


async def test_something_announced_while_it_asks_what_is_due_is_not_slept_through(
    loop: Loop, work: Work
) -> None:
    work.due_gate.clear()
    loop.start()
    await work.asked_for_due.wait()
    loop.nudge_at(LONG_AGO)
    loop.nudge_at(NOW + HOUR / 2)
    work.due_gate.set()
    await work.passed(2)


async def test_what_was_announced_before_a_pass_does_not_keep_it_awake(loop: Loop, work: Work) -> None:
    loop.nudge_at(LONG_AGO)
    loop.start()
    await asleep(loop)
    assert work.passes == 1


# Errors


async def failing(work: Work, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[Any]:
    """What is logged while passes end with these errors."""
    monkeypatch.setattr(loop_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(loop_module, "LONGEST_PAUSE", 0.004)
    work.found = list(errors)
    loop = Loop("test", ManualClock(), work.run_once, batch=10, idle=HOUR)
    with capture_logs() as logs:
        loop.start()
        await work.passed(len(errors) + 1)
        await quiet()
        assert loop.running
        await loop.stop()
    return logs


async def test_after_an_error_it_tries_again_each_time_later(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = await failing(work, monkeypatch, *(ZeroDivisionError() for _ in range(5)))
    assert {(entry["event"], entry["log_level"]) for entry in logs} == {
        ("loop failed; it tries again", "error")
    }
    assert [entry["seconds"] for entry in logs] == [0.001, 0.002, 0.004, 0.004, 0.004]


async def test_a_pass_without_error_forgets_the_errors(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [ZeroDivisionError(), ZeroDivisionError(), 10, ZeroDivisionError()]
    logs = await failing(work, monkeypatch, *errors)  # type: ignore[arg-type]
    assert [entry["seconds"] for entry in logs] == [0.001, 0.002, 0.001]


async def test_a_database_that_is_away_is_a_warning_with_its_reason(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry,) = await failing(work, monkeypatch, StoreUnavailable("it is away"))
    assert (entry["log_level"], entry["reason"], entry["loop"]) == ("warning", "it is away", "test")


# Start and stop


async def test_stop_waits_for_the_pass_under_way(loop: Loop, work: Work) -> None:
    work.gate.clear()
    loop.start()
    await work.passed(1)
    stopping = asyncio.create_task(loop.stop())
    await quiet()
    assert not stopping.done()
    work.gate.set()
    await stopping
    assert (work.under_way, loop.running) == (0, False)


async def test_a_stopped_loop_does_not_pass_any_more(loop: Loop, work: Work) -> None:
    work.found = [10] * 100
    loop.start()
    await work.passed(2)
    await loop.stop()
    passes = work.passes
    loop.nudge()
    await quiet()
    assert work.passes == passes


async def test_stop_ends_a_sleep_and_an_error_pause(loop: Loop, work: Work) -> None:
    for found in (0, ZeroDivisionError()):
        work.found = [found]
        loop.start()
        await asleep(loop)
        await loop.stop()
        assert not loop.running


async def test_stop_without_start_and_twice_does_nothing(loop: Loop) -> None:
    await loop.stop()
    loop.start()
    await loop.stop()
    await loop.stop()
    assert not loop.running


async def test_start_twice_is_one_loop(loop: Loop, work: Work) -> None:
    work.gate.clear()
    loop.start()
    loop.start()
    await quiet()
    assert work.under_way == 1
    work.gate.set()


async def test_it_can_be_started_again(loop: Loop, work: Work) -> None:
    for count in (1, 2, 3):
        loop.start()
        await work.passed(count)
        await loop.stop()


async def test_a_start_that_follows_one_of_two_stops_can_be_stopped(loop: Loop, work: Work) -> None:
    loop.start()
    await work.passed(1)

    async def restart() -> None:
        await loop.stop()
        loop.start()

    await asyncio.gather(restart(), loop.stop())
    assert loop.running
    await loop.stop()
    passes = work.passes
    loop.nudge()
    await quiet()
    assert work.passes == passes


@pytest.mark.parametrize("seed", range(5))
async def test_starting_and_stopping_in_any_order_leaves_one_loop_or_none(
    loop: Loop, work: Work, seed: int
) -> None:
    random = Random(seed)
    work.found = [10] * 10_000
    stops: list[asyncio.Task[None]] = []
    for _ in range(300):
        match random.randrange(4):
            case 0:
                loop.start()
            case 1:
                stops.append(asyncio.create_task(loop.stop()))
            case 2:
                loop.nudge()
            case _:
                await asyncio.sleep(0)
    await asyncio.gather(*stops)
    await loop.stop()
    assert (loop.running, work.under_way) == (False, 0)
    assert work.most_at_once <= 1

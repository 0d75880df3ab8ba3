"""One way to run background work: do all that is due, then sleep until the next thing is due or a nudge."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from queue_service.clock import Clock
from queue_service.store.database import StoreUnavailable

logger = structlog.get_logger(__name__)

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
STUCK_SECONDS: Final = 120.0
"""A pass that takes longer will not end: each of its statements is given up after 60 s."""


class Loop:
    """Calls ``run_once`` until it finds less than ``batch`` things to do, then sleeps.

    ``next_due`` tells when the next thing falls due, None when nothing is in sight. The loop looks again
    after ``idle`` at the latest: other processes may have added work without a nudge reaching us. Between two
    passes lie ``pace`` seconds at least, so that a busy time makes large passes and not many.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        run_once: Callable[[], Awaitable[int]],
        *,
        batch: int,
        idle: timedelta,
        next_due: Callable[[], Awaitable[datetime | None]] | None = None,
        pace: float = 0.0,
    ) -> None:
        self.name = name
        self.run_once = run_once
        self.passed = asyncio.Event()
        """Set after every pass; for tests and health checks."""
        self.passes = 0
        self.failures = self.failed_in_a_row = 0
        self._busy_since: float | None = None
        self._clock = clock
        self._batch = batch
        self._idle = idle
        self._next_due = next_due
        self._pace = pace
        self._nudged = asyncio.Event()
        self._wakes_at: datetime | None = None
        """Until when it sleeps; None while it does not."""
        self._announced: datetime | None = None
        """The earliest that was announced since the pass began; the pass may not have seen it."""
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin; does nothing when running already."""
        if self._task is None or self._task.done():
            self._stopping = False
            self._task = asyncio.create_task(self._run(), name=f"loop {self.name}")

    async def stop(self) -> None:
        """End after the pass under way; does nothing when not running."""
        task = self._task
        if task is None:
            return
        self._stopping = True
        self.nudge()
        await asyncio.wait([task])
        if self._task is task:
            self._task = None

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def busy_seconds(self) -> float:
        """For how long the pass under way has been going on; 0 between passes."""
        return 0.0 if self._busy_since is None else asyncio.get_running_loop().time() - self._busy_since

    @property
    def trouble(self) -> str | None:
        """What is wrong, for health checks; None while it works or sleeps."""
        if not self.running:
            return "does not run"
        if self.busy_seconds > STUCK_SECONDS:
            return f"stuck: its pass has not ended for {self.busy_seconds:.0f} s"
        if self.failed_in_a_row > 1:
            return f"failed {self.failed_in_a_row} times in a row; the log tells why"
        return None

    def nudge(self) -> None:
        """Something is to be done now."""
        self._nudged.set()

    def nudge_at(self, due: datetime) -> None:
        """Something falls due at this time; wakes the loop only if it means to sleep longer."""
        if self._wakes_at is None:
            self._announced = due if self._announced is None else min(due, self._announced)
        elif due < self._wakes_at:
            self.nudge()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while not self._stopping:
            self._nudged.clear()
            self._announced = None
            self._busy_since = loop.time()
            try:
                found = await self.run_once()
                seconds = 0.0 if found >= self._batch else await self._until_due()
                pause, self.failed_in_a_row = FIRST_PAUSE, 0
            except Exception as error:
                self.failures += 1
                self.failed_in_a_row += 1
                if isinstance(error, StoreUnavailable):
                    logger.warning("loop waits for the database", loop=self.name, reason=str(error))
                else:
                    logger.exception("loop failed; it tries again", loop=self.name, seconds=pause)
                seconds, pause = pause, min(pause * 2, LONGEST_PAUSE)
            self._busy_since = None
            self.passes += 1
            self.passed.set()
            passed_at = loop.time()
            if not self._stopping:
                await self._sleep(seconds)
            if not self._stopping and (pace := passed_at + self._pace - loop.time()) > 0:
                await asyncio.sleep(pace)

    async def _until_due(self) -> float:
        """Seconds to sleep. Whatever was nudged since the pass began ends the sleep at once."""
        now = self._clock.now()
        due = await self._next_due() if self._next_due is not None else None
        moments = (now + self._idle, due, self._announced)
        self._wakes_at = min(moment for moment in moments if moment is not None)
        return max((self._wakes_at - now).total_seconds(), 0.001)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            pass
        finally:
            self._wakes_at = None

"""A clock that stands still until the test moves it."""

import asyncio

import pytest


class ManualClock:
    """Sleepers wake when :meth:`advance` passes their time; :meth:`asleep` waits until there is one."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: dict[asyncio.Future[None], tuple[float, float]] = {}
        self._changed = asyncio.Event()

    def time(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        wake = asyncio.get_running_loop().create_future()
        self._sleepers[wake] = (seconds, self._now + seconds)
        self._changed.set()
        try:
            await wake
        finally:
            del self._sleepers[wake]

    def advance(self, seconds: float) -> None:
        self._now += seconds
        for wake, (_, due) in self._sleepers.items():
            if due <= self._now and not wake.done():
                wake.set_result(None)

    async def asleep(self, seconds: float) -> None:
        """Return as soon as somebody is asleep who asked for so many seconds."""
        while not any(
            asked == pytest.approx(seconds) and not wake.done() for wake, (asked, _) in self._sleepers.items()
        ):
            self._changed.clear()
            await self._changed.wait()

    async def pass_by(self, seconds: float) -> None:
        """Wait for somebody who asked for so many seconds of sleep, and let these pass."""
        await self.asleep(seconds)
        self.advance(seconds)

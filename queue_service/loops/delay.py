"""How late the event loop is: whatever holds it up delays every call of this process."""

import asyncio

from queue_service.counting import SECONDS, Distribution

EVERY_SECONDS = 0.5


class LoopDelay:
    """Asks to be woken twice a second and notes by how much that came too late."""

    def __init__(self) -> None:
        self.seconds = Distribution(SECONDS)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._plan()

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + EVERY_SECONDS
        self._timer = loop.call_at(due, self._woken, due)

    def _woken(self, due: float) -> None:
        self.seconds.add(max(asyncio.get_running_loop().time() - due, 0.0))
        self._plan()

"""A handler under the test's control, and what a failing server raises."""

import asyncio
from collections.abc import Callable
from typing import Any

from taskbus.errors import Conflict, ConnectionFailed, ServerError
from taskbus.runs import ClaimedRun

StartWorker = Callable[..., Any]
"""Type of the fixture ``working``."""

GONE = ConnectionFailed("http://queue", "Connection refused")
LOST = Conflict(409, "RequestConflict", "the claim is lost")
BROKEN = ServerError(500, "InternalServerError", "incident")


class Hands:
    """A handler that begins a run, and ends it when the test says so."""

    def __init__(self) -> None:
        self.begun: list[ClaimedRun] = []
        self.cancelled: list[str] = []
        self._changed = asyncio.Event()
        self._ends: dict[str, asyncio.Event] = {}

    async def __call__(self, run: ClaimedRun) -> None:
        end = self._ends.setdefault(run.task_id, asyncio.Event())
        self.begun.append(run)
        self._changed.set()
        try:
            await end.wait()
        except asyncio.CancelledError:
            self.cancelled.append(run.task_id)
            raise

    async def busy_with(self, count: int) -> None:
        while len(self.begun) < count:
            self._changed.clear()
            await self._changed.wait()

    def end(self, run: ClaimedRun) -> None:
        self._ends[run.task_id].set()

"""What a handler tells of its typed job over a socket: steps, lines, output; each is answered.

An item that is no typed job has nobody who keeps that: then nothing is sent, and the same handler works on
both.
"""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from schemas.jobs import LogReport, StepReport
from taskbus.errors import ApiError

RETRIES: Final = 5
UNAVAILABLE: Final = "Unavailable"
"""The code of a report that the server could not write now."""

Key = tuple[str, int]
"""The task of an item, and its run."""
Ask = Callable[[str, Key, Mapping[str, Any]], Awaitable[None]]
"""Sends a report of this kind with these members. Raises ApiError when it is refused."""
Pause = Callable[[int], Awaitable[None]]
"""Waits after failure number so-and-so, from 0."""

T = TypeVar("T")


class ItemReports:
    """Reports of the item that came with ``frame``, a :class:`taskbus.run_step.StepReporter`.

    One that the server cannot write now is sent again, as calls of the HTTP API are.
    """

    def __init__(
        self, frame: Mapping[str, Any], ask: Ask, pause: Pause, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._key: Key = (frame["task_id"], frame["run_id"])
        self._ask = ask
        self._pause = pause
        self._loop = loop
        job = frame.get("job")
        self._typed = job is not None
        self.completed_steps: tuple[str, ...] = tuple((job or {}).get("completed_steps", ()))
        self.cursor: Any = (job or {}).get("cursor")

    async def step(self, name: str, report: StepReport) -> None:
        """Tell of a step. Raises ApiError."""
        await self._tell("step", {"step": name, **report.to_wire()})

    async def log(self, report: LogReport) -> None:
        """Tell those who watch. Raises ApiError."""
        await self._tell("log", report.to_wire())

    async def put_output(self, output: Any) -> None:
        """Keep the result so far. Raises ApiError."""
        await self._tell("output", {"output": output})

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work that the event loop does for another thread.

        Raises asyncio.CancelledError when nobody waits for the item's answer any more.
        """
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError from None

    async def _tell(self, kind: str, members: Mapping[str, Any]) -> None:
        failures = 0
        while self._typed:
            try:
                await self._ask(kind, self._key, members)
            except ApiError as error:
                if error.code != UNAVAILABLE or failures == RETRIES:
                    raise
            else:
                return
            await self._pause(failures)
            failures += 1

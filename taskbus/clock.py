"""Time as the worker sees it, so that tests can move it."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")


class Clock(Protocol):
    """A clock that only runs forward, in seconds; its zero means nothing."""

    def time(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's monotonic clock."""

    def time(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of ``work``. Raises TimeoutError, with the work cancelled and ended, if it takes longer."""
    job = asyncio.create_task(work)
    limit = asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait({job, limit}, return_when=asyncio.FIRST_COMPLETED)
        in_time = job.done()
    finally:
        limit.cancel()
        if not job.done():
            job.cancel()
            await asyncio.wait({job})
    if not in_time:
        raise TimeoutError
    return job.result()

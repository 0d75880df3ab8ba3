"""Trying one operation again that fails for the moment (``seed-systems.md`` TR-11)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from queue_service.store.database import StoreUnavailable
from schemas.triggers import TransientRetry

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 30.0

T = TypeVar("T")


async def with_retries(
    operation: Callable[[], Awaitable[T]],
    retry: TransientRetry,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """What the operation gives: it may take ``retry.timeout`` each time and is tried ``retries`` times more.

    The pauses double, from 100 ms on. A refusal is not tried again. Raises StoreUnavailable.
    """
    seconds = retry.timeout.total_seconds()
    for attempt in range(retry.retries + 1):
        try:
            async with asyncio.timeout(seconds):
                return await operation()
        except TimeoutError:
            error = StoreUnavailable(f"it takes more than {seconds:g} s")
        except StoreUnavailable as unavailable:
            error = unavailable
        if attempt < retry.retries:
            await sleep(min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE))
    raise error

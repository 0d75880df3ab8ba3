"""Holding on to something that ends by itself: it is renewed again and again while a body runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from taskbus.errors import Conflict, TaskbusError

logger = logging.getLogger(__name__)


@asynccontextmanager
async def kept(renew: Callable[[], Awaitable[object]], *, every: float) -> AsyncIterator[None]:
    """Call ``renew`` every so many seconds while the body runs, until it raises Conflict: then it is lost."""
    keeper = asyncio.create_task(_keep(renew, every), name="renewal")
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])


async def _keep(renew: Callable[[], Awaitable[object]], every: float) -> None:
    while True:
        await asyncio.sleep(every)
        try:
            await renew()
        except Conflict as error:
            logger.warning("what was held is lost: %s", error.message)
            return
        except TaskbusError as error:
            logger.warning("could not renew; trying again: %s", error)

"""How a worker on the command line ends: the first signal ends it in order, the second one at once."""

import asyncio
import logging
import signal
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

logger = logging.getLogger(__name__)


class Stoppable(Protocol):
    """A worker of either kind."""

    @property
    def running(self) -> Sequence[object]: ...
    def stop(self) -> None: ...


async def until_signalled(work: Coroutine[Any, Any, None], worker: Stoppable) -> bool:
    """Whether the worker came to its end in order. Raises what ``work``, its running, raises."""
    running = asyncio.create_task(work)
    signalled = False

    def on_signal() -> None:
        nonlocal signalled
        if signalled:
            running.cancel()
            return
        signalled = True
        held = worker.running
        if held:
            logger.info("stopping as soon as %s have ended, or their time is up; once more to end now", held)
        worker.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await asyncio.wait({running})
    if running.cancelled():
        return False
    running.result()
    return True

"""Plain functions run in a thread of their own, which does not keep the program alive."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any


class ThreadEnded(RuntimeError):
    """A function in a thread raised what only programs may raise, such as SystemExit."""


async def in_thread(name: str, function: Callable[..., Any], *args: Any) -> Any:
    """The result of the function, called with a copy of the context variables.

    A thread cannot be interrupted: cancelled, this waits on, and only gives up when it is cancelled again.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        settle: Callable[[], None]
        try:
            result = context.run(function, *args)
        except asyncio.CancelledError:
            settle = ended.cancel  # type: ignore[assignment]
        except Exception as error:
            settle = _with(ended.set_exception, error)
        except BaseException as error:
            settle = _with(ended.set_exception, ThreadEnded(f"{name} raised {error!r}"))
        else:
            settle = _with(ended.set_result, result)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    # A daemon, and no pool: a thread that never ends holds up neither other jobs nor the end of the program.
    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        if ended.cancelled():
            raise
        return await asyncio.shield(ended)


def _with(settle: Callable[[Any], None], value: Any) -> Callable[[], None]:
    def call() -> None:
        if isinstance(value, StopIteration):  # which no future takes
            settle(ThreadEnded(repr(value)))
        else:
            settle(value)

    return call

"""Simulated time, and event loops on it: everything that happens is a step of one scheduler, in one order.

Nothing sleeps. When nothing is ready, time jumps to the next timer. Each simulated process has a loop of its
own, so that killing it is to forget its loop.
"""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any
from weakref import WeakSet


class Handle:
    """A callback that is to be run, unless it is cancelled or its loop is killed."""

    __slots__ = ("_args", "_callback", "_context", "_loop", "_stopped", "_when")

    def __init__(
        self,
        loop: "SimulatedLoop | None",
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None = None,
    ) -> None:
        self._loop, self._when, self._callback, self._args = loop, when, callback, args
        self._context = context
        self._stopped = False

    def cancel(self) -> None:
        self._stopped = True

    def cancelled(self) -> bool:
        return self._stopped

    def when(self) -> float:
        return self._when

    def run(self) -> bool:
        """Run it; whether it ran."""
        loop = self._loop
        if self._stopped or (loop is not None and loop.killed):
            return False
        if loop is not None and loop.frozen is not None:
            loop.frozen.append(self)
            return False
        asyncio._set_running_loop(loop)
        try:
            if self._context is None:
                self._callback(*self._args)
            else:
                self._context.run(self._callback, *self._args)
        finally:
            asyncio._set_running_loop(None)
        return True


class Scheduler:
    """Runs what is ready, in order of arrival; else lets time pass. ``now`` is in seconds from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._count = 0
        self._alarm: tuple[int, Callable[[], None]] | None = None

    def soon(self, handle: Handle) -> Handle:
        self._ready.append(handle)
        return handle

    def at(self, handle: Handle) -> Handle:
        self._count += 1
        heapq.heappush(self._timers, (handle.when(), self._count, handle))
        return handle

    def after(self, seconds: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Something that happens outside every process."""
        return self.at(Handle(None, self.now + seconds, callback, args))

    def after_steps(self, steps: int, callback: Callable[[], None]) -> None:
        """Interrupt whatever is going on then, between any two of its steps."""
        self._alarm = (self.steps + steps, callback)

    def no_alarm(self) -> None:
        """Nothing interrupts any more."""
        self._alarm = None

    def run_until(self, moment: float) -> None:
        """Let everything happen until this time."""
        while True:
            if self._alarm is not None and self.steps >= self._alarm[0]:
                callback, self._alarm = self._alarm[1], None
                callback()
            if self._ready:
                self.steps += self._ready.popleft().run()
            elif self._timers and self._timers[0][0] <= moment:
                self.now, _, handle = heapq.heappop(self._timers)
                self._ready.append(handle)
                while self._timers and self._timers[0][0] <= self.now:
                    self._ready.append(heapq.heappop(self._timers)[2])
            else:
                self.now = max(self.now, moment)
                return


class SimulatedLoop(asyncio.AbstractEventLoop):
    """The event loop of one process: asyncio's futures, tasks and locks work on it as they are."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.killed = False
        self.frozen: list[Handle] | None = None
        """What it would do if it were not stopped."""

    def freeze(self) -> None:
        """Stop it, as by SIGSTOP."""
        if self.frozen is None:
            self.frozen = []

    def thaw(self) -> None:
        """Let it go on where it was, not knowing how much later it is."""
        waiting, self.frozen = self.frozen or (), None
        for handle in waiting:
            self._scheduler.soon(handle)

    def kill(self) -> None:
        """Nothing of this process happens any more."""
        self.killed = True
        for task in list(self._tasks):
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with suppress(BaseException):
                    task.get_coro().close()  # type: ignore[union-attr]

    async def pause(self, seconds: float) -> None:
        """Something outside the process takes so long."""
        over = self.create_future()
        self.call_later(seconds, lambda: over.done() or over.set_result(None))
        await over

    # What asyncio calls

    def time(self) -> float:
        return self._scheduler.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.killed

    def is_closed(self) -> bool:
        return self.killed

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None
    ) -> "asyncio.Task[Any]":
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.add(task)
        return task

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return self._scheduler.soon(Handle(self, self._scheduler.now, callback, args, context))

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_at(self._scheduler.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self._scheduler.at(Handle(self, max(when, self._scheduler.now), callback, args, context))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Exceptions that nobody retrieved: the judge looks at what is logged, and at replies."""

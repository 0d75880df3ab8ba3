"""What may be wrapped around insertions and work (middleware), and called on the way (hooks).

Rules: ``seed-systems.md`` M-1 to M-4. Middleware is a function that calls the next one once; the first of a
list is the outermost. Hooks cannot pass anything on; context variables that middleware sets can be read by
all that is inside.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from taskbus.jobs.insertion import Insertion, InsertResult
    from taskbus.jobs.run import Run

Given = TypeVar("Given")
Result = TypeVar("Result")

Next = Callable[[Given], Awaitable[Result]]
Middleware = Callable[[Given, Next[Given, Result]], Awaitable[Result]]

InsertMiddleware: TypeAlias = "Middleware[Sequence[Insertion], Sequence[InsertResult]]"
"""Around one insertion, of one job or of many: ``async def audit(jobs, next): return await next(jobs)``."""
WorkMiddleware: TypeAlias = "Middleware[Run, None]"
"""Around one attempt: ``async def timed(run, next): …; await next(run); …``."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure: ``job.worked`` (seconds of an attempt; labels kind and outcome), or ``job.stuck`` (1)."""

    name: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


class Hook:
    """Override what you want to be called for."""

    async def insert_begin(self, insertion: "Insertion") -> None:
        """Before a job is inserted. An error keeps all jobs of the same call from being inserted."""

    async def work_begin(self, run: "Run") -> None:
        """After the claim, before the arguments are read. An error is that of the attempt."""

    async def work_end(self, run: "Run", error: BaseException | None) -> BaseException | None:
        """After the handler. The result takes the place of its error; None is none."""
        return error

    def metric_emit(self, metric: Metric) -> None:
        """A figure is there. Must not block."""


class NextNotCalled(RuntimeError):
    """A middleware must call the next one exactly once, or raise."""


class _Once(Generic[Given, Result]):
    """The next one, which counts its calls."""

    def __init__(self, middleware: Middleware[Given, Result], inner: Next[Given, Result]) -> None:
        self._name = getattr(middleware, "__qualname__", repr(middleware))
        self._inner = inner
        self._called = False

    async def __call__(self, given: Given) -> Result:
        if self._called:
            raise NextNotCalled(f"the middleware {self._name} called `next` a second time")
        self._called = True
        return await self._inner(given)

    def check(self) -> None:
        if not self._called:
            raise NextNotCalled(f"the middleware {self._name} returned without having called `next`")


def wrapped(
    middleware: Sequence[Middleware[Given, Result]], inner: Next[Given, Result]
) -> Next[Given, Result]:
    """The inner function with all middleware around it."""
    for one in reversed(middleware):
        inner = _around(one, inner)
    return inner


def _around(middleware: Middleware[Given, Result], inner: Next[Given, Result]) -> Next[Given, Result]:
    async def call(given: Given) -> Result:
        once = _Once(middleware, inner)
        result = await middleware(given, once)
        once.check()
        return result

    return call

"""Where jobs are inserted."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, Unpack

from taskbus.client import Queue
from taskbus.jobs.hooks import Hook, InsertMiddleware, wrapped
from taskbus.jobs.insertion import Insertion, InsertOptions, InsertResult, task_of
from taskbus.jobs.job import Job


def _now() -> datetime:
    return datetime.now(UTC)


class Taskbus:
    """Inserts jobs into a task queue::

        async with Taskbus.from_env() as bus:
            await bus.insert(SendInvoice(customer=7))

    ``middleware`` is around every insertion, ``hooks`` are called for each job of it. ``queue`` is the client
    for everything else; it is opened and closed with the bus.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        middleware: Sequence[InsertMiddleware] = (),
        hooks: Sequence[Hook] = (),
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.queue = queue
        self._middleware = tuple(middleware)
        self._hooks = tuple(hooks)
        self._now = now

    @classmethod
    def from_env(cls, *, middleware: Sequence[InsertMiddleware] = (), hooks: Sequence[Hook] = ()) -> Self:
        """With the server and the credentials of the environment, as :class:`taskbus.Queue` finds them."""
        return cls(Queue(), middleware=middleware, hooks=hooks)

    async def __aenter__(self) -> Self:
        await self.queue.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.queue.__aexit__(kind, error, trace)

    async def insert(self, job: Job, **options: Unpack[InsertOptions]) -> InsertResult:
        """Insert a job. With a ``task_id`` of yours, a repeat does no harm.

        Raises ValueError for options that are none, ApiError when the server refuses.
        """
        (result,) = await wrapped(self._middleware, self._insert)([Insertion.of(job, options)])
        return result

    async def _insert(self, insertions: Sequence[Insertion]) -> Sequence[InsertResult]:
        await self._begin(insertions)
        now = self._now()
        for one in insertions:
            await self.queue.create_task(one.task_id, task_of(one, now))
        return [InsertResult(one.task_id, created=True) for one in insertions]

    async def _begin(self, insertions: Sequence[Insertion]) -> None:
        for insertion in insertions:
            for hook in (*self._hooks, *insertion.job.hooks):
                await hook.insert_begin(insertion)

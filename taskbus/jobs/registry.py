"""Which types of jobs a worker knows, and what it does for each."""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from taskbus.jobs.hooks import WorkMiddleware
from taskbus.jobs.job import Job
from taskbus.jobs.run import Run
from taskbus.jobs.threads import in_thread

J = TypeVar("J", bound=Job)

Handler = Callable[[J, Run], Awaitable[Any]] | Callable[[J, Run], Any]
"""The work of a job. A plain function is called in a thread. What it returns is a JSON value to keep, or
None; an error is that of the attempt."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A type of job with its handler and what is around it."""

    job_type: type[Job]
    handler: Callable[..., Any]
    middleware: tuple[WorkMiddleware, ...]
    in_thread: bool

    async def work(self, job: Job, run: Run) -> Any:
        """Call the handler."""
        if self.in_thread:
            return await in_thread(f"run {run!r}", self.handler, job, run)
        return await self.handler(job, run)


class Registry:
    """Types of jobs by their kinds and aliases."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Registered] = {}

    def add(
        self, job_type: type[Job], handler: Callable[..., Any], middleware: Sequence[WorkMiddleware]
    ) -> None:
        """Raises ValueError when one of its kinds is taken, or when the job's options cannot work."""
        is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)
        registered = Registered(job_type, handler, tuple(middleware), in_thread=not is_async)
        for kind in (job_type.kind, *job_type.aliases):
            if kind in self._by_kind:
                raise ValueError(
                    f"{job_type.__name__}: there is a handler for jobs of the kind {kind!r} already"
                )
        for kind in (job_type.kind, *job_type.aliases):
            self._by_kind[kind] = registered

    def get(self, kind: str) -> Registered | None:
        return self._by_kind.get(kind)

    def __iter__(self) -> Iterator[Registered]:
        return iter(dict.fromkeys(self._by_kind.values()))

    def __len__(self) -> int:
        return len(self._by_kind)

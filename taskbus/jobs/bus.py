"""Where jobs are inserted, and what they keep and work off: values by key, and worksets."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from schemas.bulk import MAX_BULK, CreatedTask, TaskToCreate
from schemas.jobs import JobResponse
from schemas.triggers import Misfire, Overlap
from taskbus.client import Queue
from taskbus.jobs.hooks import Hook, InsertMiddleware, wrapped
from taskbus.jobs.insertion import Insertion, InsertOptions, InsertResult, task_of
from taskbus.jobs.job import Job
from taskbus.jobs.options import Duration
from taskbus.jobs.triggered import Args, by_clock, by_message
from taskbus.jobs.typed import SubmitOptions, definition_of, submission_of
from taskbus.kv import Kv, Values
from taskbus.trigger_files import DeclaredTrigger
from taskbus.triggers import Triggers
from taskbus.typed_jobs import Jobs
from taskbus.worksets import Workset

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from events.bindings import Binding

R = TypeVar("R")
JobType = TypeVar("JobType", bound=type[Job])


def _now() -> datetime:
    return datetime.now(UTC)


class Taskbus:
    """Inserts jobs into a task queue::

        async with Taskbus.from_env() as bus:
            await bus.insert(SendInvoice(customer=7))

    ``middleware`` is around every insertion, ``hooks`` are called for each job of it. ``queue`` is the client
    for everything else; it is opened and closed with the bus. Values and worksets are those of its server.
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
        self._kv: Kv | None = None
        self._triggers: list[DeclaredTrigger] = []

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
        if self._kv is not None:
            await self._kv.give_back()
        await self.queue.__aexit__(kind, error, trace)

    def kv(self, namespace: str) -> Values:
        """The values of a namespace, ``tenant:namespace``, and its locks. Raises ValueError out of form."""
        return self._beside().kv(namespace)

    def workset(self, namespace: str, name: str) -> Workset:
        """A set of members of a namespace, to be drained in batches::

            async for batch in bus.workset("acme:crawl", "urls").batches(limit=50, ack="each"):
                ...

        Raises ValueError for a namespace out of form.
        """
        return self._beside().workset(namespace, name)

    def _beside(self) -> Kv:
        if self._kv is None:
            self._kv = Kv.beside(self.queue)
        return self._kv

    @property
    def triggers(self) -> Triggers:
        """The client of triggers."""
        return Triggers.beside(self.queue)

    def periodic(
        self,
        *,
        cron: str | Sequence[str] | None = None,
        every: Duration | None = None,
        tz: str = "UTC",
        random_offset: Duration | None = None,
        immediate: bool = False,
        window: Mapping[str, Any] | None = None,
        misfire: Misfire = "one",
        overlap: Overlap = "allow",
        retries: int = 0,
        args: Args = MappingProxyType({}),
        name: str | None = None,
    ) -> Callable[[JobType], JobType]:
        """Let the clock insert jobs of the decorated type, by a trigger of the service::

            @bus.periodic(cron="0 3 * * *", tz="Europe/Berlin")
            class NightlyReport(Job): ...

        ``args`` are the job's arguments; in them ``${trigger.scheduledFor}``, ``${window.from}`` and the like
        stand for what the trigger knows. ``retries``: how often a range of ``window`` that failed is covered
        again. The trigger is called ``jobs/<kind>`` unless it gets a ``name``, ``<group>/<id>``. It exists
        once :meth:`apply_triggers` was called, as workers do when they begin. Raises ValueError.
        """

        def declare(job_type: JobType) -> JobType:
            declared = by_clock(
                job_type,
                cron=cron,
                every=every,
                tz=tz,
                random_offset=random_offset,
                immediate=immediate,
                window=window,
                misfire=misfire,
                overlap=overlap,
                retries=retries,
                args=args,
                name=name,
            )
            self._triggers.append(declared)
            return job_type

        return declare

    def on_event(
        self,
        *bindings: "Binding[Any]",
        limit: int | None = None,
        args: Args = MappingProxyType({}),
        name: str | None = None,
    ) -> Callable[[JobType], JobType]:
        """Let messages insert jobs of the decorated type, by a trigger of the service::

            @bus.on_event(TaskCompleted(task_queue_id="etl/load"), limit=100)
            class Report(Job): ...

        After ``limit`` firings it is over, exactly, however many processes there are. In ``args``
        ``${trigger.message.status.taskId}`` and the like stand for the message. Else as :meth:`periodic`.
        """

        def declare(job_type: JobType) -> JobType:
            self._triggers.append(by_message(job_type, bindings, limit=limit, args=args, name=name))
            return job_type

        return declare

    async def apply_triggers(self) -> None:
        """Create the triggers that were declared, or replace their definitions. Raises ApiError."""
        for one in self._triggers:
            await self.triggers.apply_trigger(one.group, one.trigger_id, one.definition)

    @property
    def jobs(self) -> Jobs:
        """The client of typed jobs: their types, how they stand, their cancellation."""
        return Jobs.beside(self.queue)

    async def register(self, *job_types: type[Job]) -> None:
        """Register types with the service, or new versions of them; what is registered already stays.

        Raises ApiError when the server refuses one.
        """
        for job_type in job_types:
            await self.jobs.register_type(job_type.kind, definition_of(job_type))

    async def submit(self, job: Job, **options: Unpack[SubmitOptions]) -> JobResponse:
        """Submit a job of a registered type. With a ``job_id`` of yours, a repeat does no harm.

        Its options are those of the registered type. Raises ValueError for options that are none, ApiError
        when the server refuses.
        """
        return await self.jobs.submit(submission_of(job, options))

    async def insert(self, job: Job, **options: Unpack[InsertOptions]) -> InsertResult:
        """Insert a job. With a ``task_id`` of yours, a repeat does no harm.

        Raises ValueError for options that are none, ApiError when the server refuses.
        """
        (result,) = await self.insert_many([Insertion.of(job, options)])
        return result

    async def insert_many(self, jobs: Sequence[Job | Insertion]) -> Sequence[InsertResult]:
        """Insert up to 1,000 jobs in one transaction: all, or none. What became of each, in their order.

        A job that needs options of its own is an :class:`Insertion`. Raises as :meth:`insert`.
        """
        return await wrapped(self._middleware, self._insert)(_insertions(jobs))

    @overload
    def insert_in(
        self, session: "AsyncSession", job: Job, **options: Unpack[InsertOptions]
    ) -> Awaitable[InsertResult]: ...
    @overload
    def insert_in(self, session: "Session", job: Job, **options: Unpack[InsertOptions]) -> InsertResult: ...
    def insert_in(
        self, session: "Session | AsyncSession", job: Job, **options: Unpack[InsertOptions]
    ) -> InsertResult | Awaitable[InsertResult]:
        """Insert a job in the transaction of your SQLAlchemy session: it exists exactly if that commits.

        The session is on the PostgreSQL database of the service; an asynchronous one is awaited. Needs the
        extra ``server``, and no open client. Raises as :meth:`insert`, with the session as it was before.
        """
        return self._in(session, [Insertion.of(job, options)], lambda results: results[0])

    @overload
    def insert_many_in(
        self, session: "AsyncSession", jobs: Sequence[Job | Insertion]
    ) -> Awaitable[Sequence[InsertResult]]: ...
    @overload
    def insert_many_in(
        self, session: "Session", jobs: Sequence[Job | Insertion]
    ) -> Sequence[InsertResult]: ...
    def insert_many_in(
        self, session: "Session | AsyncSession", jobs: Sequence[Job | Insertion]
    ) -> Sequence[InsertResult] | Awaitable[Sequence[InsertResult]]:
        """As :meth:`insert_in`, up to 1,000 jobs."""
        return self._in(session, _insertions(jobs), lambda results: results)

    def _in(
        self,
        session: "Session | AsyncSession",
        insertions: Sequence[Insertion],
        pick: Callable[[Sequence[InsertResult]], R],
    ) -> R | Awaitable[R]:
        from sqlalchemy.orm import Session

        from taskbus.jobs import transaction

        async def insert() -> R:
            async with transaction.savepoint(session) as connection:

                async def innermost(insertions: Sequence[Insertion]) -> Sequence[InsertResult]:
                    await self._begin(insertions)
                    return await transaction.insert(connection, insertions, self._now())

                return pick(await wrapped(self._middleware, innermost)(insertions))

        return transaction.at_once(insert()) if isinstance(session, Session) else insert()

    async def _insert(self, insertions: Sequence[Insertion]) -> Sequence[InsertResult]:
        await self._begin(insertions)
        now = self._now()
        tasks = [TaskToCreate(task_id=one.task_id, task=task_of(one, now)) for one in insertions]
        created = await self.queue.create_tasks(tasks)
        return [_result(one, made) for one, made in zip(insertions, created, strict=True)]

    async def _begin(self, insertions: Sequence[Insertion]) -> None:
        for insertion in insertions:
            for hook in (*self._hooks, *insertion.job.hooks):
                await hook.insert_begin(insertion)


def _insertions(jobs: Sequence[Job | Insertion]) -> list[Insertion]:
    if not 1 <= len(jobs) <= MAX_BULK:
        raise ValueError(f"jobs: expected 1 to {MAX_BULK} for one transaction, got {len(jobs)}")
    return [Insertion.of(job, {}) for job in jobs]


def _result(insertion: Insertion, made: CreatedTask) -> InsertResult:
    duplicate = bool(made.unique_skipped_as_duplicate)
    # A call that was repeated because its answer was lost finds the task that the first one has made.
    created = not duplicate and (made.created is not False or "task_id" not in insertion.options)
    return InsertResult(made.task_id, created, duplicate)

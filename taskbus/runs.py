"""One claimed run on its way: the handler works, the claim is renewed, the outcome is reported.

Rules: ``queue-behaviour.md`` 6.4 and 7.3. What is said about a run is signed with the newest credentials of
its claim. Whoever loses a claim reports nothing: the run belongs to somebody else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from schemas import tracing
from schemas.queue import TaskClaimResponse, TaskReclaimResponse
from schemas.task import JsonObject, TaskDefinition, TaskStatus
from taskbus.clock import Clock, within
from taskbus.credentials import Credentials
from taskbus.errors import ApiError, Conflict, TaskbusError, TaskException, TaskFailed
from taskbus.outcomes import WORKER_SHUTDOWN, Completed, Exceptional, Failed, Outcome, Snoozed, label
from taskbus.transport import backoff

logger = logging.getLogger(__name__)

FIRST_DELAY: Final = 1.0
"""Seconds before a report or a reclaim is tried again; the client has retried already."""


class RunCalls(Protocol):
    """The calls about a run, signed with the credentials of its claim."""

    async def reclaim_task(self, task_id: str, run_id: int) -> TaskReclaimResponse: ...
    async def report(self, task_id: str, run_id: int, outcome: Outcome) -> object: ...


class QueueCalls(Protocol):
    """What of the client a claimed run needs."""

    def using(self, credentials: Credentials) -> RunCalls: ...


class ClaimedRun:
    """A run that this worker holds; what a handler is given.

    ``status`` is that at the claim, ``taken_until`` (the server's time) and ``credentials`` are those of the
    latest renewal. The credentials allow to renew and report the run, to make its artifacts, and
    what the task's scopes allow.
    """

    def __init__(
        self, claim: TaskClaimResponse, clock: Clock, freed: Callable[[], None] = lambda: None
    ) -> None:
        self._freed = freed
        self.task_id: str = claim.status.task_id
        self.run_id: int = claim.run_id
        self.task: TaskDefinition = claim.task
        self.status: TaskStatus = claim.status
        self.worker_group: str = claim.worker_group
        self.worker_id: str = claim.worker_id
        self.traceparent: str | None = claim.traceparent
        """The trace in which the task was created, if it is traced."""
        self.taken_until: datetime = claim.taken_until
        self.job: JsonObject | None = claim.job
        """What is known of a typed job beside its task: type, completed steps, cursor."""
        self.cancel_requested = False
        """Whether somebody wants the job cancelled, as far as the server has told."""
        self.credentials = Credentials.of_claim(claim.credentials)
        run = claim.status.runs[claim.run_id]
        # Server's time and ours at one moment: the two clocks need not agree, only run at one speed.
        self._server_origin = run.started or run.scheduled
        self._clock = clock
        self._origin = clock.time()
        self.renewed = True
        """Whether the claim is renewed; set it to False to let the queue take the run back when it ends."""

        self.takes_place = True
        """Whether it counts among the runs that its worker may have at once."""

    def give_up_place(self) -> None:
        """Let the worker take another run beside this one."""
        self.takes_place = False
        self._freed()

    @property
    def payload(self) -> JsonObject:
        """What the task asks the worker to do."""
        return self.task.payload

    @property
    def server_time(self) -> datetime:
        """The time at the server, as well as this worker can tell."""
        return self._server_origin + timedelta(seconds=self._clock.time() - self._origin)

    @property
    def expires(self) -> float:
        """When the claim ends, on the clock of this worker."""
        return self._origin + (self.taken_until - self._server_origin).total_seconds()

    def renew(self, answer: TaskReclaimResponse) -> None:
        """Take over what a reclaim brought."""
        self.taken_until = answer.taken_until
        self.cancel_requested = bool(answer.cancel_requested)
        self.credentials = Credentials.of_claim(answer.credentials)

    def __repr__(self) -> str:
        return f"{self.task_id}/{self.run_id}"


Handler = Callable[[ClaimedRun], Awaitable[Outcome | None]]
"""The work. To return means completed, or whatever outcome is returned; :class:`TaskFailed` means failed, and
:class:`TaskException` an exception with its reason. Any other exception is logged with its traceback and
means failed: the task's own code is wrong, and running it elsewhere would not help. A handler is cancelled
when the claim is lost or when the worker stops; it should clean up and let the cancellation pass."""


class Attempt:
    """The life of one claimed run in this worker."""

    def __init__(
        self,
        run: ClaimedRun,
        queue: QueueCalls,
        handler: Handler,
        *,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self.run = run
        self._queue = queue
        self._handler = handler
        self._clock = clock
        self._jitter = jitter
        self._handling: asyncio.Task[Outcome | None] | None = None
        self._shutting_down = False
        self._reporting = False
        self._surrendered = False

    async def execute(self) -> None:
        """Run the handler and report what came of it, unless the claim is lost before.

        All of that is one span in the trace of the task.
        """
        run = self.run
        attributes = {"taskId": run.task_id, "runId": run.run_id, "taskQueueId": run.task.task_queue_id}
        name = f"run {run.task.metadata.name}"
        with tracing.span(name, "consumer", parent=run.traceparent, attributes=attributes) as span:
            await self._while_held(self._handle_and_report(span))

    async def give_back(self) -> None:
        """Report worker-shutdown without having started, so that another worker gets the task at once."""
        await self._while_held(self._report(WORKER_SHUTDOWN))

    async def surrender(self) -> None:
        """Report worker-shutdown though the handler has not ended; what it still does counts no more."""
        if not self._reporting:
            self._surrendered = True
            await self._report(WORKER_SHUTDOWN)

    def shut_down(self) -> None:
        """Cancel the handler and report worker-shutdown. Leaves a report that is under way alone."""
        self._shutting_down = True
        if self._handling is not None:
            self._handling.cancel()

    async def _while_held(self, work: Coroutine[Any, Any, None]) -> None:
        working = asyncio.create_task(work)
        holding = asyncio.create_task(self._hold())
        try:
            await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            holding.cancel()
            working.cancel()
            await asyncio.wait({working, holding})
        for part in (working, holding):
            if not part.cancelled():
                part.result()

    async def _handle_and_report(self, span: tracing.Span) -> None:
        if self._shutting_down:
            await self._report(WORKER_SHUTDOWN)
            return
        self._handling = asyncio.create_task(self._handle())
        try:
            await asyncio.wait({self._handling})
        finally:
            handling, self._handling = self._handling, None
            if not handling.done():
                handling.cancel()
                await asyncio.wait({handling})
        outcome = self._outcome(handling)
        if not isinstance(outcome, Completed | Snoozed):
            span.fail(label(outcome))
        if not self._surrendered:
            self._reporting = True
            await self._report(outcome)

    async def _handle(self) -> Outcome | None:
        return await self._handler(self.run)

    def _outcome(self, handling: asyncio.Task[Outcome | None]) -> Outcome:
        if handling.cancelled():
            if self._shutting_down:
                return WORKER_SHUTDOWN
            logger.error("the handler of %r cancelled itself", self.run)
            return Failed()
        match handling.exception():
            case None:
                return handling.result() or Completed()
            case TaskFailed() as failure:
                logger.info("%r failed: %s", self.run, failure)
                return Failed()
            case TaskException() as problem:
                logger.warning("%r could not be worked on: %s", self.run, problem)
                return Exceptional(problem.reason)
            case error:
                logger.error("the handler of %r raised", self.run, exc_info=error)
                return Failed()

    async def _report(self, outcome: Outcome) -> None:
        """Report until the server has an opinion about it; the end of the claim cancels this."""
        failures = 0
        while True:
            try:
                queue = self._queue.using(self.run.credentials)
                await queue.report(self.run.task_id, self.run.run_id, outcome)
            except TaskbusError as error:
                if isinstance(error, ApiError) and error.status < 500:
                    logger.warning("%r is not ours to report as %s: %s", self.run, label(outcome), error)
                    return
                delay = backoff(failures, self._jitter, first=FIRST_DELAY)
                logger.warning("reporting %r failed, again in %.1f s: %s", self.run, delay, error)
            else:
                logger.info("%r: %s", self.run, label(outcome))
                return
            failures += 1
            await self._clock.sleep(delay)

    async def _hold(self) -> None:
        """Renew the claim at half of its life, again and again. Returns when it is lost."""
        while True:
            await self._clock.sleep(max(0.0, self._left() / 2))
            if not self.run.renewed:
                await self._clock.sleep(max(0.0, self._left()))
                return
            try:
                renewed = await within(self._clock, max(0.0, self._left()), self._reclaim())
            except Conflict as refusal:
                logger.warning("the claim of %r is lost, its handler is cancelled: %s", self.run, refusal)
                return
            except TimeoutError:
                logger.error("the claim of %r ran out, its handler is cancelled", self.run)
                return
            self.run.renew(renewed)

    async def _reclaim(self) -> TaskReclaimResponse:
        failures = 0
        while True:
            try:
                queue = self._queue.using(self.run.credentials)
                return await queue.reclaim_task(self.run.task_id, self.run.run_id)
            except Conflict:
                raise
            except TaskbusError as error:
                delay = backoff(failures, self._jitter, first=FIRST_DELAY)
                logger.warning("renewing the claim of %r failed, again in %.1f s: %s", self.run, delay, error)
            failures += 1
            await self._clock.sleep(delay)

    def _left(self) -> float:
        return self.run.expires - self._clock.time()

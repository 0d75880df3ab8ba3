"""One attempt at a job, from the claim to its outcome: middleware, hooks, arguments, time limit, handler.

Rules: ``seed-systems.md`` M-4 (the order), C-6 (what an end means), H-1 and H-2 (time limits).
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import from_json, to_json

from schemas.attempts import MAX_OUTPUT
from schemas.durations import parse_duration
from schemas.times import parse_time
from taskbus.clock import Clock
from taskbus.endings import EndedByHandler
from taskbus.jobs.decisions import Advice, End, decide
from taskbus.jobs.hooks import Hook, Metric, WorkMiddleware, wrapped
from taskbus.jobs.locks import held
from taskbus.jobs.options import UNLIMITED, Duration
from taskbus.jobs.registry import Registered, Registry
from taskbus.jobs.reporter import Reporter
from taskbus.jobs.run import Run
from taskbus.outcomes import Outcome, label
from taskbus.runs import ClaimedRun
from taskbus.service import ServiceClient

logger = logging.getLogger(__name__)

ErrorHandler = Callable[[Run, BaseException], Awaitable[Advice | None] | Advice | None]
"""Is told of the error of an attempt; may answer ``"cancel"`` to cancel the job (C-6.4)."""


class UnhandledKind(Exception):
    """No handler is registered for jobs of this kind (M-5)."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"unhandled job kind {kind!r}")


class Executor:
    """Works on claimed runs that are jobs: a handler for ``taskbus.worker.Worker``.

    ``client``: by its connections handlers tell of typed jobs; without it they tell nobody. ``timeout``
    (seconds, None for no limit) is that of types which have none of their own; a handler that has not ended
    ``stuck_after`` seconds after it is stuck, and with ``replace_stuck`` gives up its place.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        clock: Clock,
        client: ServiceClient | None = None,
        timeout: float | None,
        stuck_after: float,
        replace_stuck: bool = False,
        middleware: Sequence[WorkMiddleware] = (),
        hooks: Sequence[Hook] = (),
        on_error: ErrorHandler | None = None,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._client = client
        self._timeout = timeout
        self._stuck_after = stuck_after
        self._replace_stuck = replace_stuck
        self._middleware = middleware
        self._hooks = hooks
        self._on_error = on_error

    async def __call__(self, claimed: ClaimedRun) -> Outcome:
        """The outcome of one attempt; never raises but when it is cancelled twice."""
        reporter = Reporter(claimed, self._client, self._clock)
        run = Run(claimed, reporter)
        began = self._clock.time()
        registered = self._registry.get(run.kind)
        hooks = (*self._hooks, *(registered.job_type.hooks if registered else ()))
        error = await self._attempt(run, registered, hooks, reporter)
        await reporter.finish()
        outcome = decide(await self._end(run, registered, error))
        if error is not None and not isinstance(error, EndedByHandler | asyncio.CancelledError):
            logger.warning("%r: attempt %d of %d", run, run.attempt, run.max_attempts, exc_info=error)
        seconds = self._clock.time() - began
        _emit(hooks, Metric("job.worked", seconds, {"kind": run.kind, "outcome": label(outcome)}))
        return outcome

    async def _attempt(
        self, run: Run, registered: Registered | None, hooks: Sequence[Hook], reporter: Reporter
    ) -> BaseException | None:
        async def innermost(run: Run) -> None:
            if registered is None:
                raise UnhandledKind(run.kind)
            for hook in hooks:
                await hook.work_begin(run)
            job = registered.job_type.of_args(await reporter.params(run.args))
            error: BaseException | None = None
            try:
                async with held(registered.job_type.options.lock, run.args, repr(run), self._client) as token:
                    run.lock_token = token
                    result = await self._limited(registered.work(job, run), run, registered, hooks)
                run.output = _kept(result)
            except (Exception, asyncio.CancelledError) as raised:
                error = raised
            for hook in hooks:
                error = await hook.work_end(run, error)
            if error is not None:
                raise error

        own = registered.middleware if registered else ()
        try:
            await wrapped((*self._middleware, *own), innermost)(run)
        except (Exception, asyncio.CancelledError) as error:
            return error
        return None

    async def _limited(
        self,
        work: Awaitable[Any],
        run: Run,
        registered: Registered,
        hooks: Sequence[Hook],
    ) -> Any:
        """The result of the handler. Raises TimeoutError at its time limit."""
        seconds = self._limit_of(registered.job_type.options.timeout, run.timeout)
        handling = asyncio.ensure_future(work)
        timed_out = False
        try:
            if not await self._ends_within(seconds, handling):
                timed_out = True
                run.set_cancelled()
                handling.cancel()
                if not await self._ends_within(self._stuck_after, handling):
                    self._tell_stuck(run, hooks)
                    await asyncio.wait({handling})
        except asyncio.CancelledError:
            run.set_cancelled()
            handling.cancel()
            await asyncio.wait({handling})
        if handling.cancelled() and timed_out:
            raise TimeoutError(f"not done within {seconds:g} s")
        return handling.result()

    def _limit_of(self, timeout: Duration | None, of_job: float | None) -> float | None:
        wanted = of_job if timeout is None else timeout
        if wanted is None:
            return self._timeout
        return None if wanted == UNLIMITED else parse_duration(wanted).total_seconds()

    async def _ends_within(self, seconds: float | None, handling: asyncio.Future[Any]) -> bool:
        if seconds is None:
            await asyncio.wait({handling})
            return True
        limit = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({handling, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            limit.cancel()
        return handling.done()

    def _tell_stuck(self, run: Run, hooks: Sequence[Hook]) -> None:
        """The claim is left to end, so that the queue gives the job to somebody else (H-2)."""
        logger.error(
            "%r is stuck: %g s after its time limit its handler has not ended", run, self._stuck_after
        )
        run.claimed.renewed = False
        if self._replace_stuck:
            run.claimed.give_up_place()
        _emit(hooks, Metric("job.stuck", 1, {"kind": run.kind}))

    async def _end(self, run: Run, registered: Registered | None, error: BaseException | None) -> End:
        task = asyncio.current_task()
        interrupted = task is not None and task.cancelling() > 0
        if error is None or interrupted or isinstance(error, EndedByHandler):
            return End(error, run.output, interrupted)
        advice = await self._advice(run, error)
        now = run.claimed.server_time
        attempts_left = run.attempt < run.max_attempts
        next_retry = _next_retry(run, registered, error, now) if attempts_left and advice is None else None
        return End(error, None, interrupted, advice, attempts_left, next_retry)

    async def _advice(self, run: Run, error: BaseException) -> Advice | None:
        if self._on_error is None:
            return None
        try:
            answer = self._on_error(run, error)
            return await answer if inspect.isawaitable(answer) else answer
        except Exception:
            logger.exception("the error handler itself failed for %r", run)
            return None


def _kept(output: Any) -> Any:
    """What a handler returned as JSON values. Raises ValueError when it can be none, or is too large."""
    if output is None:
        return None
    content = to_json(output, inf_nan_mode="null")
    if len(content) > MAX_OUTPUT:
        raise ValueError(
            f"the handler returned {len(content)} bytes of JSON, and at most {MAX_OUTPUT} are kept"
        )
    return from_json(content)


def _next_retry(
    run: Run, registered: Registered | None, error: BaseException, now: datetime
) -> datetime | None:
    """When the type itself wants to be tried again (C-6.6)."""
    choose = registered.job_type.options.retry if registered else None
    if not callable(choose):
        return None
    try:
        chosen = choose(run.errors + 1, error)
        moment = None if chosen is None else _moment(chosen, now)
    except Exception:
        logger.exception("the next retry of %r could not be told by its type: the policy decides", run)
        return None
    if moment is not None and moment < now:
        logger.warning("%r: its type wants the next retry in the past: the default policy decides", run)
    return moment


def _moment(chosen: Duration | datetime, now: datetime) -> datetime:
    match chosen:
        case datetime():
            return parse_time(chosen)
        case timedelta():
            return now + chosen
        case str():
            return now + parse_duration(chosen)
        case _:
            return now + timedelta(seconds=chosen)


def _emit(hooks: Sequence[Hook], metric: Metric) -> None:
    for hook in hooks:
        try:
            hook.metric_emit(metric)
        except Exception:
            logger.exception("a hook failed to take a figure")

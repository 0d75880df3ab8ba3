"""One attempt at a job: the order of what happens, time limits, threads, and what it comes to."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from taskbus.jobs import Hook, Job, JobOptions, Metric, Run
from taskbus.jobs.execution import Executor
from taskbus.jobs.registry import Registry
from taskbus.outcomes import Cancelled, Completed, Failed, Outcome, Snoozed
from tests.taskbus.jobs.samples import SendInvoice, claimed_run
from tests.taskbus.manual_clock import ManualClock

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


class Attempt:
    """An executor with one handler; ``await attempt(…)`` is the outcome for an invoice."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.registry = Registry()
        self.options: dict[str, Any] = {"timeout": 60.0, "stuck_after": 10.0}

    def of(self, handler: Callable[..., Any], job_type: type[Job] = SendInvoice, **options: Any) -> "Attempt":
        self.registry.add(job_type, handler, options.pop("type_middleware", ()))
        self.options.update(options)
        return self

    async def __call__(self, job: Any = None, **claim: Any) -> Outcome:
        run = claimed_run(job if job is not None else SendInvoice(customer=7), self.clock, **claim)
        self.claimed = run
        return await Executor(self.registry, clock=self.clock, **self.options)(run)


@pytest.fixture
def attempt(clock: ManualClock) -> Attempt:
    return Attempt(clock)


class Noting(Hook):
    """Writes down when it is called; ``error`` is what work_end makes of the handler's end."""

    def __init__(self, name: str, log: list[str], **error: BaseException | None) -> None:
        self.name = name
        self.log = log
        self.replace = error
        self.metrics: list[Metric] = []

    async def work_begin(self, run: Run) -> None:
        self.log.append(f"{self.name} work_begin")
        if (error := self.replace.get("begin")) is not None:
            raise error

    async def work_end(self, run: Run, error: BaseException | None) -> BaseException | None:
        self.log.append(f"{self.name} work_end {error!r}")
        return self.replace.get("end", error)

    def metric_emit(self, metric: Metric) -> None:
        self.metrics.append(metric)


def middleware(name: str, log: list[str]) -> Any:
    async def around(run: Run, next: Any) -> None:
        log.append(f"{name} begins")
        try:
            await next(run)
        finally:
            log.append(f"{name} ends")

    return around


async def nothing(job: SendInvoice, run: Run) -> None:
    pass


class TestHandlers:
    async def test_a_handler_gets_the_job_and_its_run(self, attempt: Attempt) -> None:
        seen: list[Any] = []

        async def handle(job: SendInvoice, run: Run) -> dict[str, int]:
            seen.extend([job, run.kind, run.args, run.queue, run.max_attempts])
            return {"sent": job.copies}

        assert await attempt.of(handle)(SendInvoice(customer=7, copies=2)) == Completed({"sent": 2})
        job = SendInvoice(customer=7, copies=2)
        assert seen == [job, "SendInvoice", {"customer": 7, "copies": 2}, "prov/type", 8]

    @pytest.mark.parametrize(
        ("end", "outcome"),
        [
            (lambda run: run.snooze("10m"), Snoozed(600)),
            (lambda run: run.snooze(0), Snoozed(0)),
            (lambda run: run.cancel("unknown customer"), Cancelled("unknown customer")),
        ],
    )
    async def test_a_run_has_other_ends_than_errors(
        self, attempt: Attempt, end: Callable[[Run], None], outcome: Outcome
    ) -> None:
        async def handle(job: SendInvoice, run: Run) -> None:
            end(run)

        assert await attempt.of(handle)() == outcome

    @pytest.mark.parametrize(
        ("output", "kept"),
        [
            (timedelta(seconds=1), "PT1S"),
            ((1, 2.5, float("nan")), [1, 2.5, None]),
            (SendInvoice(customer=7), {"customer": 7, "copies": 1}),
            (0, 0),
        ],
    )
    async def test_what_a_handler_returns_is_kept_as_json(
        self, attempt: Attempt, output: Any, kept: Any
    ) -> None:
        async def handle(job: SendInvoice, run: Run) -> Any:
            return output

        assert await attempt.of(handle)() == Completed(kept)

    @pytest.mark.parametrize(
        ("output", "problem"), [(object(), "Unable to serialize"), ("x" * 300_000, "300002 bytes of JSON")]
    )
    async def test_what_cannot_be_kept_is_an_error(self, attempt: Attempt, output: Any, problem: str) -> None:
        async def handle(job: SendInvoice, run: Run) -> Any:
            return output

        outcome = await attempt.of(handle)()
        assert isinstance(outcome, Failed)
        assert problem in outcome.error

    async def test_a_negative_snooze_is_an_error(self, attempt: Attempt) -> None:
        async def handle(job: SendInvoice, run: Run) -> None:
            run.snooze(-1)

        outcome = await attempt.of(handle)()
        assert isinstance(outcome, Failed)
        assert outcome.error.startswith("ValueError: must be between 0")

    async def test_an_alias_is_the_same_type(self, attempt: Attempt) -> None:
        class Renamed(Job, aliases=("OldName",)):
            pass

        assert await attempt.of(nothing, Renamed)({"kind": "OldName", "args": {}}) == Completed()

    @pytest.mark.parametrize("payload", [{"kind": "Unknown"}, {}, {"kind": 7}, {"command": ["make"]}])
    async def test_an_unknown_kind_is_an_ordinary_error(
        self, attempt: Attempt, payload: dict[str, Any]
    ) -> None:
        outcome = await attempt.of(nothing)(payload)
        assert isinstance(outcome, Failed)
        assert outcome.error.startswith("UnhandledKind: unhandled job kind")
        assert outcome.retry

    @pytest.mark.parametrize("args", [{}, {"customer": "seven"}, {"customer": 1, "x": 1}, None, [1]])
    async def test_arguments_that_do_not_fit_are_an_ordinary_error(self, attempt: Attempt, args: Any) -> None:
        outcome = await attempt.of(nothing)({"kind": "SendInvoice", "args": args})
        assert isinstance(outcome, Failed)
        assert outcome.error.startswith("ValidationError: ")
        assert outcome.retry

    def test_a_kind_has_one_handler(self, attempt: Attempt) -> None:
        class Clash(Job, kind="Other", aliases=("SendInvoice",)):
            pass

        attempt.of(nothing)
        with pytest.raises(ValueError, match="Clash: there is a handler for jobs of the kind 'SendInvoice'"):
            attempt.of(nothing, Clash)
        assert len(attempt.registry) == 1


class TestOrder:
    async def test_global_comes_before_the_types_own_and_hooks_are_inside_middleware(
        self, attempt: Attempt
    ) -> None:
        log: list[str] = []

        class Hooked(Job):
            hooks = (Noting("type", log),)

        async def handle(job: Hooked, run: Run) -> None:
            log.append("handler")

        attempt.of(
            handle,
            Hooked,
            middleware=[middleware("global 1", log), middleware("global 2", log)],
            type_middleware=[middleware("own", log)],
            hooks=[Noting("global", log)],
        )
        assert await attempt(Hooked()) == Completed()
        assert log == [
            "global 1 begins", "global 2 begins", "own begins",
            "global work_begin", "type work_begin",
            "handler",
            "global work_end None", "type work_end None",
            "own ends", "global 2 ends", "global 1 ends",
        ]  # fmt: skip

    async def test_work_begin_comes_before_the_arguments_are_read(self, attempt: Attempt) -> None:
        log: list[str] = []
        outcome = await attempt.of(nothing, hooks=[Noting("hook", log)])({"kind": "SendInvoice", "args": {}})
        assert isinstance(outcome, Failed)
        assert log == ["hook work_begin"]

    async def test_an_error_of_work_begin_fails_the_attempt_without_the_handler(
        self, attempt: Attempt
    ) -> None:
        log: list[str] = []

        async def handle(job: SendInvoice, run: Run) -> None:
            log.append("handler")

        outcome = await attempt.of(handle, hooks=[Noting("hook", log, begin=ValueError("not now"))])()
        assert isinstance(outcome, Failed)
        assert outcome.error == "ValueError: not now"
        assert log == ["hook work_begin"]

    async def test_work_end_may_replace_or_clear_an_error_one_after_the_other(self, attempt: Attempt) -> None:
        log: list[str] = []

        async def handle(job: SendInvoice, run: Run) -> None:
            raise ValueError("first")

        hooks = [Noting("a", log, end=KeyError("second")), Noting("b", log, end=None)]
        assert await attempt.of(handle, hooks=hooks)() == Completed()
        assert log[2:] == ["a work_end ValueError('first')", "b work_end KeyError('second')"]

    async def test_a_context_variable_of_middleware_reaches_the_handler(self, attempt: Attempt) -> None:
        async def traced(run: Run, next: Any) -> None:
            REQUEST.set("of middleware")
            await next(run)

        async def handle(job: SendInvoice, run: Run) -> str:
            return REQUEST.get()

        def handle_in_thread(job: SendInvoice, run: Run) -> str:
            return REQUEST.get()

        class Threaded(SendInvoice):
            pass

        attempt.of(handle_in_thread, Threaded)
        attempt.of(handle, middleware=[traced])
        assert await attempt() == Completed("of middleware")
        assert await attempt(Threaded(customer=1)) == Completed("of middleware")

    async def test_an_error_of_middleware_after_the_handler_fails_the_attempt(self, attempt: Attempt) -> None:
        async def fails(run: Run, next: Any) -> None:
            await next(run)
            raise ValueError("after")

        outcome = await attempt.of(nothing, middleware=[fails])()
        assert isinstance(outcome, Failed)
        assert outcome.error == "ValueError: after"

    async def test_every_attempt_is_a_figure_for_every_hook(self, attempt: Attempt) -> None:
        hook = Noting("hook", [])

        class Broken(Hook):
            def metric_emit(self, metric: Metric) -> None:
                raise ValueError("the statsd is away")

        async def handle(job: SendInvoice, run: Run) -> None:
            attempt.clock.advance(2.5)

        assert await attempt.of(handle, hooks=[Broken(), hook])() == Completed()
        assert hook.metrics == [Metric("job.worked", 2.5, {"kind": "SendInvoice", "outcome": "completed"})]


class TestTimeLimits:
    async def test_a_handler_is_cancelled_at_its_time_limit(self, attempt: Attempt) -> None:
        async def handle(job: SendInvoice, run: Run) -> None:
            await asyncio.Event().wait()

        working = asyncio.create_task(attempt.of(handle)())
        await attempt.clock.pass_by(60)
        outcome = await working
        assert isinstance(outcome, Failed)
        assert outcome.error == "TimeoutError: not done within 60 s"

    @pytest.mark.parametrize(("timeout", "seconds"), [("5m", 300), (1.5, 1.5)])
    async def test_a_type_has_a_limit_of_its_own(
        self, attempt: Attempt, timeout: Any, seconds: float
    ) -> None:
        class Slow(Job):
            options = JobOptions(timeout=timeout)

        async def handle(job: Slow, run: Run) -> None:
            await asyncio.Event().wait()

        working = asyncio.create_task(attempt.of(handle, Slow)(Slow()))
        await attempt.clock.pass_by(seconds)
        assert isinstance(await working, Failed)

    @pytest.mark.parametrize(("own", "of_worker"), [(-1, 60.0), (None, None)])
    async def test_a_handler_may_have_no_limit(
        self, attempt: Attempt, own: Any, of_worker: float | None
    ) -> None:
        begun, end = asyncio.Event(), asyncio.Event()

        class Endless(Job):
            options = JobOptions(timeout=own)

        async def handle(job: Endless, run: Run) -> None:
            begun.set()
            await end.wait()

        working = asyncio.create_task(attempt.of(handle, Endless, timeout=of_worker)(Endless()))
        await begun.wait()
        attempt.clock.advance(1e6)
        end.set()
        assert await working == Completed()

    async def test_what_a_handler_does_despite_its_cancellation_counts(self, attempt: Attempt) -> None:
        async def handle(job: SendInvoice, run: Run) -> str:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                assert run.cancelled
            return "saved"

        working = asyncio.create_task(attempt.of(handle)())
        await attempt.clock.pass_by(60)
        assert await working == Completed("saved")

    async def test_a_stuck_handler_is_told_and_its_claim_is_left_to_end(
        self, attempt: Attempt, caplog: pytest.LogCaptureFixture
    ) -> None:
        release, told = asyncio.Event(), asyncio.Event()

        class Telling(Noting):
            def metric_emit(self, metric: Metric) -> None:
                super().metric_emit(metric)
                told.set()

        hook = Telling("hook", [])

        async def handle(job: SendInvoice, run: Run) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        working = asyncio.create_task(attempt.of(handle, hooks=[hook])())
        await attempt.clock.pass_by(60)
        await attempt.clock.asleep(10)
        assert attempt.claimed.renewed
        attempt.clock.advance(10)
        await told.wait()
        assert not attempt.claimed.renewed
        assert "is stuck: 10 s after its time limit" in caplog.text
        assert hook.metrics == [Metric("job.stuck", 1, {"kind": "SendInvoice"})]
        release.set()
        await working


class TestThreads:
    async def test_a_plain_function_runs_in_a_thread_of_its_own(self, attempt: Attempt) -> None:
        def handle(job: SendInvoice, run: Run) -> int:
            assert threading.current_thread() is not threading.main_thread()
            return job.customer

        assert await attempt.of(handle)() == Completed(7)

    async def test_a_callable_object_is_called_as_its_method_is_written(self, attempt: Attempt) -> None:
        class Handler:
            async def __call__(self, job: SendInvoice, run: Run) -> str:
                return threading.current_thread().name

        assert await attempt.of(Handler())() == Completed(threading.main_thread().name)

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (ValueError("no"), "ValueError: no"),
            (StopIteration("no"), "ThreadEnded: StopIteration('no')"),
            (SystemExit(1), "raised SystemExit(1)"),
        ],
    )
    async def test_what_it_raises_is_the_error(
        self, attempt: Attempt, error: BaseException, text: str
    ) -> None:
        def handle(job: SendInvoice, run: Run) -> None:
            raise error

        outcome = await attempt.of(handle)()
        assert isinstance(outcome, Failed)
        assert text in outcome.error

    async def test_it_may_snooze(self, attempt: Attempt) -> None:
        def handle(job: SendInvoice, run: Run) -> None:
            run.snooze(timedelta(minutes=1))

        assert await attempt.of(handle)() == Snoozed(60)

    async def test_at_its_time_limit_it_is_told_and_waited_for(self, attempt: Attempt) -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def handle(job: SendInvoice, run: Run) -> None:
            loop.call_soon_threadsafe(begun.set)
            while True:
                run.raise_if_cancelled()

        working = asyncio.create_task(attempt.of(handle)())
        await begun.wait()
        await attempt.clock.pass_by(60)
        outcome = await working
        assert isinstance(outcome, Failed)
        assert outcome.error == "TimeoutError: not done within 60 s"

    async def test_a_thread_that_does_not_end_is_left_behind_at_the_second_cancellation(
        self, attempt: Attempt
    ) -> None:
        begun, release = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def handle(job: SendInvoice, run: Run) -> None:
            loop.call_soon_threadsafe(begun.set)
            release.wait()

        working = asyncio.create_task(attempt.of(handle)())
        await begun.wait()
        for _ in range(3):
            working.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.wait({working})
        release.set()


class TestErrors:
    @staticmethod
    async def fail(job: Any, run: Run) -> None:
        raise ZeroDivisionError("division by zero")

    async def test_an_error_is_logged_with_its_traceback(
        self, attempt: Attempt, caplog: pytest.LogCaptureFixture
    ) -> None:
        await attempt.of(self.fail)()
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert "attempt 1 of 8" in record.message
        assert record.exc_info is not None

    @pytest.mark.parametrize("is_async", [True, False])
    async def test_the_error_handler_may_cancel_the_job(self, attempt: Attempt, is_async: bool) -> None:
        seen: list[Any] = []

        def advise(run: Run, error: BaseException) -> Any:
            seen.append((run.kind, type(error)))
            return "cancel"

        async def advise_later(run: Run, error: BaseException) -> Any:
            return advise(run, error)

        outcome = await attempt.of(self.fail, on_error=advise_later if is_async else advise)()
        assert isinstance(outcome, Cancelled)
        assert outcome.error == "ZeroDivisionError: division by zero"
        assert seen == [("SendInvoice", ZeroDivisionError)]

    async def test_an_error_handler_that_says_nothing_or_fails_changes_nothing(
        self, attempt: Attempt, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(run: Run, error: BaseException) -> None:
            raise RuntimeError("the error tracker is away")

        outcome = await attempt.of(self.fail, on_error=broken)()
        assert isinstance(outcome, Failed)
        assert "the error handler itself failed" in caplog.text

    async def test_the_error_handler_is_not_asked_about_snoozes(self, attempt: Attempt) -> None:
        def advise(run: Run, error: BaseException) -> Any:
            raise AssertionError("must not be called")

        async def handle(job: SendInvoice, run: Run) -> None:
            run.snooze(5)

        assert await attempt.of(handle, on_error=advise)() == Snoozed(5)

    @pytest.mark.parametrize(
        ("chosen", "delay"),
        [("10m", 600), (5, 5), (timedelta(hours=1), 3600), (None, None), (timedelta(-1), -86400), (-1, -1)],
    )
    async def test_a_type_may_tell_its_next_retry(
        self, attempt: Attempt, chosen: Any, delay: float | None
    ) -> None:
        asked: list[Any] = []

        def choose(errors: int, error: BaseException) -> Any:
            asked.append((errors, type(error)))
            return chosen

        class Careful(Job):
            options = JobOptions(retry=choose)

        outcome = await attempt.of(self.fail, Careful)(Careful())
        assert isinstance(outcome, Failed)
        now = attempt.claimed.server_time
        assert outcome.retry_at == (None if delay is None else now + timedelta(seconds=delay))
        assert asked == [(1, ZeroDivisionError)]

    async def test_a_time_of_the_servers_clock_is_as_good_as_a_delay(self, attempt: Attempt) -> None:
        class Careful(Job):
            options = JobOptions(
                retry=lambda errors, error: attempt.claimed.server_time + timedelta(seconds=30)
            )

        outcome = await attempt.of(self.fail, Careful)(Careful())
        assert isinstance(outcome, Failed)
        assert outcome.retry_at == attempt.claimed.server_time + timedelta(seconds=30)

    async def test_a_retry_in_the_past_is_logged_and_left_to_the_default_policy(
        self, attempt: Attempt, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Careless(Job):
            options = JobOptions(retry=lambda errors, error: -5)

        await attempt.of(self.fail, Careless)(Careless())
        assert "wants the next retry in the past: the default policy decides" in caplog.text

    async def test_the_last_attempt_asks_for_no_retry(self, attempt: Attempt) -> None:
        def choose(errors: int, error: BaseException) -> Any:
            raise AssertionError("must not be called")

        class Careful(Job):
            options = JobOptions(retry=choose)

        outcome = await attempt.of(self.fail, Careful)(Careful(), max_attempts=1)
        assert isinstance(outcome, Failed)
        assert outcome.retry_at is None

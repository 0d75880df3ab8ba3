"""The life of one claimed run: outcome, renewal of the claim, report."""

import asyncio
import logging
from typing import Any

import pytest

from taskbus.errors import NotFound, TaskException, TaskFailed
from taskbus.runs import Attempt, ClaimedRun
from tests.taskbus.hands import BROKEN, GONE, LOST, Hands, StartWorker
from tests.taskbus.manual_clock import ManualClock
from tests.taskbus.samples import TASK_ID, claimed
from tests.taskbus.scripted_queue import ScriptedQueue


class TestOutcomes:
    async def test_a_handler_that_returns_completes_the_run(
        self, queue: ScriptedQueue, working: StartWorker
    ) -> None:
        seen: list[Any] = []

        async def handle(run: ClaimedRun) -> None:
            seen.append((run.task_id, run.run_id, run.payload, run.task.metadata.name))

        queue.give(claimed(TASK_ID, {"answer": 42}))
        async with working(handle):
            await queue.called("completed")
        assert seen == [(TASK_ID, 0, {"answer": 42}, "build")]
        assert queue.reports() == [("completed", TASK_ID, 0)]

    @pytest.mark.parametrize(
        ("raised", "report"),
        [
            (TaskFailed("a test failed"), ("failed", TASK_ID, 0)),
            (TaskException("intermittent-task"), ("exception", TASK_ID, 0, "intermittent-task")),
            (TaskException("malformed-payload", "no"), ("exception", TASK_ID, 0, "malformed-payload")),
            (ZeroDivisionError("division by zero"), ("failed", TASK_ID, 0)),
            (asyncio.CancelledError(), ("failed", TASK_ID, 0)),
        ],
        ids=["TaskFailed", "intermittent-task", "malformed-payload", "any other", "own cancellation"],
    )
    async def test_what_a_handler_raises_is_reported(
        self,
        raised: BaseException,
        report: tuple[Any, ...],
        queue: ScriptedQueue,
        working: StartWorker,
    ) -> None:
        async def handle(run: ClaimedRun) -> None:
            raise raised

        queue.give(claimed(TASK_ID))
        async with working(handle):
            await queue.called(report[0])
        assert queue.reports() == [report]

    async def test_an_unexpected_error_is_logged_with_its_traceback(
        self, queue: ScriptedQueue, working: StartWorker, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handle(run: ClaimedRun) -> None:
            raise ZeroDivisionError

        queue.give(claimed(TASK_ID))
        async with working(handle):
            await queue.called("failed")
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert TASK_ID in record.message
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError


class TestHolding:
    async def test_a_claim_is_renewed_at_half_of_its_life(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.renewed_until.extend([1600.0, 1900.0])
        async with working(hands):
            await clock.pass_by(600)  # of 1200; renewed until 1600
            await queue.called("reclaim")
            await clock.pass_by(500)  # of 1600 - 600; renewed until 1900
            await queue.called("reclaim", 2)
            await clock.asleep(400)  # of 1900 - 1100
            hands.end(hands.begun[0])
            await queue.called("completed")
        assert queue.count("reclaim") == 2

    async def test_a_renewal_brings_new_credentials(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.renewed_until.append(1600.0)
        async with working(hands):
            await hands.busy_with(1)
            run = hands.begun[0]
            assert run.credentials.access_token == "secret"
            await clock.pass_by(600)
            await clock.asleep(500)
            assert run.credentials.access_token == "renewed"
            hands.end(run)
            await queue.called("completed")
        assert queue.tokens == ["secret", "renewed"]  # of the reclaim, and of the report

    async def test_a_lost_claim_cancels_the_handler_and_reports_nothing(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.fail("reclaim", LOST)
        async with working(hands, concurrency=1):
            await clock.pass_by(600)
            await queue.called("claim", 2)
        assert hands.cancelled == [TASK_ID]
        assert queue.reports() == []

    async def test_a_renewal_that_fails_is_tried_again_and_the_handler_goes_on(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.fail("reclaim", GONE, BROKEN, NotFound(404, "ResourceNotFound", "restored from a backup?"))
        queue.renewed_until.append(1600.0)
        async with working(hands):
            await clock.pass_by(600)
            for pause in (1, 2, 4):
                await clock.pass_by(pause)
            await queue.called("reclaim", 4)
            hands.end(hands.begun[0])
            await queue.called("completed")
        assert hands.cancelled == []

    async def test_a_claim_that_could_not_be_renewed_in_time_is_lost(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.fail("reclaim", GONE)
        async with working(hands, concurrency=1):
            await clock.pass_by(600)
            await clock.asleep(1)
            clock.advance(600)
            await queue.called("claim", 2)
        assert hands.cancelled == [TASK_ID]
        assert queue.reports() == []


class TestReporting:
    async def test_a_report_is_repeated_until_the_server_takes_it(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.fail("completed", GONE, BROKEN)
        async with working(hands):
            await hands.busy_with(1)
            hands.end(hands.begun[0])
            await clock.pass_by(1)
            await clock.pass_by(2)
            await queue.called("completed", 3)
        assert queue.reports() == [("completed", TASK_ID, 0)] * 3

    async def test_the_claim_is_renewed_while_its_report_waits_for_the_server(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.fail("completed", GONE)
        queue.renewed_until.append(1600.0)
        async with working(hands):
            await hands.busy_with(1)
            hands.end(hands.begun[0])
            await clock.asleep(1)
            clock.advance(600)
            await queue.called("reclaim")
            await queue.called("completed", 2)

    async def test_a_report_ends_with_the_claim(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.fail("completed", *[GONE] * 20)
        queue.fail("reclaim", LOST)
        async with working(hands, concurrency=1):
            await hands.busy_with(1)
            hands.end(hands.begun[0])
            await clock.asleep(1)
            clock.advance(600)
            await queue.called("claim", 2)
        assert queue.count("reclaim") == 1

    async def test_a_report_that_is_refused_is_not_repeated(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, caplog: pytest.LogCaptureFixture
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.fail("completed", LOST)
        async with working(hands, concurrency=1):
            await hands.busy_with(1)
            hands.end(hands.begun[0])
            await queue.called("claim", 2)
        assert queue.reports() == [("completed", TASK_ID, 0)]
        assert "the claim is lost" in caplog.text

    async def test_a_run_shut_down_before_its_handler_began_is_given_back(
        self, queue: ScriptedQueue, clock: ManualClock, hands: Hands
    ) -> None:
        run = ClaimedRun(claimed(TASK_ID), clock)
        attempt = Attempt(run, queue, hands, clock=clock, jitter=lambda: 0.0)
        attempt.shut_down()
        await attempt.execute()
        assert queue.reports() == [("exception", TASK_ID, 0, "worker-shutdown")]
        assert hands.begun == []

"""The worker's claim loop and its end, against a scripted queue and a clock that only the test moves."""

import asyncio
import logging
from typing import Any

import pytest

from taskbus.errors import InsufficientScopes
from taskbus.runs import ClaimedRun
from taskbus.worker import Worker
from tests.taskbus.hands import BROKEN, GONE, Hands, StartWorker
from tests.taskbus.manual_clock import ManualClock
from tests.taskbus.samples import OTHER_ID, TASK_ID, claimed
from tests.taskbus.scripted_queue import ScriptedQueue


class TestClaiming:
    async def test_a_claim_asks_for_as_many_runs_as_hands_are_free(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands
    ) -> None:
        queue.give(claimed(), claimed())
        queue.give(claimed())
        async with working(hands, concurrency=3) as (worker, _):
            await hands.busy_with(3)
            assert len(worker.running) == 3
            hands.end(hands.begun[1])
            await queue.called("claim", 3)
            for run in (hands.begun[0], hands.begun[2]):
                hands.end(run)
            await queue.called("completed", 3)
        assert [call for call in queue.calls if call[0] == "claim"] == [
            ("claim", "prov/type", "group", "worker", 3),
            ("claim", "prov/type", "group", "worker", 1),
            ("claim", "prov/type", "group", "worker", 1),
        ]

    async def test_nothing_is_claimed_while_all_hands_are_busy(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands
    ) -> None:
        queue.give(claimed(), claimed())
        async with working(hands, concurrency=2):
            await hands.busy_with(2)
            for _ in range(10):
                await asyncio.sleep(0)
            assert queue.count("claim") == 1
            hands.end(hands.begun[0])
            await queue.called("claim", 2)
            hands.end(hands.begun[1])
            await queue.called("completed", 2)

    async def test_a_claim_never_asks_for_more_than_the_api_allows(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands
    ) -> None:
        async with working(hands, concurrency=100):
            await queue.called("claim")
        assert queue.calls == [("claim", "prov/type", "group", "worker", 32)]

    async def test_an_empty_answer_is_followed_by_the_next_claim_at_once(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        async with working(hands):
            await queue.called("claim")
            clock.advance(20)
            queue.give()
            await queue.called("claim", 2)

    async def test_a_server_that_does_not_hold_the_poll_is_not_hammered(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give()
        async with working(hands):
            await clock.asleep(1)
            assert queue.count("claim") == 1
            clock.advance(1)
            await queue.called("claim", 2)

    async def test_a_lost_server_is_asked_again_with_growing_pauses(
        self,
        queue: ScriptedQueue,
        working: StartWorker,
        hands: Hands,
        clock: ManualClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO)
        queue.fail("claim", GONE, BROKEN, GONE, GONE, GONE, GONE)
        async with working(hands):
            for pause in (1, 2, 4, 8, 16, 30):
                await clock.pass_by(pause)
            await queue.called("claim", 7)
            queue.give(claimed())
            await hands.busy_with(1)
            hands.end(hands.begun[0])
            await queue.called("completed")
        assert sum("claiming from prov/type failed" in message for message in caplog.messages) == 6
        assert "claiming from prov/type works again" in caplog.messages

    async def test_a_refused_claim_ends_the_worker_after_its_runs(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands
    ) -> None:
        queue.give(claimed(TASK_ID))
        async with working(hands) as (_, running):
            await queue.called("claim", 2)
            queue.fail("claim", InsufficientScopes(403, "InsufficientScopes", "missing scope"))
            queue.give(claimed(OTHER_ID))
            await queue.called("claim", 3)
            await hands.busy_with(2)
            for run in hands.begun:
                hands.end(run)
            with pytest.raises(InsufficientScopes):
                await running
        assert queue.reports() == [("completed", TASK_ID, 0), ("completed", OTHER_ID, 0)]

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"concurrency": 0}, "concurrency: expected at least 1, got 0"),
            ({"worker_id": "a b"}, "worker_id"),
            ({"worker_group": ""}, "worker_group"),
        ],
    )
    def test_wrong_options_are_named_at_once(
        self, queue: ScriptedQueue, hands: Hands, options: dict[str, Any], problem: str
    ) -> None:
        with pytest.raises(ValueError, match=problem):
            Worker(queue, "prov/type", hands, **{"worker_group": "g", "worker_id": "w", **options})


class TestStopping:
    async def test_a_worker_that_waits_for_work_stops_at_once(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands
    ) -> None:
        async with working(hands) as (worker, running):
            await queue.called("claim")
            worker.stop()
            await running
        assert queue.count("claim") == 1

    async def test_a_worker_that_waits_for_a_lost_server_stops_at_once(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.fail("claim", GONE)
        async with working(hands) as (worker, running):
            await clock.asleep(1)
            worker.stop()
            await running

    async def test_running_handlers_have_time_to_end(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        async with working(hands) as (worker, running):
            await hands.busy_with(1)
            worker.stop()
            await clock.asleep(5)
            clock.advance(4.9)
            hands.end(hands.begun[0])
            await running
        assert queue.reports() == [("completed", TASK_ID, 0)]
        assert hands.cancelled == []

    async def test_a_handler_that_does_not_end_in_time_is_cancelled_and_its_run_given_back(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        async with working(hands) as (worker, running):
            await hands.busy_with(1)
            worker.stop()
            await clock.pass_by(5)
            await running
        assert hands.cancelled == [TASK_ID]
        assert queue.reports() == [("exception", TASK_ID, 0, "worker-shutdown")]

    async def test_a_handler_that_finishes_despite_its_cancellation_counts(
        self, queue: ScriptedQueue, working: StartWorker, clock: ManualClock
    ) -> None:
        begun = asyncio.Event()

        async def handle(run: ClaimedRun) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

        queue.give(claimed(TASK_ID))
        async with working(handle) as (worker, running):
            await begun.wait()
            worker.stop()
            await clock.pass_by(5)
            await running
        assert queue.reports() == [("completed", TASK_ID, 0)]

    async def test_claims_are_renewed_while_handlers_have_time_to_end(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.renewed_until.append(1600.0)
        async with working(hands, drain=3600.0) as (worker, running):
            await hands.busy_with(1)
            worker.stop()
            await clock.pass_by(600)
            await queue.called("reclaim")
            hands.end(hands.begun[0])
            await running
        assert queue.reports() == [("completed", TASK_ID, 0)]

    async def test_runs_that_arrive_together_with_the_stop_are_given_back_unstarted(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands
    ) -> None:
        queue.answers_when_cancelled = (claimed(TASK_ID),)
        async with working(hands) as (worker, running):
            await queue.called("claim")
            worker.stop()
            await running
        assert queue.reports() == [("exception", TASK_ID, 0, "worker-shutdown")]
        assert hands.begun == []

    async def test_a_report_under_way_is_not_cut_short_by_the_stop(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands, clock: ManualClock
    ) -> None:
        queue.give(claimed(TASK_ID))
        queue.fail("completed", GONE, GONE, GONE)
        async with working(hands) as (worker, running):
            await hands.busy_with(1)
            hands.end(hands.begun[0])
            await clock.asleep(1)
            worker.stop()
            await clock.asleep(5)
            for pause in (1, 2, 4):
                await clock.pass_by(pause)
            await running
        assert queue.reports() == [("completed", TASK_ID, 0)] * 4

    async def test_a_handler_that_ignores_its_cancellation_does_not_keep_the_worker(
        self,
        queue: ScriptedQueue,
        working: StartWorker,
        clock: ManualClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        begun, release = asyncio.Event(), asyncio.Event()

        async def handle(run: ClaimedRun) -> None:
            begun.set()
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        queue.give(claimed(TASK_ID))
        async with working(handle) as (worker, running):
            await begun.wait()
            worker.stop()
            await clock.pass_by(5)
            await clock.pass_by(10)
            await running
            assert f"given back, though their handlers have not ended: ({TASK_ID}/0,)" in caplog.text
            release.set()
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        assert queue.reports() == [("exception", TASK_ID, 0, "worker-shutdown")]

    async def test_a_cancelled_worker_cancels_its_handlers_and_reports_nothing(
        self, queue: ScriptedQueue, working: StartWorker, hands: Hands
    ) -> None:
        queue.give(claimed(TASK_ID))
        async with working(hands) as (_, running):
            await hands.busy_with(1)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert hands.cancelled == [TASK_ID]
        assert queue.reports() == []

    async def test_a_worker_stopped_before_it_runs_claims_nothing(
        self, queue: ScriptedQueue, hands: Hands
    ) -> None:
        worker = Worker(queue, "prov/type", hands, worker_group="g", worker_id="w")
        worker.stop()
        await worker.run()
        assert queue.calls == []

"""Runs and their transitions over HTTP (``queue-behaviour.md`` 6.1 to 6.6)."""

import asyncio
from collections import Counter
from typing import Any, Final

import pytest

from tests.api.asgi import Reply
from tests.api.running_queue import NOTHING, RunningQueue, at

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
WORKER: Final = {"workerGroup": "eu-central", "workerId": "worker-1"}
OTHER: Final = {"workerGroup": "eu-central", "workerId": "worker-2"}

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


async def call(queue: RunningQueue, verb: str, task_id: str = TASK_ID, body: object = NOTHING) -> Reply:
    """``schedule``, ``rerun`` or ``cancel`` a task, or ``0/completed`` for something about a run."""
    run = f"/runs/{verb}" if verb[0].isdigit() else f"/{verb}"
    return await queue.call("POST", f"/task/{task_id}{run}", body)


async def exception(queue: RunningQueue, run_id: int, reason: str) -> Reply:
    return await call(queue, f"{run_id}/exception", body={"reason": reason})


async def summary(queue: RunningQueue, task_id: str = TASK_ID) -> list[tuple[str, str, str | None]]:
    """State, reasonCreated and reasonResolved of every run."""
    runs = (await queue.status(task_id))["runs"]
    assert [run["runId"] for run in runs] == list(range(len(runs)))
    return [(run["state"], run["reasonCreated"], run.get("reasonResolved")) for run in runs]


async def unscheduled(queue: RunningQueue, **members: Any) -> str:
    return await queue.create(task_id=TASK_ID, dependencies=[TASK_ID], **members)


# ---- what a run shows ---------------------------------------------------------------------------------


async def test_a_run_shows_each_fact_from_when_it_is_known(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    pending = {
        "runId": 0,
        "state": "pending",
        "reasonCreated": "scheduled",
        "scheduled": "2024-05-01T12:00:00.000Z",
    }
    assert await queue.run(TASK_ID) == pending
    queue.clock.advance(seconds=10)
    await queue.claim()
    running = {
        **pending,
        "state": "running",
        **WORKER,
        "started": "2024-05-01T12:00:10.000Z",
        "takenUntil": "2024-05-01T12:20:10.000Z",
    }
    assert await queue.run(TASK_ID) == running
    queue.clock.advance(seconds=10)
    await call(queue, "0/reclaim")
    reclaimed = {**running, "takenUntil": "2024-05-01T12:20:20.000Z"}
    assert await queue.run(TASK_ID) == reclaimed
    queue.clock.advance(seconds=10)
    await call(queue, "0/completed")
    assert await queue.run(TASK_ID) == {
        **reclaimed,
        "state": "completed",
        "reasonResolved": "completed",
        "resolved": "2024-05-01T12:00:30.000Z",
    }


# ---- scheduleTask -------------------------------------------------------------------------------------


async def test_schedule_makes_the_first_run_whatever_the_dependencies_are(queue: RunningQueue) -> None:
    await unscheduled(queue)
    assert (await call(queue, "schedule")).json()["status"]["state"] == "pending"
    assert await summary(queue) == [("pending", "scheduled", None)]


@pytest.mark.parametrize("verb", [None, "claim", "completed", "cancel"])
async def test_schedule_leaves_a_task_with_a_run_alone(queue: RunningQueue, verb: str | None) -> None:
    await queue.create(task_id=TASK_ID)
    if verb == "cancel":
        await call(queue, "cancel")
    elif verb is not None:
        await queue.claim()
        if verb == "completed":
            await call(queue, "0/completed")
    before = await queue.status(TASK_ID)
    await queue.messages()
    reply = await call(queue, "schedule")
    assert (reply.status, reply.json()["status"]) == (200, before)
    assert await queue.events() == []


# ---- rerunTask ----------------------------------------------------------------------------------------


async def test_rerun_adds_a_run_and_restores_the_retries(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID, retries=2)
    for run_id in range(3):
        await queue.claim()
        await exception(queue, run_id, "worker-shutdown")
    assert (await queue.status(TASK_ID))["retriesLeft"] == 0
    status = (await call(queue, "rerun")).json()["status"]
    assert (status["state"], status["retriesLeft"]) == ("pending", 2)
    assert (await summary(queue))[3] == ("pending", "rerun", None)


async def test_rerun_works_on_an_unscheduled_task(queue: RunningQueue) -> None:
    await unscheduled(queue)
    await call(queue, "rerun")
    assert await summary(queue) == [("pending", "rerun", None)]


async def test_rerun_leaves_a_pending_and_a_running_task_alone(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    pending = await queue.status(TASK_ID)
    assert (await call(queue, "rerun")).json()["status"] == pending
    await queue.claim()
    running = await queue.status(TASK_ID)
    assert (await call(queue, "rerun")).json()["status"] == running


@on_sqlite
async def test_a_task_has_at_most_50_runs(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID, retries=5)
    for number in range(1, 50):
        await call(queue, "cancel")
        status = (await call(queue, "rerun")).json()["status"]
        assert (len(status["runs"]), status["retriesLeft"]) == (number + 1, min(5, 49 - number))
    pending = await call(queue, "rerun")
    assert (pending.status, len(pending.json()["status"]["runs"])) == (200, 50)
    await call(queue, "cancel")
    reply = await call(queue, "rerun")
    assert (reply.status, reply.code) == (409, "RequestConflict")
    assert "50" in reply.message
    assert len(await summary(queue)) == 50


# ---- cancelTask ---------------------------------------------------------------------------------------


async def test_cancel_of_an_unscheduled_task_makes_a_run_that_carries_the_exception(
    queue: RunningQueue,
) -> None:
    await unscheduled(queue)
    await call(queue, "cancel")
    assert (await queue.status(TASK_ID))["runs"] == [
        {
            "runId": 0,
            "state": "exception",
            "reasonCreated": "exception",
            "reasonResolved": "canceled",
            "scheduled": "2024-05-01T12:00:00.000Z",
            "resolved": "2024-05-01T12:00:00.000Z",
        }
    ]


@pytest.mark.parametrize("running", [False, True])
async def test_cancel_ends_the_last_run_in_place_and_takes_no_retry(
    queue: RunningQueue, running: bool
) -> None:
    await queue.create(task_id=TASK_ID)
    if running:
        await queue.claim()
    status = (await call(queue, "cancel")).json()["status"]
    assert await summary(queue) == [("exception", "scheduled", "canceled")]
    assert status["retriesLeft"] == 5
    assert ("workerId" in status["runs"][0]) == running


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_cancel_leaves_a_resolved_task_alone(queue: RunningQueue, outcome: str) -> None:
    await queue.claimed(task_id=TASK_ID)
    await call(queue, f"0/{outcome}")
    before = await queue.status(TASK_ID)
    reply = await call(queue, "cancel")
    assert (reply.status, reply.json()["status"]) == (200, before)


async def test_a_cancelled_run_cannot_be_reported_or_reclaimed(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await call(queue, "cancel")
    for verb in ("0/reclaim", "0/completed", "0/failed"):
        assert (await call(queue, verb)).code == "RequestConflict"
    assert (await exception(queue, 0, "worker-shutdown")).code == "RequestConflict"


@pytest.mark.parametrize("verb", ["schedule", "rerun", "cancel"])
@pytest.mark.parametrize("state", ["unscheduled", "pending", "running", "completed"])
async def test_after_the_deadline_a_task_is_a_conflict_whatever_its_state(
    queue: RunningQueue, verb: str, state: str
) -> None:
    if state == "unscheduled":
        await unscheduled(queue)
    else:
        await queue.create(task_id=TASK_ID)
    if state in ("running", "completed"):
        await queue.claim()
    if state == "completed":
        await call(queue, "0/completed")
    queue.clock.set(at("2024-05-01T14:00:00Z"))
    before = await queue.status(TASK_ID)
    await queue.messages()
    assert (await call(queue, verb)).code == "RequestConflict"
    assert await queue.status(TASK_ID) == before
    assert await queue.events() == []


# ---- claimTask ----------------------------------------------------------------------------------------


async def test_claim_task_takes_the_named_run(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    claim = (await call(queue, "0/claim", body=WORKER)).json()
    assert set(claim) == {
        "status",
        "runId",
        "workerGroup",
        "workerId",
        "takenUntil",
        "task",
        "credentials",
    }
    assert claim["status"] == await queue.status(TASK_ID)
    assert claim["task"] == await queue.get(f"/task/{TASK_ID}")
    assert (claim["runId"], claim["takenUntil"]) == (0, "2024-05-01T12:20:00.000Z")
    assert await queue.nothing_pending()


async def test_claim_task_repeated_by_the_same_worker_is_the_same_claim(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    await call(queue, "0/claim", body=WORKER)
    await queue.messages()
    queue.clock.advance(minutes=5)
    again = await call(queue, "0/claim", body=WORKER)
    assert (again.status, again.json()["takenUntil"]) == (200, "2024-05-01T12:20:00.000Z")
    assert await queue.events() == [("task-running", 0)]


async def test_claim_task_refuses_a_run_that_somebody_else_has(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    await call(queue, "0/claim", body=WORKER)
    for other in (OTHER, {**WORKER, "workerGroup": "us-west"}):
        assert (await call(queue, "0/claim", body=other)).code == "RequestConflict"


async def test_claim_task_does_not_give_out_again_what_claim_work_gave(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    assert (await call(queue, "0/claim", body=WORKER)).code == "RequestConflict"


async def test_claim_task_wants_the_last_run_pending(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await exception(queue, 0, "worker-shutdown")
    assert (await call(queue, "0/claim", body=WORKER)).code == "RequestConflict"
    assert (await call(queue, "2/claim", body=WORKER)).code == "ResourceNotFound"
    assert (await call(queue, "1/claim", body=WORKER)).status == 200
    await call(queue, "1/completed")
    assert (await call(queue, "1/claim", body=WORKER)).code == "RequestConflict"


async def test_claim_task_after_the_deadline_is_a_conflict_even_for_a_missing_run(
    queue: RunningQueue,
) -> None:
    await queue.create(task_id=TASK_ID)
    queue.clock.set(at("2024-05-01T14:00:00Z"))
    for run_id in (0, 7):
        assert (await call(queue, f"{run_id}/claim", body=WORKER)).code == "RequestConflict"


# ---- reclaimTask --------------------------------------------------------------------------------------


async def test_reclaim_prolongs_and_tells_nothing(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await queue.messages()
    queue.clock.advance(minutes=19)
    reclaim = (await call(queue, "0/reclaim")).json()
    assert set(reclaim) == {"status", "runId", "workerGroup", "workerId", "takenUntil", "credentials"}
    assert reclaim["takenUntil"] == "2024-05-01T12:39:00.000Z"
    assert reclaim["status"] == await queue.status(TASK_ID)
    assert await queue.events() == []


async def test_reclaim_wants_a_known_task_and_run(queue: RunningQueue) -> None:
    assert (await call(queue, "0/reclaim")).code == "ResourceNotFound"
    await queue.create(task_id=TASK_ID)
    assert (await call(queue, "1/reclaim")).code == "ResourceNotFound"
    assert (await call(queue, "0/reclaim")).code == "RequestConflict"


async def test_reclaim_wants_the_last_run(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await exception(queue, 0, "intermittent-task")
    await queue.claim()
    assert (await call(queue, "0/reclaim")).code == "RequestConflict"
    assert (await call(queue, "1/reclaim")).status == 200


async def test_reclaim_after_the_deadline_is_a_conflict(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID, deadline="2024-05-01T12:10:00Z")
    queue.clock.set(at("2024-05-01T12:10:00Z"))
    assert (await call(queue, "0/reclaim")).code == "RequestConflict"


async def test_an_expired_claim_that_nobody_has_ended_yet_can_be_renewed(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    queue.clock.advance(minutes=21)
    assert (await call(queue, "0/reclaim")).status == 200
    await queue.loops.claims.run_once()
    assert (await queue.status(TASK_ID))["state"] == "running"


# ---- reportCompleted, reportFailed --------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "other"), [("completed", "failed"), ("failed", "completed")])
async def test_a_report_ends_the_run_and_may_be_repeated(
    queue: RunningQueue, outcome: str, other: str
) -> None:
    await queue.claimed(task_id=TASK_ID)
    first = await call(queue, f"0/{outcome}")
    assert await summary(queue) == [(outcome, "scheduled", outcome)]
    queue.clock.advance(minutes=1)
    again = await call(queue, f"0/{outcome}")
    assert (again.status, again.json()) == (200, first.json())
    assert (await call(queue, f"0/{other}")).code == "RequestConflict"
    assert (await exception(queue, 0, "internal-error")).code == "RequestConflict"
    assert await summary(queue) == [(outcome, "scheduled", outcome)]


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_only_a_running_last_run_can_be_reported(queue: RunningQueue, outcome: str) -> None:
    assert (await call(queue, f"0/{outcome}")).code == "ResourceNotFound"
    await queue.create(task_id=TASK_ID)
    assert (await call(queue, f"1/{outcome}")).code == "ResourceNotFound"
    assert (await call(queue, f"0/{outcome}")).code == "RequestConflict"
    await queue.claim()
    await call(queue, f"0/{outcome}")
    await call(queue, "rerun")
    assert (await call(queue, f"0/{outcome}")).code == "RequestConflict"


async def test_an_unscheduled_task_has_no_run_to_report(queue: RunningQueue) -> None:
    await unscheduled(queue)
    assert (await call(queue, "0/completed")).code == "ResourceNotFound"


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_a_run_may_be_reported_after_its_deadline_until_it_is_ended(
    queue: RunningQueue, outcome: str
) -> None:
    await queue.claimed(task_id=TASK_ID, deadline="2024-05-01T12:10:00Z")
    queue.clock.set(at("2024-05-01T12:10:59Z"))
    await queue.loops.deadlines.run_once()
    assert (await call(queue, f"0/{outcome}")).status == 200
    await queue.loops.deadlines.run_once()
    assert (await queue.status(TASK_ID))["state"] == outcome


@on_sqlite
@pytest.mark.parametrize(
    ("body", "state"),
    [
        ({"success": False}, "failed"),
        ({"success": True}, "completed"),
        ({"success": 0}, "completed"),
        ({"success": None}, "completed"),
        ({}, "completed"),
        ([{"success": False}], "completed"),
        ({"success": False, "more": 1}, "failed"),
    ],
)
async def test_a_completed_report_of_no_success_is_a_failure(
    queue: RunningQueue, body: object, state: str
) -> None:
    await queue.claimed(task_id=TASK_ID)
    assert (await call(queue, "0/completed", body=body)).json()["status"]["state"] == state


@on_sqlite
async def test_a_body_that_is_not_called_json_is_no_body_of_a_report(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    reply = await queue.send("POST", f"/task/{TASK_ID}/runs/0/completed", [b'{"success": false}'])
    assert reply.json()["status"]["state"] == "completed"


# ---- reportException ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["malformed-payload", "resource-unavailable", "internal-error"])
async def test_a_final_exception_ends_the_task(queue: RunningQueue, reason: str) -> None:
    await queue.claimed(task_id=TASK_ID)
    status = (await exception(queue, 0, reason)).json()["status"]
    assert await summary(queue) == [("exception", "scheduled", reason)]
    assert status["retriesLeft"] == 5


@pytest.mark.parametrize(
    ("reason", "created"), [("worker-shutdown", "retry"), ("intermittent-task", "task-retry")]
)
async def test_a_retrying_exception_takes_a_retry_while_there_is_one(
    queue: RunningQueue, reason: str, created: str
) -> None:
    await queue.create(task_id=TASK_ID, retries=1)
    await queue.claim()
    status = (await exception(queue, 0, reason)).json()["status"]
    assert (status["state"], status["retriesLeft"]) == ("pending", 0)
    await queue.claim()
    status = (await exception(queue, 1, reason)).json()["status"]
    assert (status["state"], status["retriesLeft"]) == ("exception", 0)
    assert await summary(queue) == [("exception", "scheduled", reason), ("exception", created, reason)]


async def test_without_retries_no_exception_is_retried(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID, retries=0)
    await queue.claim()
    await exception(queue, 0, "worker-shutdown")
    assert await summary(queue) == [("exception", "scheduled", "worker-shutdown")]


async def test_an_exception_repeated_with_its_reason_succeeds_and_adds_nothing(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    first = await exception(queue, 0, "worker-shutdown")
    again = await exception(queue, 0, "worker-shutdown")
    assert (again.status, again.json()) == (200, first.json())
    for other in ("intermittent-task", "internal-error"):
        assert (await exception(queue, 0, other)).code == "RequestConflict"
    assert len(await summary(queue)) == 2


async def test_a_late_repeat_does_not_touch_the_run_that_followed(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await exception(queue, 0, "worker-shutdown")
    await queue.claim()
    await queue.settle()
    await queue.messages()
    assert (await exception(queue, 0, "worker-shutdown")).status == 200
    await queue.settle()
    assert await queue.events() == [("task-exception", 0)]
    assert (await queue.status(TASK_ID))["state"] == "running"


async def test_a_repeat_two_runs_later_is_a_conflict(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    for run_id in range(2):
        await queue.claim()
        await exception(queue, run_id, "worker-shutdown")
    assert (await exception(queue, 0, "worker-shutdown")).code == "RequestConflict"
    assert (await exception(queue, 1, "worker-shutdown")).status == 200


@pytest.mark.parametrize("reason", ["canceled", "claim-expired", "deadline-exceeded", "superseded", "", None])
@on_sqlite
async def test_a_worker_cannot_give_the_reasons_of_the_service(queue: RunningQueue, reason: object) -> None:
    await queue.claimed(task_id=TASK_ID)
    reply = await call(queue, "0/exception", body={"reason": reason})
    assert reply.code == "InputValidationError"
    assert "`/reason`" in reply.message


# ---- 6.5 claims that expire ---------------------------------------------------------------------------


async def test_a_claim_expires_at_its_taken_until_and_is_retried(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    queue.clock.advance(milliseconds=1_199_999)
    await queue.loops.claims.run_once()
    assert (await queue.status(TASK_ID))["state"] == "running"
    queue.clock.advance(milliseconds=1)
    assert await queue.loops.claims.run_once() == 1
    assert await summary(queue) == [("exception", "scheduled", "claim-expired"), ("pending", "retry", None)]
    status = await queue.status(TASK_ID)
    assert status["retriesLeft"] == 4
    assert status["runs"][0]["takenUntil"] == "2024-05-01T12:20:00.000Z"
    assert status["runs"][1]["scheduled"] == "2024-05-01T12:20:00.000Z"


async def test_a_renewed_claim_does_not_expire_at_its_old_time(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    queue.clock.advance(seconds=600)
    await call(queue, "0/reclaim")
    queue.clock.advance(seconds=600)
    assert await queue.loops.claims.run_once() == 0
    queue.clock.advance(seconds=600)
    assert await queue.loops.claims.run_once() == 1


async def test_a_claim_that_expires_without_retries_ends_the_task(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID, retries=0)
    await queue.claim()
    queue.clock.advance(seconds=1200)
    await queue.loops.claims.run_once()
    assert await summary(queue) == [("exception", "scheduled", "claim-expired")]


async def test_a_claim_past_the_deadline_is_left_to_the_deadline(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID, deadline="2024-05-01T12:20:00Z")
    queue.clock.set(at("2024-05-01T12:20:00Z"))
    await queue.loops.claims.run_once()
    assert (await queue.status(TASK_ID))["state"] == "running"
    queue.clock.advance(seconds=60)
    await queue.loops.deadlines.run_once()
    assert await summary(queue) == [("exception", "scheduled", "deadline-exceeded")]


async def test_a_worker_that_comes_back_after_its_claim_expired_is_refused(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    queue.clock.advance(seconds=1200)
    await queue.loops.claims.run_once()
    for verb in ("0/reclaim", "0/completed", "0/failed"):
        assert (await call(queue, verb)).code == "RequestConflict"
    assert (await exception(queue, 0, "worker-shutdown")).code == "RequestConflict"
    assert await summary(queue) == [("exception", "scheduled", "claim-expired"), ("pending", "retry", None)]


# ---- 6.6 deadlines ------------------------------------------------------------------------------------


async def test_a_deadline_acts_60_seconds_later(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    queue.clock.set(at("2024-05-01T14:00:59.999Z"))
    await queue.loops.deadlines.run_once()
    assert (await queue.status(TASK_ID))["state"] == "pending"
    queue.clock.advance(milliseconds=1)
    await queue.loops.deadlines.run_once()
    assert await summary(queue) == [("exception", "scheduled", "deadline-exceeded")]


async def test_a_deadline_gives_an_unscheduled_task_a_run_to_carry_the_exception(queue: RunningQueue) -> None:
    await unscheduled(queue)
    queue.clock.set(at("2024-05-01T14:01:00Z"))
    await queue.loops.deadlines.run_once()
    assert (await queue.status(TASK_ID))["runs"] == [
        {
            "runId": 0,
            "state": "exception",
            "reasonCreated": "exception",
            "reasonResolved": "deadline-exceeded",
            "scheduled": "2024-05-01T14:01:00.000Z",
            "resolved": "2024-05-01T14:01:00.000Z",
        }
    ]


async def test_a_deadline_ends_a_running_run_in_place_without_a_retry(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID, deadline="2024-05-01T12:10:00Z")
    queue.clock.set(at("2024-05-01T12:11:00Z"))
    await queue.loops.deadlines.run_once()
    assert await summary(queue) == [("exception", "scheduled", "deadline-exceeded")]
    assert (await queue.run(TASK_ID))["workerId"] == "worker-1"
    assert (await call(queue, "0/completed")).code == "RequestConflict"


async def test_a_deadline_leaves_a_resolved_task_alone(queue: RunningQueue) -> None:
    await queue.completed(task_id=TASK_ID)
    before = await queue.status(TASK_ID)
    await queue.settle()
    await queue.messages()
    queue.clock.set(at("2024-05-01T14:01:00Z"))
    assert await queue.loops.deadlines.run_once() == 0
    assert await queue.status(TASK_ID) == before
    assert await queue.events() == []


# ---- concurrent equal calls leave one effect ----------------------------------------------------------


async def at_once(
    queue: RunningQueue, second: RunningQueue, verb: str, body: object = NOTHING
) -> list[Reply]:
    """The same call eight times at the same moment, half of them to another process."""
    return list(await asyncio.gather(*(call(one, verb, body=body) for one in [queue, second] * 4)))


async def test_concurrent_schedules_make_one_run(queue: RunningQueue, second: RunningQueue) -> None:
    await unscheduled(queue)
    await queue.messages()
    assert {reply.status for reply in await at_once(queue, second, "schedule")} == {200}
    assert await summary(queue) == [("pending", "scheduled", None)]
    assert await queue.events() == [("task-pending", 0)]


async def test_concurrent_reruns_make_one_run(queue: RunningQueue, second: RunningQueue) -> None:
    await queue.completed(task_id=TASK_ID)
    assert {reply.status for reply in await at_once(queue, second, "rerun")} == {200}
    assert await summary(queue) == [("completed", "scheduled", "completed"), ("pending", "rerun", None)]


async def test_concurrent_cancels_end_one_run(queue: RunningQueue, second: RunningQueue) -> None:
    await unscheduled(queue)
    assert {reply.status for reply in await at_once(queue, second, "cancel")} == {200}
    assert await summary(queue) == [("exception", "exception", "canceled")]


async def test_concurrent_reports_resolve_once(queue: RunningQueue, second: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await queue.messages()
    assert {reply.status for reply in await at_once(queue, second, "0/completed")} == {200}
    await queue.settle()
    events = Counter(await queue.events())
    assert events[("task-completed", 0)] == 8
    assert events[("task-group-resolved", None)] == 1


async def test_of_concurrent_different_reports_one_wins(queue: RunningQueue, second: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    replies = await asyncio.gather(
        call(queue, "0/completed"), call(second, "0/failed"), exception(second, 0, "worker-shutdown")
    )
    assert sorted(reply.status for reply in replies) == [200, 409, 409]


async def test_of_concurrent_claims_of_a_run_one_wins(queue: RunningQueue, second: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    workers = [{"workerGroup": "eu-central", "workerId": f"worker-{number}"} for number in range(8)]
    replies = await asyncio.gather(
        *(call(one, "0/claim", body=body) for one, body in zip([queue, second] * 4, workers, strict=True))
    )
    assert sorted(reply.status for reply in replies) == [200] + [409] * 7


async def test_a_run_that_expires_while_it_is_renewed_is_either_kept_or_retried(
    queue: RunningQueue, second: RunningQueue
) -> None:
    await queue.claimed(task_id=TASK_ID)
    queue.clock.advance(seconds=1200)
    reply, _ = await asyncio.gather(call(second, "0/reclaim"), queue.loops.claims.run_once())
    state = (await queue.status(TASK_ID))["state"]
    assert (reply.status, state) in ((200, "running"), (409, "pending"))


async def test_two_processes_expire_a_claim_once(queue: RunningQueue, second: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    queue.clock.advance(seconds=1200)
    await asyncio.gather(*(one.loops.claims.run_once() for one in [queue, second] * 3))
    assert len(await summary(queue)) == 2
    assert (await queue.status(TASK_ID))["retriesLeft"] == 4

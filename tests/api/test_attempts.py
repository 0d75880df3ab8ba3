"""Retries by policy, error histories, outputs, snoozes, cancellations over HTTP (``seed-systems.md`` C)."""

from datetime import timedelta
from typing import Any, Final

import pytest

from queue_service.core.attempts import MAX_ERROR
from schemas.attempts import MAX_OUTPUT
from tests.api.asgi import Reply
from tests.api.running_queue import NOTHING, Json, RunningQueue, at

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
FIXED: Final = {"kind": "fixed", "delay": "10s", "jitter": 0}

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


async def report(queue: RunningQueue, verb: str, body: object = NOTHING, *, run_id: int = 0) -> Reply:
    return await queue.call("POST", f"/task/{TASK_ID}/runs/{run_id}/{verb}", body)


async def attempts(queue: RunningQueue) -> Json:
    return await queue.get(f"/task/{TASK_ID}/attempts")


async def failing(queue: RunningQueue, **members: Any) -> None:
    """A task with three attempts, ten seconds between them, whose first one runs."""
    await queue.claimed(task_id=TASK_ID, **{"maxAttempts": 3, "retryPolicy": FIXED, **members})


# ---- retries ------------------------------------------------------------------------------------------


async def test_a_failure_is_tried_again_after_its_delay(queue: RunningQueue) -> None:
    await failing(queue)
    await queue.messages()
    reply = await report(queue, "failed", {"error": "it broke"})
    assert reply.status == 200
    status = reply.json()["status"]
    assert [(run["state"], run["reasonCreated"]) for run in status["runs"]] == [
        ("exception", "scheduled"),
        ("pending", "task-retry"),
    ]
    assert (status["state"], status["retriesLeft"]) == ("pending", 5)
    assert await queue.events() == [("task-exception", 0)]
    queue.clock.advance(milliseconds=9_999)
    assert await queue.claim() == []
    queue.clock.advance(milliseconds=1)
    (claim,) = await queue.claim()
    assert claim["runId"] == 1
    assert await queue.events() == [("task-pending", 1), ("task-running", 1)]


async def test_the_sweep_tells_when_the_time_has_come(queue: RunningQueue) -> None:
    await failing(queue)
    await report(queue, "failed", {"error": "it broke"})
    await queue.messages()
    queue.clock.advance(milliseconds=9_999)
    assert await queue.loops.delays.run_once() == 0
    queue.clock.advance(milliseconds=1)
    assert await queue.loops.delays.run_once() == 1
    assert await queue.events() == [("task-pending", 1)]
    assert await queue.loops.delays.run_once() == 0


async def test_the_last_failure_fails_the_task(queue: RunningQueue) -> None:
    await failing(queue, maxAttempts=2)
    await report(queue, "failed", {"error": "first"})
    queue.clock.advance(seconds=10)
    await queue.claim()
    await queue.messages()
    status = (await report(queue, "failed", {"error": "second"}, run_id=1)).json()["status"]
    assert (status["state"], status["runs"][1]["reasonResolved"]) == ("failed", "failed")
    assert await queue.events() == [("task-failed", 1)]
    told = await attempts(queue)
    assert (told["attempt"], told["maxAttempts"]) == (2, 2)
    assert [error["error"] for error in told["errors"]] == ["first", "second"]


async def test_a_failure_that_is_not_to_be_retried_is_final(queue: RunningQueue) -> None:
    await failing(queue)
    status = (await report(queue, "failed", {"error": "no use", "retry": False})).json()["status"]
    assert status["state"] == "failed"


async def test_a_worker_may_say_when_to_try_again(queue: RunningQueue) -> None:
    await failing(queue)
    later = queue.clock.now() + timedelta(minutes=5)
    await report(queue, "failed", {"retryAt": later.isoformat()})
    assert at((await attempts(queue))["availableAt"]) == later


async def test_a_time_in_the_past_is_replaced_by_the_default_policy(queue: RunningQueue) -> None:
    """Not by that of the task, which waits for ten seconds (C-6)."""
    await failing(queue)
    await report(queue, "failed", {"retryAt": "2024-05-01T11:59:59Z"})
    delay = at((await attempts(queue))["availableAt"]) - queue.clock.now()
    assert timedelta(seconds=0.9) <= delay <= timedelta(seconds=1.1)


async def test_a_time_that_has_just_passed_is_now(queue: RunningQueue) -> None:
    """The worker said so before its report was on its way."""
    await failing(queue)
    await report(queue, "failed", {"retryAt": "2024-05-01T11:59:59.600Z"})
    assert len(await queue.claim()) == 1


async def test_a_failure_without_a_word_is_in_the_history_all_the_same(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await report(queue, "failed")
    (error,) = (await attempts(queue))["errors"]
    started = (await queue.status(TASK_ID))["runs"][0]["started"]
    assert error == {"at": started, "attempt": 1, "runId": 0, "error": "", "trace": ""}


async def test_an_attempt_behind_the_deadline_is_not_made(queue: RunningQueue) -> None:
    """The task fails at once, instead of idling to its deadline (C-13)."""
    await failing(queue, retryPolicy={"kind": "fixed", "delay": "2h", "jitter": 0})
    status = (await report(queue, "failed", {"error": "it broke"})).json()["status"]
    assert status["state"] == "failed"
    assert len((await attempts(queue))["errors"]) == 1


async def test_a_repeated_report_of_a_retried_failure_is_answered_again(queue: RunningQueue) -> None:
    await failing(queue)
    first = await report(queue, "failed", {"error": "it broke"})
    await queue.messages()
    again = await report(queue, "failed", {"error": "it broke"})
    assert (again.status, again.json()) == (200, first.json())
    assert await queue.events() == [("task-exception", 0)]
    assert len((await attempts(queue))["errors"]) == 1


async def test_no_delay_is_no_delay(queue: RunningQueue) -> None:
    await failing(queue, retryPolicy={"kind": "fixed", "delay": 0})
    await queue.messages()
    await report(queue, "failed", {"error": "it broke"})
    assert await queue.events() == [("task-exception", 0), ("task-pending", 1)]
    assert len(await queue.claim()) == 1


async def test_rerun_makes_a_delayed_attempt_available_at_once(queue: RunningQueue) -> None:
    await failing(queue)
    await report(queue, "failed", {"error": "it broke"})
    await queue.messages()
    await queue.post(f"/task/{TASK_ID}/rerun")
    assert await queue.events() == [("task-pending", 1)]
    assert len(await queue.claim()) == 1


async def test_a_delayed_run_cannot_be_claimed_by_its_id(queue: RunningQueue) -> None:
    await failing(queue)
    await report(queue, "failed", {"error": "it broke"})
    worker = {"workerGroup": "eu-central", "workerId": "worker-1"}
    reply = await report(queue, "claim", worker, run_id=1)
    assert (reply.status, reply.code) == (409, "RequestConflict")
    assert "2024-05-01T12:00:10.000Z" in reply.message
    queue.clock.advance(seconds=10)
    assert (await report(queue, "claim", worker, run_id=1)).status == 200


async def test_a_deadline_ends_a_delay(queue: RunningQueue) -> None:
    await failing(queue)
    await report(queue, "failed", {"retryAt": "2024-05-01T13:59:59Z"})
    queue.clock.advance(hours=3)
    assert await queue.claim() == []
    assert await queue.loops.delays.run_once() == 0
    await queue.sweep()
    status = await queue.status(TASK_ID)
    assert status["runs"][1]["reasonResolved"] == "deadline-exceeded"
    assert "availableAt" not in await attempts(queue)


# ---- plain tasks --------------------------------------------------------------------------------------


async def test_a_plain_task_shows_nothing_of_this(queue: RunningQueue) -> None:
    task_id = await queue.completed()
    assert (
        not {"runAt", "held", "maxAttempts", "retryPolicy", "retention"}
        & (await queue.get(f"/task/{task_id}")).keys()
    )
    assert await queue.get(f"/task/{task_id}/attempts") == {
        "taskId": task_id,
        "attempt": 1,
        "maxAttempts": 1,
        "snoozes": 0,
        "errors": [],
        "workedBy": ["eu-central/worker-1"],
    }


async def test_a_plain_task_that_fails_with_an_error_has_failed(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    assert (await report(queue, "failed", {"error": "it broke"})).json()["status"]["state"] == "failed"
    (error,) = (await attempts(queue))["errors"]
    assert error == {
        "at": "2024-05-01T12:00:00.000Z",
        "attempt": 1,
        "runId": 0,
        "error": "it broke",
        "trace": "",
    }


@pytest.mark.parametrize("body", [NOTHING, {}, [], {"unknown": 1}, {"error": None}], ids=repr)
async def test_what_plain_workers_send_with_a_failure_is_ignored(queue: RunningQueue, body: object) -> None:
    await queue.claimed(task_id=TASK_ID)
    assert (await report(queue, "failed", body)).json()["status"]["state"] == "failed"
    assert [error["error"] for error in (await attempts(queue))["errors"]] == [""]


async def test_the_stored_definition_shows_what_was_sent(queue: RunningQueue) -> None:
    sent = {
        "maxAttempts": 3,
        "held": True,
        "runAt": "2024-05-01T12:30:00.000Z",
        "retryPolicy": {"kind": "exponential", "base": "1m", "max": "1h"},
        "retention": {"completed": "1d", "shorten": True},
    }
    await queue.create(task_id=TASK_ID, **sent)
    shown = await queue.get(f"/task/{TASK_ID}")
    assert {name: shown[name] for name in sent} == sent | {
        "retryPolicy": {"kind": "exponential", "base": 60, "factor": 2.0, "max": 3600, "jitter": 0.1},
        "retention": {"completed": 86400, "shorten": True},
    }


async def test_equal_extensions_make_a_repeat_and_others_a_conflict(queue: RunningQueue) -> None:
    definition = queue.definition(maxAttempts=3, retryPolicy={"kind": "fixed", "delay": "1m"})
    await queue.call("PUT", f"/task/{TASK_ID}", definition)
    same = definition | {"retryPolicy": {"kind": "fixed", "delay": 60}}
    assert (await queue.call("PUT", f"/task/{TASK_ID}", same)).status == 200
    other = await queue.call("PUT", f"/task/{TASK_ID}", definition | {"maxAttempts": 4})
    assert (other.status, other.code) == (409, "RequestConflict")


@on_sqlite
@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"maxAttempts": 0}, "/maxAttempts"),
        ({"maxAttempts": 51}, "/maxAttempts"),
        ({"maxAttempts": "3"}, "/maxAttempts"),
        ({"held": "yes"}, "/held"),
        ({"runAt": "tomorrow"}, "/runAt"),
        ({"retryPolicy": {}}, "/retryPolicy"),
        ({"retryPolicy": {"kind": "sometimes"}}, "/retryPolicy"),
        ({"retryPolicy": {"kind": "fixed", "delay": -1}}, "/retryPolicy/fixed/delay"),
        ({"retryPolicy": {"kind": "fixed", "delay": 1, "delays": [1]}}, "/retryPolicy/fixed/delays"),
        ({"retention": {"completed": "0s"}}, "/retention/completed"),
        ({"retention": {"done": "1d"}}, "/retention/done"),
    ],
    ids=str,
)
async def test_extensions_that_make_no_sense_are_refused(
    queue: RunningQueue, members: Json, place: str
) -> None:
    reply = await queue.call("PUT", f"/task/{TASK_ID}", queue.definition(**members))
    assert (reply.status, reply.code) == (400, "InputValidationError")
    assert f"`{place}`" in reply.message
    assert (await queue.stored())["tasks"] == 0


# ---- errors and outputs -------------------------------------------------------------------------------


async def test_the_history_has_what_was_reported_and_claims_that_ran_out(queue: RunningQueue) -> None:
    await failing(queue)
    queue.clock.advance(minutes=21)
    await queue.loops.claims.run_once()
    await queue.claim()
    queue.clock.advance(seconds=1)
    await report(queue, "failed", {"error": "it broke", "trace": "Traceback …"}, run_id=1)
    told = await attempts(queue)
    assert [(error["runId"], error["at"], error["attempt"], error["trace"]) for error in told["errors"]] == [
        (0, "2024-05-01T12:21:00.000Z", 1, ""),
        (1, "2024-05-01T12:21:00.000Z", 2, "Traceback …"),
    ]


async def test_any_text_may_be_an_error(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    text = "\x00 \ud83d\ude00 'quotes\" \\ " + "ä" * MAX_ERROR
    assert (await report(queue, "failed", {"error": text})).status == 200
    (error,) = (await attempts(queue))["errors"]
    assert error["error"].startswith("\x00 \U0001f600 'quotes\" \\ ä")
    assert len(error["error"].encode()) <= MAX_ERROR


async def test_an_exception_may_tell_its_error(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await report(queue, "exception", {"reason": "intermittent-task", "error": "no network"})
    told = await attempts(queue)
    assert [error["error"] for error in told["errors"]] == ["no network"]
    assert (await queue.status(TASK_ID))["retriesLeft"] == 4


@pytest.mark.parametrize("output", [{"rows": [1, None, "\x00"]}, 0, "", False], ids=repr)
async def test_a_completed_run_may_leave_an_output(queue: RunningQueue, output: object) -> None:
    await queue.claimed(task_id=TASK_ID)
    assert (await report(queue, "completed", {"output": output})).status == 200
    assert (await attempts(queue))["output"] == output


async def test_the_output_of_a_rerun_replaces_the_one_before(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await report(queue, "completed", {"output": 1})
    await queue.post(f"/task/{TASK_ID}/rerun")
    await queue.claim()
    await report(queue, "completed", {"output": 2}, run_id=1)
    assert (await attempts(queue))["output"] == 2


async def test_an_output_that_is_too_large_is_refused_and_the_run_goes_on(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    reply = await report(queue, "completed", {"output": "x" * MAX_OUTPUT})
    assert (reply.status, reply.code) == (413, "InputTooLarge")
    assert (await queue.status(TASK_ID))["state"] == "running"


async def test_success_false_still_means_failed(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    reply = await report(queue, "completed", {"success": False})
    assert reply.json()["status"]["state"] == "failed"


async def test_the_attempts_of_a_task_that_does_not_exist_are_not_found(queue: RunningQueue) -> None:
    reply = await queue.call("GET", f"/task/{TASK_ID}/attempts")
    assert (reply.status, reply.code) == (404, "ResourceNotFound")


async def test_errors_and_outputs_are_forgotten_with_their_task(queue: RunningQueue) -> None:
    await failing(queue, maxAttempts=2, expires=queue.clock.now() + timedelta(hours=3))
    await report(queue, "failed", {"error": "it broke"})
    queue.clock.advance(seconds=10)
    await queue.claim()
    await report(queue, "completed", {"output": 1}, run_id=1)
    queue.clock.advance(hours=4)
    await queue.sweep()
    stored = await queue.stored()
    assert (stored["tasks"], stored["attempt_errors"], stored["task_outputs"]) == (0, 0, 0)


# ---- the worker puts off, or cancels ------------------------------------------------------------------


async def test_a_snoozed_run_comes_back_under_its_number(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await queue.messages()
    status = (await report(queue, "snooze", {"delay": "10m"})).json()["status"]
    assert status["runs"] == [
        {
            "runId": 0,
            "state": "pending",
            "reasonCreated": "scheduled",
            "scheduled": "2024-05-01T12:00:00.000Z",
        }
    ]
    assert await queue.events() == []
    told = await attempts(queue)
    assert (told["attempt"], told["snoozes"], told["availableAt"]) == (0, 1, "2024-05-01T12:10:00.000Z")
    queue.clock.advance(seconds=599, milliseconds=999)
    assert await queue.claim() == []
    queue.clock.advance(milliseconds=1)
    (claim,) = await queue.claim(worker="worker-2")
    assert claim["runId"] == 0
    assert await queue.events() == [("task-pending", 0), ("task-running", 0)]
    told = await attempts(queue)
    assert (told["attempt"], told["workedBy"]) == (1, ["eu-central/worker-1", "eu-central/worker-2"])
    assert (await report(queue, "completed")).status == 200


async def test_who_snoozed_a_run_has_no_say_about_the_next_claim_of_it(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    claim = (await queue.status(TASK_ID))["runs"][0]
    await report(queue, "snooze", {"delay": 0})
    await queue.claim(worker="worker-2")
    former = f"task-client/{TASK_ID}/0/on/{claim['workerGroup']}/{claim['workerId']}/until/1714566000.000"
    queue.permit.client_id = former
    for verb, body in (("completed", {}), ("failed", {}), ("snooze", {"delay": 0}), ("cancel", {})):
        assert (await report(queue, verb, body)).status == 409
    assert (await queue.call("POST", f"/task/{TASK_ID}/runs/0/reclaim", {})).status == 409
    assert (await queue.status(TASK_ID))["state"] == "running"
    queue.permit.client_id = former.replace("worker-1", "worker-2")
    assert (await report(queue, "completed")).status == 200


async def test_snoozing_for_no_time_gives_the_run_back_at_once(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await queue.messages()
    await report(queue, "snooze", {"delay": 0})
    assert await queue.events() == [("task-pending", 0)]
    assert len(await queue.claim()) == 1


@on_sqlite
@pytest.mark.parametrize("body", [{}, {"delay": -1}, {"delay": "soon"}, {"delay": 1, "until": 2}], ids=str)
async def test_a_snooze_that_makes_no_sense_is_refused(queue: RunningQueue, body: Json) -> None:
    await queue.claimed(task_id=TASK_ID)
    assert (await report(queue, "snooze", body)).code == "InputValidationError"
    assert (await queue.status(TASK_ID))["state"] == "running"


@pytest.mark.parametrize("verb", ["snooze", "cancel"])
async def test_only_a_running_run_is_snoozed_or_cancelled(queue: RunningQueue, verb: str) -> None:
    body = {"delay": 1} if verb == "snooze" else {}
    assert (await report(queue, verb, body)).status == 404
    await queue.create(task_id=TASK_ID)
    assert (await report(queue, verb, body)).status == 409
    assert (await report(queue, verb, body, run_id=1)).status == 404
    await queue.claim()
    await report(queue, "completed")
    assert (await report(queue, verb, body)).status == 409


async def test_a_worker_cancels_its_task_whatever_attempts_remain(queue: RunningQueue) -> None:
    await failing(queue)
    await queue.messages()
    status = (await report(queue, "cancel", {"error": "the customer left"})).json()["status"]
    assert [(run["state"], run["reasonResolved"]) for run in status["runs"]] == [("exception", "canceled")]
    assert await queue.events() == [("task-exception", 0)]
    assert [error["error"] for error in (await attempts(queue))["errors"]] == ["the customer left"]
    again = await report(queue, "cancel", {})
    assert (again.status, again.json()["status"]) == (200, status)


# ---- retention ----------------------------------------------------------------------------------------


async def test_retention_keeps_a_task_longer_than_it_said(queue: RunningQueue) -> None:
    await queue.claimed(
        task_id=TASK_ID, expires=queue.clock.now() + timedelta(hours=2), retention={"completed": "3h"}
    )
    await report(queue, "completed")
    expires = "2024-05-01T15:00:00.000Z"
    assert (await queue.status(TASK_ID))["expires"] == expires
    assert (await queue.get(f"/task/{TASK_ID}"))["expires"] == expires
    queue.clock.advance(hours=2, minutes=31)
    await queue.sweep()
    assert (await queue.stored())["tasks"] == 1
    queue.clock.advance(hours=1, minutes=1)
    await queue.sweep()
    assert (await queue.stored())["tasks"] == 0


async def test_retention_may_shorten_a_life(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID, retention={"failed": "1m", "shorten": True})
    await report(queue, "failed")
    assert (await queue.status(TASK_ID))["expires"] == "2024-05-01T12:01:00.000Z"


async def test_a_repeat_of_a_task_whose_life_was_changed_is_a_repeat(queue: RunningQueue) -> None:
    definition = queue.definition(retention={"failed": "1m", "shorten": True})
    await queue.call("PUT", f"/task/{TASK_ID}", definition)
    await queue.claim()
    await report(queue, "failed")
    assert (await queue.call("PUT", f"/task/{TASK_ID}", definition)).status == 200

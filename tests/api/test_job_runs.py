"""Jobs at work: steps, progress, output; and every change of a task is an event (P-1 to P-8, E-2, B.8)."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import pytest

from queue_service.features.jobs import event_store
from queue_service.features.jobs.event_store import NewEvent
from schemas.attempts import MAX_OUTPUT
from schemas.ids import slugid
from tests.api.jobbed import FIXED, PARAMS, Json, RunningJobs

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

RETRIED: Final[Json] = {"defaults": {"maxAttempts": 2, "retryPolicy": FIXED}}
NO_DELAY: Final[Json] = {"kind": "fixed", "delay": 0, "jitter": 0}
BEGUN: Final = ["state PENDING", "state RUNNING"]


# ---- every change of the task is an event ------------------------------------------------------------


async def test_a_job_that_is_done(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    for name in ("Extract", "Transform", "Load"):
        await jobs.step(job_id, name, "RUNNING")
        await jobs.step(job_id, name, "DONE")
    await jobs.report(job_id, "completed", {"output": {"rows": 3}})
    job = await jobs.job(job_id)
    assert (job["state"], job["output"], job["progress"]["percent"]) == ("DONE", {"rows": 3}, 100)
    assert await jobs.told(job_id) == [
        *BEGUN,
        *(
            f"step {name} {state}"
            for name in ("Extract", "Transform", "Load")
            for state in ("RUNNING", "DONE")
        ),
        "state DONE",
        "end DONE",
    ]


async def test_a_job_that_fails(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.report(job_id, "failed", {"error": "no such file"})
    job = await jobs.job(job_id)
    assert (job["state"], job["reason"]) == ("ERROR", "failed")
    assert await jobs.told(job_id) == [*BEGUN, "state ERROR", "end ERROR"]


async def test_a_job_that_is_tried_again(jobs: RunningJobs) -> None:
    job_id = await jobs.running(**RETRIED)
    await jobs.report(job_id, "failed", {"error": "no such file"})
    jobs.queue.clock.advance(seconds=10)
    await jobs.claim()
    await jobs.report(job_id, "completed", run_id=1)
    assert await jobs.states(job_id) == [*BEGUN, "state PENDING", "state RUNNING", "state DONE", "end DONE"]


async def test_a_job_that_is_reported_as_an_exception(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.report(job_id, "exception", {"reason": "malformed-payload"})
    assert (await jobs.job(job_id))["reason"] == "malformed-payload"
    assert await jobs.told(job_id) == [*BEGUN, "state ERROR", "end ERROR"]


async def test_a_job_whose_worker_shuts_down(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.report(job_id, "exception", {"reason": "worker-shutdown"})
    assert await jobs.told(job_id) == [*BEGUN, "state PENDING"]


async def test_a_job_that_is_snoozed(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.step(job_id, "Extract", "RUNNING")
    await jobs.report(job_id, "snooze", {"delay": 5})
    assert await jobs.told(job_id) == [
        *BEGUN,
        "step Extract RUNNING",
        "state PENDING",
        "step Extract PENDING",
    ]


async def test_a_job_whose_claim_runs_out(jobs: RunningJobs) -> None:
    job_id = await jobs.running(defaults={"retries": 0})
    await jobs.step(job_id, "Extract", "RUNNING")
    jobs.queue.clock.advance(minutes=21)
    assert await jobs.queue.loops.claims.run_once() == 1
    job = await jobs.job(job_id)
    assert (job["reason"], job["steps"][0]["error"]) == ("claim-expired", "claim-expired")
    assert await jobs.told(job_id) == [
        *BEGUN,
        "step Extract RUNNING",
        "step Extract ERROR",
        "state ERROR",
        "end ERROR",
    ]


async def test_a_job_whose_deadline_passes(jobs: RunningJobs) -> None:
    job_id = await jobs.submitted(defaults={"deadline": "1h"})
    jobs.queue.clock.advance(hours=2)
    await jobs.queue.loops.deadlines.run_once()
    assert (await jobs.job(job_id))["reason"] == "deadline-exceeded"
    assert await jobs.told(job_id) == ["state PENDING", "state ERROR", "end ERROR"]


async def test_a_job_whose_task_is_cancelled(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.queue.post(f"/task/{job_id}/cancel")
    assert await jobs.told(job_id) == [*BEGUN, "state CANCELLED", "end CANCELLED"]


async def test_a_job_that_its_worker_cancels(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.report(job_id, "cancel", {"error": "nothing to do"})
    assert await jobs.told(job_id) == [*BEGUN, "state CANCELLED", "end CANCELLED"]


async def test_jobs_whose_group_is_cancelled(jobs: RunningJobs) -> None:
    await jobs.register()
    group = slugid()
    made = [await jobs.submit(taskGroupId=group) for _ in range(3)]
    await jobs.queue.post(f"/task-group/{group}/seal")
    await jobs.queue.post(f"/task-group/{group}/cancel")
    for job_id in made:
        assert await jobs.told(job_id) == ["state PENDING", "state CANCELLED", "end CANCELLED"]


async def test_a_job_that_is_run_again(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.report(job_id, "failed")
    await jobs.queue.post(f"/task/{job_id}/rerun")
    assert await jobs.told(job_id) == [*BEGUN, "state ERROR", "end ERROR", "state PENDING"]


async def test_a_job_that_waits_for_another(jobs: RunningJobs) -> None:
    await jobs.register()
    first = await jobs.submit()
    second = await jobs.submit(dependencies=[first])
    await jobs.claim()
    await jobs.report(first, "completed")
    await jobs.queue.settle()
    assert await jobs.state(second) == "PENDING"
    await jobs.claim()
    assert await jobs.told(second) == BEGUN


async def test_a_job_that_begins_later(jobs: RunningJobs) -> None:
    await jobs.register()
    later = jobs.queue.clock.now() + timedelta(hours=1)
    job_id = await jobs.submit(runAt=later.isoformat().replace("+00:00", "Z"))
    assert await jobs.state(job_id) == "PENDING"
    jobs.queue.clock.advance(hours=1)
    await jobs.queue.loops.delays.run_once()
    await jobs.claim()
    assert await jobs.told(job_id) == BEGUN


async def test_a_job_that_is_claimed_by_its_id(jobs: RunningJobs) -> None:
    job_id = await jobs.submitted()
    body = {"workerGroup": "eu-central", "workerId": "worker-1"}
    claimed = await jobs.queue.post(f"/task/{job_id}/runs/0/claim", body)
    assert claimed["job"] == {"type": "FILE_ETL", "typeVersion": 1, "completedSteps": []}
    assert await jobs.told(job_id) == BEGUN


async def test_jobs_that_are_claimed_and_reported_in_bulk(jobs: RunningJobs) -> None:
    await jobs.register()
    made = [await jobs.submit() for _ in range(3)]
    body = {"workerGroup": "eu-central", "workerId": "worker-1", "tasks": 3}
    claimed = (await jobs.queue.post("/claim-work/jobs/etl", body))["tasks"]
    assert {run["status"]["taskId"] for run in claimed} == set(made)
    reports = [{"taskId": job_id, "runId": 0, "outcome": "completed"} for job_id in made]
    await jobs.queue.post("/runs/report", {"reports": reports})
    for job_id in made:
        assert await jobs.states(job_id) == [*BEGUN, "state DONE", "end DONE"]


async def test_a_job_whose_task_is_deleted(jobs: RunningJobs) -> None:
    job_id = await jobs.submitted()
    assert (await jobs.queue.call("DELETE", f"/task/{job_id}")).status == 200
    assert await jobs.told(job_id) == ["state PENDING", "state CANCELLED", "end CANCELLED"]
    assert (await jobs.call("GET", f"/jobs/{job_id}")).status == 404
    again = await jobs.submit(jobId=job_id)
    assert await jobs.told(again) == ["state PENDING"]


async def test_a_task_that_is_no_job_has_no_events(jobs: RunningJobs) -> None:
    task_id = await jobs.queue.completed()
    assert await jobs.kept(task_id) == []


async def test_a_renewed_claim_is_no_event(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.queue.post(f"/task/{job_id}/runs/0/reclaim")
    assert await jobs.told(job_id) == BEGUN


async def test_the_step_of_a_type_without_steps_is_the_run(jobs: RunningJobs) -> None:
    job_id = await jobs.running(steps=[])
    assert await jobs.steps(job_id) == {"Run": "RUNNING"}
    await jobs.report(job_id, "completed")
    assert await jobs.told(job_id) == [
        "state PENDING",
        "state RUNNING",
        "step Run RUNNING",
        "step Run DONE",
        "state DONE",
        "end DONE",
    ]


async def test_events_have_no_gaps_whoever_writes_at_once(jobs: RunningJobs) -> None:
    made = [await jobs.running(stepOrder="any") for _ in range(3)]
    writes = [
        call
        for job_id in made
        for number in range(10)
        for call in (
            jobs.call("POST", f"/jobs/{job_id}/runs/0/log", {"message": f"line {number}"}),
            jobs.step(job_id, "Extract", "RUNNING", message=str(number)),
            jobs.queue.call("POST", f"/task/{job_id}/runs/0/reclaim"),
        )
    ]
    ends = [jobs.report(made[0], "completed"), jobs.cancel(made[1]), jobs.queue.loops.claims.run_once()]
    await asyncio.gather(*writes, *ends)
    for job_id, end in zip(made, ("end DONE", "end CANCELLED", None), strict=True):
        told = await jobs.told(job_id)  # which looks for gaps
        assert told.count("end DONE") + told.count("end CANCELLED") == (end is not None)
        assert end is None or told[-1] == end


async def test_a_task_that_is_no_job_costs_no_statement_of_jobs(jobs: RunningJobs) -> None:
    seen: list[str] = []
    statements = jobs.queue.database.driver._statements  # type: ignore[attr-defined]
    get = statements.get

    def noting(statement: Any, values: Any) -> Any:
        compiled = get(statement, values)
        seen.append(compiled.sql)
        return compiled

    statements.get = noting
    task_id = await jobs.queue.claimed()
    await jobs.queue.post(f"/task/{task_id}/runs/0/reclaim")
    await jobs.queue.post(f"/task/{task_id}/runs/0/completed")
    assert len(seen) > 5
    assert not [sql for sql in seen if "job" in sql]


# ---- steps -------------------------------------------------------------------------------------------


async def test_a_completed_run_ends_the_step_under_way_and_skips_the_rest(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.step(job_id, "Extract", "RUNNING")
    await jobs.report(job_id, "completed")
    assert await jobs.steps(job_id) == {"Extract": "DONE", "Transform": "SKIPPED", "Load": "SKIPPED"}


async def test_a_failed_run_fails_the_step_under_way(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.step(job_id, "Extract", "RUNNING")
    await jobs.report(job_id, "failed", {"error": "no such file"})
    assert await jobs.steps(job_id) == {"Extract": "ERROR", "Transform": "PENDING", "Load": "PENDING"}
    assert (await jobs.job(job_id))["steps"][0]["error"] == "no such file"


async def test_the_next_run_begins_with_the_first_step(jobs: RunningJobs) -> None:
    job_id = await jobs.running(**RETRIED)
    await jobs.step(job_id, "Extract", "DONE")
    await jobs.step(job_id, "Transform", "RUNNING")
    await jobs.report(job_id, "failed", {"error": "no such file"})
    assert set((await jobs.steps(job_id)).values()) == {"PENDING"}
    jobs.queue.clock.advance(seconds=10)
    assert (await jobs.claim())["job"]["completedSteps"] == []


async def test_a_resumable_job_goes_on_behind_the_steps_that_are_done(jobs: RunningJobs) -> None:
    job_id = await jobs.running(resumable=True, **RETRIED)
    await jobs.step(job_id, "Extract", "DONE")
    await jobs.step(job_id, "Transform", "RUNNING", cursor={"row": 400})
    await jobs.report(job_id, "failed", {"error": "no such row"})
    jobs.queue.clock.advance(seconds=10)
    told = (await jobs.claim())["job"]
    assert (told["completedSteps"], told["cursor"]) == (["Extract"], {"row": 400})
    assert await jobs.steps(job_id) == {"Extract": "DONE", "Transform": "PENDING", "Load": "PENDING"}
    assert (await jobs.step(job_id, "Transform", "RUNNING", run_id=1)).status == 200


async def test_who_runs_a_done_job_again_wants_all_of_it(jobs: RunningJobs) -> None:
    job_id = await jobs.running(resumable=True)
    await jobs.step(job_id, "Extract", "DONE")
    await jobs.report(job_id, "completed")
    await jobs.queue.post(f"/task/{job_id}/rerun")
    assert set((await jobs.steps(job_id)).values()) == {"PENDING"}


@pytest.mark.parametrize(
    ("moves", "status"),
    [
        ([("Extract", "RUNNING"), ("Extract", "RUNNING")], 200),
        ([("Extract", "RUNNING"), ("Extract", "DONE"), ("Extract", "DONE")], 200),
        ([("Extract", "DONE")], 200),
        ([("Extract", "ERROR")], 409),
        ([("Extract", "DONE"), ("Extract", "RUNNING")], 409),
        ([("Extract", "RUNNING"), ("Extract", "ERROR"), ("Extract", "DONE")], 409),
        ([("Transform", "RUNNING")], 409),
        ([("Transform", "DONE")], 409),
        ([("Extract", "RUNNING"), ("Transform", "RUNNING")], 409),
        ([("Extract", "DONE"), ("Transform", "RUNNING")], 200),
        ([("Nowhere", "RUNNING")], 404),
    ],
)
@on_sqlite
async def test_moves_of_steps(jobs: RunningJobs, moves: list[tuple[str, str]], status: int) -> None:
    job_id = await jobs.running()
    *before, last = moves
    for move in before:
        assert (await jobs.step(job_id, *move)).status == 200
    assert (await jobs.step(job_id, *last)).status == status


async def test_steps_in_any_order(jobs: RunningJobs) -> None:
    job_id = await jobs.running(stepOrder="any")
    for name in ("Load", "Extract"):
        assert (await jobs.step(job_id, name, "RUNNING")).status == 200


async def test_a_step_that_is_always_taken_begins_after_a_failure(jobs: RunningJobs) -> None:
    steps = [{"name": "Fetch"}, {"name": "Load"}, {"name": "Release Lock", "always": True}]
    job_id = await jobs.running(steps=steps)
    await jobs.step(job_id, "Fetch", "RUNNING")
    assert (await jobs.step(job_id, "Release Lock", "RUNNING")).status == 409
    await jobs.step(job_id, "Fetch", "ERROR", error="no answer")
    assert (await jobs.step(job_id, "Load", "RUNNING")).status == 409
    await jobs.step(job_id, "Release Lock", "RUNNING")
    await jobs.step(job_id, "Release Lock", "ERROR", error="no such lock")
    await jobs.report(job_id, "failed", {"error": "no answer"})
    job = await jobs.job(job_id)
    assert [step.get("error") for step in job["steps"]] == ["no answer", None, "no such lock"]
    assert job["errors"][0]["error"] == "no answer"


async def test_a_repeated_state_may_tell_more_and_one_that_tells_nothing_is_no_event(
    jobs: RunningJobs,
) -> None:
    job_id = await jobs.running()
    await jobs.step(job_id, "Extract", "RUNNING")
    await jobs.step(job_id, "Extract", "RUNNING", message="reading")
    await jobs.step(job_id, "Extract", "RUNNING", message="reading")
    assert (await jobs.told(job_id))[2:] == ["step Extract RUNNING"] * 2
    assert (await jobs.job(job_id))["steps"][0]["message"] == "reading"


async def test_only_who_holds_the_run_reports(jobs: RunningJobs) -> None:
    job_id = await jobs.submitted()
    assert (await jobs.step(job_id, "Extract", "RUNNING")).status == 409
    await jobs.claim()
    jobs.queue.permit.asked.clear()
    assert (await jobs.step(job_id, "Extract", "RUNNING")).status == 200
    assert jobs.queue.permit.asked == [f"queue:resolve-task:{job_id}/0"]
    assert (await jobs.step(job_id, "Extract", "DONE", run_id=1)).status == 404
    await jobs.report(job_id, "completed")
    assert (await jobs.progress(job_id, percent=50)).status == 409
    assert (await jobs.call("GET", f"/jobs/{job_id}/runs/0")).status == 409
    jobs.queue.permit.deny()
    assert (await jobs.step(job_id, "Extract", "DONE")).status == 403


async def test_whose_run_was_snoozed_reports_no_more_when_another_has_it(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    jobs.queue.permit.client_id = f"task-client/{job_id}/0/on/eu-central/worker-1/until/1714564800.000"
    assert (await jobs.step(job_id, "Extract", "RUNNING")).status == 200
    await jobs.report(job_id, "snooze", {"delay": 0})
    await jobs.claim("worker-2")
    assert (await jobs.step(job_id, "Extract", "RUNNING")).status == 409
    assert (await jobs.call("GET", f"/jobs/{job_id}/runs/0")).status == 409


# ---- progress and output -----------------------------------------------------------------------------


async def test_progress_is_that_of_the_worker_or_the_mean_of_the_steps(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    assert (await jobs.job(job_id))["progress"]["percent"] == 0
    await jobs.step(job_id, "Extract", "DONE")
    await jobs.step(job_id, "Transform", "RUNNING")
    await jobs.progress(job_id, step="Transform", current=1, total=2)
    assert (await jobs.job(job_id))["progress"]["percent"] == 50
    await jobs.progress(job_id, current=1, total=3, message="a third")
    shown = (await jobs.job(job_id))["progress"]
    assert (shown["percent"], shown["current"], shown["total"], shown["message"]) == (33, 1, 3, "a third")
    await jobs.progress(job_id, percent=10)
    assert (await jobs.job(job_id))["progress"]["percent"] == 10


@pytest.mark.parametrize(
    "members",
    [{}, {"percent": 101}, {"percent": -1}, {"current": 1}, {"current": 3, "total": 2}, {"total": 0}],
)
@on_sqlite
async def test_progress_that_is_none(jobs: RunningJobs, members: Json) -> None:
    job_id = await jobs.running()
    assert (await jobs.progress(job_id, **members)).status == 400


async def test_progress_is_an_event_four_times_a_second_and_a_message_once(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.messages()
    for percent in range(0, 100, 5):  # 20 reports in two seconds
        await jobs.progress(job_id, percent=percent)
        jobs.queue.clock.advance(milliseconds=100)
    told = [event.value["percent"] for event in await jobs.kept(job_id) if event.event == "progress"]
    assert told == [0, 15, 30, 45, 60, 75, 90]
    messages = [body["progress"]["percent"] for _, _, body in await jobs.messages()]
    assert messages == [0, 50]
    assert (await jobs.job(job_id))["progress"]["percent"] == 95


async def test_lines_of_a_log_are_events(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    body = {"message": "17 rows have no price", "level": "warning"}
    assert (await jobs.call("POST", f"/jobs/{job_id}/runs/0/log", body)).status == 200
    assert (await jobs.kept(job_id))[-1].value == body


async def test_the_first_line_of_each_second_is_a_message(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.messages()

    async def tell(*lines: str) -> None:
        path = f"/jobs/{job_id}/runs/0/log"
        replies = [await jobs.call("POST", path, {"message": line, "level": "warning"}) for line in lines]
        assert {reply.status for reply in replies} == {200}

    await tell("first", "second")
    jobs.queue.clock.advance(seconds=1)
    await tell("third", "fourth")
    told = await jobs.messages()
    assert [(exchange, body["log"]["message"]) for exchange, _, body in told] == [
        ("job-updated", "first"),
        ("job-updated", "third"),
    ]
    assert told[1][2]["log"]["level"] == "warning"
    assert [event.value["message"] for event in await jobs.kept(job_id) if event.event == "log"] == [
        "first",
        "second",
        "third",
        "fourth",
    ]


async def test_the_last_thousand_events_are_kept(jobs: RunningJobs) -> None:
    job_id = await jobs.submitted()
    line = NewEvent(job_id, "log", {"message": "on and on"}, "FILE_ETL", "PENDING")
    await jobs.queue.database.write(lambda tx: event_store.append(tx, [line] * 600))
    await jobs.queue.database.write(lambda tx: event_store.append(tx, [line] * 600))
    async with jobs.queue.database.read() as connection:
        kept = await event_store.after(connection, job_id, 0, 2000)
        assert await event_store.last_sequence(connection, job_id) == 1201
    assert [event.sequence for event in kept] == list(range(202, 1202))


async def test_the_last_output_counts_and_is_kept_on_failure(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    for rows in (1, 2):
        reply = await jobs.call("PUT", f"/jobs/{job_id}/runs/0/output", {"output": {"rows": rows}})
        assert reply.status == 200
    await jobs.report(job_id, "failed")
    assert (await jobs.job(job_id))["output"] == {"rows": 2}


async def test_an_output_has_a_largest_size(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    reply = await jobs.call("PUT", f"/jobs/{job_id}/runs/0/output", {"output": "x" * MAX_OUTPUT})
    assert (reply.status, reply.code) == (413, "InputTooLarge")


# ---- cancelling --------------------------------------------------------------------------------------


async def test_cancelled_now(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    job = await jobs.cancel(job_id, reason="wrong file")
    assert (job["state"], job["reason"]) == ("CANCELLED", "wrong file")
    assert (await jobs.report(job_id, "completed")).status == 409
    assert (await jobs.queue.call("POST", f"/task/{job_id}/runs/0/reclaim")).status == 409
    assert [event.value.get("reason") for event in await jobs.kept(job_id)][-1] == "wrong file"


@pytest.mark.parametrize("mode", ["now", "graceful"])
async def test_what_no_worker_has_is_cancelled_at_once(jobs: RunningJobs, mode: str) -> None:
    job_id = await jobs.submitted()
    assert (await jobs.cancel(job_id, mode))["state"] == "CANCELLED"


@pytest.mark.parametrize("mode", ["now", "graceful"])
async def test_what_has_ended_stays_as_it_is(jobs: RunningJobs, mode: str) -> None:
    job_id = await jobs.running()
    await jobs.report(job_id, "completed")
    assert (await jobs.cancel(job_id, mode))["state"] == "DONE"
    assert (await jobs.told(job_id))[-1] == "end DONE"


async def test_a_job_that_is_none_cannot_be_cancelled(jobs: RunningJobs) -> None:
    assert (await jobs.call("POST", f"/jobs/{slugid()}/cancel", {})).status == 404
    plain = await jobs.queue.create()
    assert (await jobs.call("POST", f"/jobs/{plain}/cancel", {})).status == 404


async def test_cancelling_needs_the_scope_for_the_type(jobs: RunningJobs) -> None:
    job_id = await jobs.submitted()
    jobs.queue.permit.asked.clear()
    await jobs.cancel(job_id)
    assert jobs.queue.permit.asked == ["jobs:cancel:FILE_ETL"]


async def test_a_graceful_cancellation_tells_the_worker_and_waits(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    job = await jobs.cancel(job_id, "graceful")
    assert (job["state"], job["cancelRequested"]) == ("RUNNING", True)
    renewed = await jobs.queue.post(f"/task/{job_id}/runs/0/reclaim")
    assert renewed["cancelRequested"] is True
    assert (await jobs.step(job_id, "Extract", "RUNNING")).json()["cancelRequested"] is True
    assert await jobs.told(job_id) == [*BEGUN, "state RUNNING", "step Extract RUNNING"]
    await jobs.report(job_id, "completed")
    assert await jobs.state(job_id) == "DONE"


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("failed", {"error": "no such file"}),
        ("exception", {"reason": "intermittent-task"}),
        ("exception", {"reason": "worker-shutdown"}),
        ("snooze", {"delay": 5}),
    ],
)
@on_sqlite
async def test_all_but_success_is_the_cancellation(jobs: RunningJobs, verb: str, body: Json) -> None:
    job_id = await jobs.running(defaults={"maxAttempts": 5})
    await jobs.cancel(job_id, "graceful", reason="wrong file")
    assert (await jobs.report(job_id, verb, body)).status == 200
    job = await jobs.job(job_id)
    assert (job["state"], job["reason"]) == ("CANCELLED", "wrong file")
    assert (await jobs.report(job_id, verb, body)).status == 200  # a repeat of the report
    assert await jobs.told(job_id) == [*BEGUN, "state RUNNING", "state CANCELLED", "end CANCELLED"]


async def test_a_claim_that_runs_out_is_the_cancellation(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await jobs.cancel(job_id, "graceful")
    jobs.queue.clock.advance(minutes=21)
    await jobs.queue.loops.claims.run_once()
    assert await jobs.state(job_id) == "CANCELLED"


@pytest.mark.parametrize("delay", ["0s", "1s", "1h"])
async def test_no_delay_of_the_next_attempt_gets_around_a_cancellation(jobs: RunningJobs, delay: str) -> None:
    policy = {"kind": "fixed", "delay": delay, "jitter": 0}
    job_id = await jobs.running(defaults={"maxAttempts": 5, "retryPolicy": policy})
    await jobs.cancel(job_id, "graceful")
    await jobs.report(job_id, "failed", {"error": "no such file"})
    job = await jobs.job(job_id)
    assert (job["state"], job["errors"][0]["error"]) == ("CANCELLED", "no such file")
    jobs.queue.clock.advance(hours=2)
    assert await jobs.queue.loops.delays.run_once() == 0


async def test_a_job_that_was_cancelled_gracefully_can_be_run_again(jobs: RunningJobs) -> None:
    job_id = await jobs.running(defaults={"maxAttempts": 5, "retryPolicy": NO_DELAY})
    await jobs.cancel(job_id, "graceful")
    await jobs.report(job_id, "failed")
    await jobs.queue.post(f"/task/{job_id}/rerun")
    await jobs.claim()
    await jobs.report(job_id, "failed", {"error": "no such file"}, run_id=1)
    assert await jobs.state(job_id) == "PENDING"


# ---- messages ----------------------------------------------------------------------------------------


async def test_messages_tell_of_steps_and_of_the_end(jobs: RunningJobs) -> None:
    await jobs.register("FILE.ETL")
    job_id = await jobs.submit(type="FILE.ETL", params=PARAMS, envId="prod.eu")
    group = (await jobs.queue.get(f"/task/{job_id}"))["taskGroupId"]
    await jobs.claim()
    await jobs.step(job_id, "Extract", "DONE")
    await jobs.report(job_id, "completed")
    told = await jobs.messages()
    assert [(exchange, key) for exchange, key, _ in told] == [
        ("job-updated", f"primary.{job_id}.FILE_ETL.RUNNING.prod_eu.{group}._"),
        ("job-updated", f"primary.{job_id}.FILE_ETL.DONE.prod_eu.{group}._"),
        ("job-updated", f"primary.{job_id}.FILE_ETL.DONE.prod_eu.{group}._"),
        ("job-resolved", f"primary.{job_id}.FILE_ETL.DONE.prod_eu.{group}._"),
    ]
    assert (told[0][2]["step"]["name"], told[0][2]["type"]) == ("Extract", "FILE.ETL")
    assert [step["state"] for step in told[-1][2]["steps"]] == ["DONE", "SKIPPED", "SKIPPED"]

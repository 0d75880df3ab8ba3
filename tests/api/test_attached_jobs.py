"""Typed jobs on attached workers: what they are handed, tell and are told (P-1 "for sockets", K-2)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from schemas.attempts import MAX_OUTPUT
from schemas.jobs import MAX_CURSOR
from tests.api.attached import AttachedWork, Socket, attached_work
from tests.api.jobbed import PARAMS, Json, RunningJobs, running_jobs
from tests.api.running_queue import RunningQueue

ETL: Final[Json] = {"taskQueueId": "attached/etl", "defaults": {"timeout": 600}}
TAKES: Final[Json] = {"name": "etl"}


@pytest.fixture
async def jobs(queue: RunningQueue) -> AsyncIterator[RunningJobs]:
    async with running_jobs(queue) as running:
        yield running


@pytest.fixture
async def work(queue: RunningQueue) -> AsyncIterator[AttachedWork]:
    async with attached_work(queue) as running:
        yield running


class Holder:
    """An attached worker that has a job."""

    def __init__(self, work: AttachedWork, socket: Socket, item: Json) -> None:
        self.socket = socket
        self._work = work
        self.item = item
        self.job_id: str = item["task_id"]

    async def tell(self, kind: str, **members: Any) -> None:
        of_item = {"task_id": self.job_id, "run_id": self.item["run_id"]}
        await self.socket.send({"kind": kind, **of_item, **members})

    async def asked(self, kind: str, **members: Any) -> Json:
        """The answer to a report."""
        await self.tell(kind, id=7, **members)
        answer = await self.socket.receive()
        assert answer.pop("id") == 7
        assert answer.pop("task_id") == self.job_id
        return answer

    async def step(self, name: str, state: str, **members: Any) -> Json:
        return await self.asked("step", step=name, state=state, **members)

    async def end(self, **members: Any) -> None:
        """Answer; returns when that is written down."""
        of_item = {"task_id": self.job_id, "run_id": self.item["run_id"]}
        await self.socket.send({**of_item, **members})
        await self._work.settled()


async def handed(jobs: RunningJobs, work: AttachedWork, **definition: Any) -> Holder:
    """A worker that was handed a job of such a type."""
    await jobs.register(**{**ETL, **definition})
    await jobs.submit()
    socket = await work.attached(TAKES, capacity=5)
    return Holder(work, socket, await socket.receive())


REPORTED: Final = {"kind": "reported", "run_id": 0}


# ---- what a worker is handed -------------------------------------------------------------------------


async def test_a_job_is_handed_out_with_its_parameters_and_its_type(
    jobs: RunningJobs, work: AttachedWork
) -> None:
    item = (await handed(jobs, work)).item
    assert (item["task_name"], item["data"]) == ("etl", PARAMS)
    assert item["job"] == {"type": "FILE_ETL", "type_version": 1, "completed_steps": []}


async def test_secret_parameters_are_given_to_the_worker_and_shown_to_nobody(
    jobs: RunningJobs, work: AttachedWork
) -> None:
    await jobs.register(**ETL, secretParams=["rows"])
    job_id = await jobs.submit(params={**PARAMS, "rows": 3})
    socket = await work.attached(TAKES, capacity=5)
    assert (await socket.receive())["data"] == {**PARAMS, "rows": 3}
    assert (await jobs.job(job_id))["params"] == PARAMS
    (listed,) = (await work.call("GET", "/list")).json()
    assert "3" not in str(listed["task"]["data"])


async def test_the_old_protocol_is_handed_the_same_frame_as_ever(
    jobs: RunningJobs, work: AttachedWork
) -> None:
    await jobs.register(**ETL)
    job_id = await jobs.submit()
    socket = await work.attached(TAKES)
    item = await socket.receive()
    assert set(item) == {"task_id", "task_name", "data", "attrs", "run_id", "deadline"}
    await socket.send({"task_id": job_id, "result": "done", "data": 1})
    await work.settled()
    assert await jobs.state(job_id) == "DONE"


async def test_the_old_protocol_has_no_reports(jobs: RunningJobs, work: AttachedWork) -> None:
    await jobs.register(**ETL)
    job_id = await jobs.submit()
    socket = await work.attached(TAKES)
    await socket.receive()
    holder = {"task_id": job_id, "run_id": 0}
    await socket.send({"kind": "step", **holder, "step": "Extract", "state": "DONE", "id": 1})
    await socket.send({"task_id": job_id, "result": "done"})
    await work.settled()
    assert socket.silent
    assert (await jobs.steps(job_id))["Extract"] == "SKIPPED"


async def test_a_resumable_job_goes_on_where_a_lost_worker_was(jobs: RunningJobs, work: AttachedWork) -> None:
    lost = await handed(jobs, work, resumable=True)
    await lost.step("Extract", "DONE")
    await lost.step("Transform", "RUNNING", cursor={"row": 5})
    other = await work.attached(TAKES, capacity=5)
    await lost.socket.hang_up()
    item = await other.receive()
    assert item["run_id"] == 1
    assert item["job"]["completed_steps"] == ["Extract"]
    assert item["job"]["cursor"] == {"row": 5}


# ---- what it tells -----------------------------------------------------------------------------------


async def test_steps_are_told_in_their_order_and_end_with_the_answer(
    jobs: RunningJobs, work: AttachedWork
) -> None:
    holder = await handed(jobs, work)
    assert await holder.step("Extract", "RUNNING") == REPORTED
    assert await holder.step("Extract", "DONE", message="3 rows") == REPORTED
    await holder.tell("step", step="Transform", state="RUNNING", percent=10)
    await holder.end(result="done", data={"rows": 3})
    job = await jobs.job(holder.job_id)
    assert (job["state"], job["output"]) == ("DONE", {"rows": 3})
    assert await jobs.told(holder.job_id) == [
        "state PENDING",
        "state RUNNING",
        "step Extract RUNNING",
        "step Extract DONE",
        "step Transform RUNNING",
        "step Transform DONE",
        "step Load SKIPPED",
        "state DONE",
        "end DONE",
    ]


async def test_reports_that_come_at_once_are_written_before_the_answer_and_in_their_order(
    jobs: RunningJobs, work: AttachedWork
) -> None:
    holder = await handed(jobs, work)
    for name, reports in {"Extract": 100, "Transform": 100, "Load": 10}.items():
        await holder.tell("step", step=name, state="RUNNING")
        for percent in range(reports):
            await holder.tell("step", step=name, state="RUNNING", percent=percent)
        await holder.tell("step", step=name, state="DONE")
        if name == "Transform":
            assert await holder.asked("log", message="nearly") == REPORTED
    await holder.end(result="done")
    assert holder.socket.silent
    assert await jobs.state(holder.job_id) == "DONE"
    assert set((await jobs.steps(holder.job_id)).values()) == {"DONE"}


async def test_the_output_is_kept_however_the_job_ends(jobs: RunningJobs, work: AttachedWork) -> None:
    holder = await handed(jobs, work)
    assert await holder.asked("output", output={"rows": 2}) == REPORTED
    await holder.end(result="error", error="disk full")
    job = await jobs.job(holder.job_id)
    assert (job["state"], job["output"]) == ("ERROR", {"rows": 2})


async def test_a_line_is_an_event(jobs: RunningJobs, work: AttachedWork) -> None:
    holder = await handed(jobs, work)
    assert await holder.asked("log", message="half", level="warning") == REPORTED
    (line,) = [event.value for event in await jobs.kept(holder.job_id) if event.event == "log"]
    assert line == {"level": "warning", "message": "half"}


async def test_progress_is_kept_and_the_last_comes_before_the_end(
    jobs: RunningJobs, work: AttachedWork
) -> None:
    holder = await handed(jobs, work)
    await holder.tell("progress", percent=10)
    await holder.tell("progress", current=3, total=4, message="three")
    await holder.tell("progress", step="Load", percent=5)
    await holder.end(result="error", error="no")
    job = await jobs.job(holder.job_id)
    assert (job["progress"]["percent"], job["progress"]["message"]) == (75, "three")
    assert job["steps"][2]["percent"] == 5


async def test_progress_that_comes_fast_is_written_a_few_times(jobs: RunningJobs, work: AttachedWork) -> None:
    holder = await handed(jobs, work)
    for percent in range(1, 100):
        await holder.tell("progress", percent=percent)
    await holder.step("Extract", "RUNNING")
    await holder.end(result="done")
    told = [event for event in await jobs.kept(holder.job_id) if event.event == "progress"]
    assert len(told) < 5


# ---- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"kind": "step", "step": "Load", "state": "DONE"}, "RequestConflict"),
        ({"kind": "step", "step": "Nap", "state": "RUNNING"}, "ResourceNotFound"),
        ({"kind": "step", "state": "RUNNING"}, "InvalidFrame"),
        ({"kind": "step", "step": "Extract", "state": "SKIPPED"}, "InvalidFrame"),
        ({"kind": "step", "step": "Extract", "state": "RUNNING", "percent": 101}, "InvalidFrame"),
        ({"kind": "step", "step": "Extract", "state": "RUNNING", "colour": 1}, "InvalidFrame"),
        (
            {"kind": "step", "step": "Extract", "state": "RUNNING", "cursor": "x" * MAX_CURSOR},
            "InputTooLarge",
        ),
        ({"kind": "output", "output": "x" * MAX_OUTPUT}, "InputTooLarge"),
        ({"kind": "output"}, "InvalidFrame"),
        ({"kind": "log", "message": "x" * 1001}, "InvalidFrame"),
        ({"kind": "log", "message": "x", "level": "shout"}, "InvalidFrame"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["kind"],
)
async def test_a_report_that_is_refused_is_answered_and_changes_nothing(
    jobs: RunningJobs, work: AttachedWork, frame: Json, code: str
) -> None:
    holder = await handed(jobs, work)
    before = await jobs.told(holder.job_id)
    await holder.socket.send({"task_id": holder.job_id, "run_id": 0, "id": 7, **frame})
    answer = await holder.socket.receive()
    assert (answer["kind"], answer["code"], answer["id"]) == ("error", code, 7)
    assert answer["task_id"] == holder.job_id
    assert await jobs.told(holder.job_id) == before
    assert await holder.step("Extract", "RUNNING") == REPORTED


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({}, "InvalidFrame"),
        ({"percent": 101}, "InvalidFrame"),
        ({"current": 1}, "InvalidFrame"),
        ({"current": 5, "total": 4}, "InvalidFrame"),
        ({"current": 1e300, "total": 1e308}, "InvalidFrame"),
        ({"percent": 5, "step": "Nap"}, "ResourceNotFound"),
    ],
)
async def test_progress_that_is_none_is_refused(
    jobs: RunningJobs, work: AttachedWork, frame: Json, code: str
) -> None:
    holder = await handed(jobs, work)
    await holder.tell("progress", **frame)
    answer = await holder.socket.receive()
    assert (answer["kind"], answer["code"]) == ("error", code)


async def test_an_item_that_is_no_job_has_no_steps(work: AttachedWork) -> None:
    socket = await work.attached({"name": "tag"}, capacity=1)
    task_id = await work.create()
    await socket.receive()
    of_item = {"task_id": task_id, "run_id": 0}
    await socket.send({"kind": "progress", **of_item, "percent": 5})
    await socket.send({"kind": "step", **of_item, "step": "Run", "state": "DONE"})
    answer = await socket.receive()
    assert (answer["kind"], answer["code"]) == ("error", "ResourceNotFound")
    (listed,) = (await work.call("GET", "/list")).json()
    assert listed["progress"] == {"percent": 5}


async def test_only_the_socket_that_holds_the_run_tells_of_it(jobs: RunningJobs, work: AttachedWork) -> None:
    holder = await handed(jobs, work)
    stranger = Holder(work, await work.attached(TAKES, capacity=5), holder.item)
    answer = await stranger.step("Extract", "RUNNING")
    assert (answer["kind"], answer["code"]) == ("error", "RequestConflict")
    assert (await jobs.steps(holder.job_id))["Extract"] == "PENDING"


async def test_a_run_that_ended_is_not_reported_on(jobs: RunningJobs, work: AttachedWork) -> None:
    holder = await handed(jobs, work)
    await work.queue.post(f"/task/{holder.job_id}/cancel")
    assert (await holder.socket.receive())["kind"] == "cancel"
    answer = await holder.step("Extract", "RUNNING")
    assert (answer["kind"], answer["code"]) == ("error", "RequestConflict")


# ---- cancellations -----------------------------------------------------------------------------------


async def test_a_graceful_cancellation_is_told_and_a_job_that_completes_is_done(
    jobs: RunningJobs, work: AttachedWork
) -> None:
    holder = await handed(jobs, work)
    await jobs.cancel(holder.job_id, "graceful", reason="wrong file")
    assert await holder.socket.receive() == {
        "kind": "cancel",
        "task_id": holder.job_id,
        "run_id": 0,
        "mode": "graceful",
        "reason": "canceled",
        "message": "wrong file",
    }
    assert await holder.step("Extract", "RUNNING") == REPORTED
    await holder.end(result="done", data=1)
    assert await jobs.state(holder.job_id) == "DONE"


@pytest.mark.parametrize(
    "ending",
    [{"result": "error", "error": "stopped"}, {"kind": "snooze", "seconds": 3600}],
    ids=["an error", "a snooze"],
)
async def test_another_end_after_a_graceful_cancellation_is_the_cancellation(
    jobs: RunningJobs, work: AttachedWork, ending: Json
) -> None:
    holder = await handed(jobs, work, defaults={"maxAttempts": 5})
    await jobs.cancel(holder.job_id, "graceful")
    assert (await holder.socket.receive())["mode"] == "graceful"
    await holder.end(**ending)
    assert await jobs.state(holder.job_id) == "CANCELLED"


async def test_the_loss_of_the_worker_after_a_graceful_cancellation_is_the_cancellation(
    jobs: RunningJobs, work: AttachedWork
) -> None:
    holder = await handed(jobs, work)
    await jobs.cancel(holder.job_id, "graceful")
    await holder.socket.hang_up()
    assert await jobs.state(holder.job_id) == "CANCELLED"


async def test_a_graceful_cancellation_is_told_once(jobs: RunningJobs, work: AttachedWork) -> None:
    holder = await handed(jobs, work)
    await jobs.cancel(holder.job_id, "graceful")
    await holder.socket.receive()
    await jobs.cancel(holder.job_id, "graceful")
    assert await holder.step("Extract", "RUNNING") == REPORTED
    await work.gateway.check_once()
    assert holder.socket.silent


async def test_a_cancellation_at_once_is_told_at_once(jobs: RunningJobs, work: AttachedWork) -> None:
    holder = await handed(jobs, work)
    await jobs.cancel(holder.job_id)
    told = await holder.socket.receive()
    assert (told["kind"], told["reason"], "mode" in told) == ("cancel", "canceled", False)
    assert (await work.get("/workers"))["workers"][0]["inFlight"] == 0


async def test_the_old_protocol_is_told_nothing_of_a_graceful_cancellation(
    jobs: RunningJobs, work: AttachedWork
) -> None:
    await jobs.register(**ETL)
    job_id = await jobs.submit()
    socket = await work.attached(TAKES)
    await socket.receive()
    await jobs.cancel(job_id, "graceful")
    await work.gateway.check_once()
    assert socket.silent
    await socket.send({"task_id": job_id, "result": "error", "error": "no"})
    await work.settled()
    assert await jobs.state(job_id) == "CANCELLED"


async def test_a_cancellation_that_another_process_took_is_told(
    jobs: RunningJobs, second: RunningQueue
) -> None:
    listening = asyncio.Event()
    second.database.subscribe(lambda signal: listening.set())
    async with attached_work(second) as elsewhere:
        holder = await handed(jobs, elsewhere)
        await jobs.cancel(holder.job_id, "graceful", reason="wrong file")
        told = await holder.socket.receive()
        assert (told["kind"], told["mode"], told["message"]) == ("cancel", "graceful", "wrong file")
        await holder.end(result="error", error="stopped")
    assert await jobs.state(holder.job_id) == "CANCELLED"

"""Typed jobs in Python, on the real service: types from classes, steps, progress, resuming, cancelling."""

from typing import Any

import pytest
from pydantic import SecretStr

from schemas.jobs import JobResponse
from taskbus import testing
from taskbus.errors import InputValidationError
from taskbus.jobs import Job, JobOptions, Run, Step, Worker, fixed
from taskbus.jobs.typed import definition_of


class FileEtl(Job, kind="FILE_ETL", aliases=("LoadFile",)):
    """Loads a CSV file into a table."""

    file_id: str
    password: SecretStr = SecretStr("")
    options = JobOptions(
        queue="jobs/etl",
        max_attempts=3,
        retry=fixed("10s", jitter=0),
        timeout="5m",
        steps=("Extract", "Transform", Step("Clean up", always=True)),
        resumable=True,
    )


JOB = FileEtl(file_id="orders.csv", password=SecretStr("hunter2"))


def steps(job: JobResponse) -> list[tuple[str, str]]:
    return [(step.name, step.state) for step in job.steps]


async def test_a_class_is_a_type() -> None:
    async with testing.bus() as bus:
        await bus.register(FileEtl)
        await bus.register(FileEtl)
        shown = await bus.jobs.job_type("LoadFile")
        assert (shown.type, shown.version) == ("FILE_ETL", 1)
        definition = shown.definition
        assert (definition.description, definition.task_queue_id) == (FileEtl.__doc__, "jobs/etl")
        assert [(step.name, step.always) for step in definition.steps] == [
            ("Extract", False),
            ("Transform", False),
            ("Clean up", True),
        ]
        assert definition.defaults is not None
        assert (definition.defaults.max_attempts, definition.resumable) == (3, True)
        assert "WEBAPI_SYNC" in await bus.jobs.catalogue()
        assert "FILE_ETL" in [one.type async for one in bus.jobs.job_types()]


def test_a_type_says_which_lock_its_jobs_hold() -> None:
    class Refresh(Job):
        view: str
        options = JobOptions(lock="acme:locks/view-{view}")

    assert definition_of(Refresh).lock == "acme:locks/view-{view}"


async def test_a_job_is_done_step_by_step() -> None:
    worker = Worker()
    seen: list[Any] = []

    @worker.handle(FileEtl)
    async def load(job: FileEtl, run: Run) -> dict[str, int]:
        seen.append(job.password.get_secret_value())
        async with run.step("Extract"):
            run.progress(current=1, total=4, step="Extract")
        async with run.step("Transform"):
            await run.log("17 rows have no price", "warning")
        return {"rows": 3}

    async with testing.bus(worker) as bus:
        await bus.register(FileEtl)
        submitted = await bus.submit(JOB, env_id="prod")
        assert submitted.params == {"file_id": "orders.csv"}
        await bus.run_until_idle()
        job = await bus.jobs.job(submitted.job_id)
    assert seen == ["hunter2"]
    assert (job.state, job.output, job.env_id) == ("DONE", {"rows": 3}, "prod")
    assert steps(job) == [("Extract", "DONE"), ("Transform", "DONE"), ("Clean up", "SKIPPED")]


async def test_a_plain_function_takes_steps_too() -> None:
    worker = Worker()

    @worker.handle(FileEtl)
    def load(job: FileEtl, run: Run) -> None:
        with run.step("Extract") as step:
            step.save_now({"row": 7})
            run.progress(10)
        with run.step("Transform"):
            pass

    async with testing.bus(worker) as bus:
        await bus.register(FileEtl)
        submitted = await bus.submit(JOB)
        await bus.run_until_idle()
        job = await bus.jobs.job(submitted.job_id)
    assert (job.state, job.progress.percent) == ("DONE", 10)
    assert steps(job)[:2] == [("Extract", "DONE"), ("Transform", "DONE")]


async def test_the_next_attempt_goes_on_where_the_last_one_got_to() -> None:
    worker = Worker()
    seen: list[Any] = []

    @worker.handle(FileEtl)
    async def load(job: FileEtl, run: Run) -> None:
        async with run.step("Extract") as step:
            seen.append(("Extract", step.completed))
        async with run.step("Transform") as step:
            seen.append(("Transform", step.completed, run.cursor))
            if run.attempt == 1:
                await step.save({"row": 400})
                raise OSError("the disk is full")

    async with testing.bus(worker) as bus:
        await bus.register(FileEtl)
        submitted = await bus.submit(JOB)
        await bus.run_until_idle()
        waiting = await bus.jobs.job(submitted.job_id)
        bus.clock.advance("10s")
        await bus.run_until_idle()
        job = await bus.jobs.job(submitted.job_id)
    assert (waiting.state, waiting.attempt, steps(waiting)[:2]) == (
        "PENDING",
        2,
        [("Extract", "DONE"), ("Transform", "PENDING")],
    )
    assert seen == [
        ("Extract", False),
        ("Transform", False, None),
        ("Extract", True),
        ("Transform", False, {"row": 400}),
    ]
    assert job.state == "DONE"
    assert job.errors is not None
    assert job.errors[0].error == "OSError: the disk is full"


async def test_a_step_that_is_always_taken_hides_no_error() -> None:
    worker = Worker()

    @worker.handle(FileEtl)
    async def load(job: FileEtl, run: Run) -> None:
        try:
            async with run.step("Extract"):
                raise OSError("the disk is full")
        finally:
            async with run.step("Clean up"):
                raise KeyError("no such lock")

    async with testing.bus(worker) as bus:
        await bus.register(FileEtl)
        submitted = await bus.submit(JOB, max_attempts=1)
        await bus.run_until_idle()
        job = await bus.jobs.job(submitted.job_id)
    assert job.errors is not None
    assert [error.error for error in job.errors] == ["OSError: the disk is full"]
    assert [step.error for step in job.steps] == [
        "OSError: the disk is full",
        None,
        "KeyError: 'no such lock'",
    ]


async def test_a_handler_learns_that_its_job_is_to_be_cancelled() -> None:
    worker = Worker()
    seen: list[bool] = []

    async with testing.bus(worker) as bus:

        @worker.handle(FileEtl)
        async def load(job: FileEtl, run: Run) -> None:
            await bus.jobs.cancel(run.task_id, mode="graceful", reason="wrong file")
            async with run.step("Extract"):
                seen.append(run.cancel_requested)
                run.snooze("10s")

        await bus.register(FileEtl)
        submitted = await bus.submit(JOB)
        await bus.run_until_idle()
        job = await bus.jobs.job(submitted.job_id)
    assert seen == [True]
    assert (job.state, job.reason) == ("CANCELLED", "wrong file")


async def test_the_same_handler_works_on_jobs_without_a_type() -> None:
    worker = Worker()

    @worker.handle(FileEtl)
    async def load(job: FileEtl, run: Run) -> None:
        async with run.step("Extract") as step:
            await step.save(1)
            run.progress(50)
            await run.log("half of it")
            await run.put_output(1)

    async with testing.bus(worker) as bus:
        inserted = await bus.insert(FileEtl(file_id="orders.csv"))
        await bus.run_until_idle()
        assert await bus.state(inserted.task_id) == "completed"


@pytest.mark.parametrize(("timeout", "known"), [("90s", 90), (-1, -1)])
async def test_the_job_itself_says_how_long_an_attempt_may_take(timeout: str | int, known: int) -> None:
    class Slow(Job):
        options = JobOptions(queue="jobs/slow")

    worker = Worker(timeout="1h")
    seen: list[float | None] = []

    @worker.handle(Slow)
    async def work(job: Slow, run: Run) -> None:
        seen.append(run.timeout)

    async with testing.bus(worker) as bus:
        await bus.jobs.register_type("Slow", {"taskQueueId": "jobs/slow", "defaults": {"timeout": timeout}})
        await bus.submit(Slow())
        await bus.run_until_idle()
    assert seen == [known]


async def test_parameters_that_do_not_fit_are_told_with_their_places() -> None:
    async with testing.bus() as bus:
        await bus.register(FileEtl)
        with pytest.raises(InputValidationError, match="/params/file_id"):
            await bus.jobs.submit({"type": "FILE_ETL"})


async def test_jobs_are_listed_and_cancelled() -> None:
    async with testing.bus() as bus:
        await bus.register(FileEtl)
        made = [(await bus.submit(JOB, tags={"n": str(number)})).job_id for number in range(3)]
        await bus.jobs.cancel(made[0], reason="wrong file")
        found = [job.job_id async for job in bus.jobs.jobs(state="PENDING", page_size=1)]
        assert sorted(found) == sorted(made[1:])
        assert [job.job_id async for job in bus.jobs.jobs(tag=("n", "2"))] == [made[2]]


class Refresh(Job):
    view: str
    options = JobOptions(queue="jobs/views", lock="acme:locks/view-{view}")


async def test_an_attempt_holds_the_lock_of_its_type_and_lets_go_of_it() -> None:
    worker = Worker()
    seen: list[Any] = []

    async with testing.bus(worker) as bus:
        locks = bus.kv("acme:locks")

        @worker.handle(Refresh)
        async def refresh(job: Refresh, run: Run) -> None:
            seen.append((await locks.get("view-sales"), run.lock_token))
            if run.attempt == 1:
                raise OSError("the disk is full")

        await bus.insert(Refresh(view="sales"))
        await bus.run_until_idle()
        assert await locks.get("view-sales") is None
        bus.clock.advance("2s")
        await bus.run_until_idle()
        assert await locks.get("view-sales") is None
    (first, token), (second, larger) = seen
    assert (first.startswith("Refresh "), second.startswith("Refresh "), larger > token) == (True, True, True)


async def test_a_job_whose_lock_another_one_holds_comes_again() -> None:
    worker = Worker()
    seen: list[str] = []

    @worker.handle(Refresh)
    async def refresh(job: Refresh, run: Run) -> None:
        seen.append(job.view)

    async with testing.bus(worker) as bus:
        taken = await bus.kv("acme:locks").put("view-sales", "somebody", if_version=0)
        inserted = await bus.insert(Refresh(view="sales"))
        await bus.insert(Refresh(view="stocks"))
        await bus.run_until_idle()
        assert (seen, await bus.state(inserted.task_id)) == (["stocks"], "pending")
        await bus.kv("acme:locks").delete("view-sales", if_version=taken.version)
        bus.clock.advance("10s")
        await bus.run_until_idle()
        assert (seen, await bus.state(inserted.task_id)) == (["stocks", "sales"], "completed")
        assert (await bus.attempts(inserted.task_id)).attempt == 1


@pytest.mark.parametrize("lock", ["locks", "acme/locks", "acme:locks/{view", "acme:{view}/x", "acme:locks/"])
def test_a_lock_that_is_none(lock: str) -> None:
    with pytest.raises(ValueError, match="expected tenant:namespace"):
        JobOptions(lock=lock)

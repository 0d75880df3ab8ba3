"""The test kit, which is a test of jobs from end to end: the real service, its database, its clock."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from taskbus import testing
from taskbus.errors import InputError
from taskbus.jobs import Hook, Insertion, Job, JobOptions, Limit, Run, Unique, Worker, fixed
from tests.taskbus.jobs.samples import SendInvoice


class Flaky(Job):
    failures: int
    options = JobOptions(queue="tests/flaky", max_attempts=3, retry=fixed("10m", jitter=0))


def worker_of(handler: Any, job_type: type[Job] = SendInvoice, **options: Any) -> Worker:
    worker = Worker(**options)
    worker.handle(job_type)(handler)
    return worker


async def test_a_job_is_done_with_its_arguments_and_keeps_its_output() -> None:
    async def send(job: SendInvoice, run: Run) -> dict[str, int]:
        assert (run.attempt, run.max_attempts, run.queue) == (1, 8, "billing/mail")
        return {"sent": job.copies}

    async with testing.bus(worker_of(send)) as bus:
        result = await bus.insert(SendInvoice(customer=7, copies=2))
        assert result.created
        assert await bus.state(result.task_id) == "pending"
        assert await bus.run_until_idle() == 1
        assert await bus.state(result.task_id) == "completed"
        assert (await bus.attempts(result.task_id)).output == {"sent": 2}


async def test_a_failure_is_tried_again_when_its_time_has_come() -> None:
    async def fail(job: Flaky, run: Run) -> None:
        if run.attempt <= job.failures:
            raise ValueError(f"failure {run.attempt}, after {run.errors}")

    async with testing.bus(worker_of(fail, Flaky)) as bus:
        task_id = (await bus.insert(Flaky(failures=2))).task_id
        for attempt in (1, 2):
            assert await bus.run_until_idle() == 1
            told = await bus.attempts(task_id)
            assert (told.attempt, told.available_at) == (attempt, bus.clock.now() + timedelta(minutes=10))
            assert told.errors[-1].error == f"ValueError: failure {attempt}, after {attempt - 1}"
            bus.clock.advance("599s")
            assert await bus.run_until_idle() == 0
            bus.clock.advance("1s")
        assert await bus.run_until_idle() == 1
        assert await bus.state(task_id) == "completed"


async def test_the_last_attempt_is_final() -> None:
    async def fail(job: Flaky, run: Run) -> None:
        raise ValueError

    async with testing.bus(worker_of(fail, Flaky)) as bus:
        task_id = (await bus.insert(Flaky(failures=9), max_attempts=1)).task_id
        assert await bus.run_until_idle() == 1
        assert await bus.state(task_id) == "failed"


async def test_a_type_may_choose_its_next_retry() -> None:
    class Chooser(Job):
        options = JobOptions(retry=lambda errors, error: f"{errors}h")

    async def fail(job: Chooser, run: Run) -> None:
        raise ValueError

    async with testing.bus(worker_of(fail, Chooser)) as bus:
        task_id = (await bus.insert(Chooser())).task_id
        await bus.run_until_idle()
        assert (await bus.attempts(task_id)).available_at == bus.clock.now() + timedelta(hours=1)


async def test_a_snoozed_job_comes_again_under_the_same_attempt() -> None:
    seen = []

    async def poll(job: SendInvoice, run: Run) -> None:
        seen.append((run.run_id, run.attempt))
        if len(seen) < 3:
            run.snooze("5m")

    async with testing.bus(worker_of(poll)) as bus:
        task_id = (await bus.insert(SendInvoice(customer=7))).task_id
        for _ in range(3):
            assert await bus.run_until_idle() == 1
            bus.clock.advance("5m")
        assert seen == [(0, 1), (0, 1), (0, 1)]
        assert (await bus.attempts(task_id)).snoozes == 2


async def test_a_cancelled_job_has_ended() -> None:
    async def give_up(job: SendInvoice, run: Run) -> None:
        run.cancel("no such customer")

    async with testing.bus(worker_of(give_up)) as bus:
        task_id = (await bus.insert(SendInvoice(customer=7))).task_id
        await bus.run_until_idle()
        status = await bus.queue.status(task_id)
        assert (status.state, status.runs[-1].reason_resolved) == ("exception", "canceled")
        (error,) = (await bus.attempts(task_id)).errors
        assert (error.error, error.trace) == ("no such customer", "")


async def test_a_job_begins_not_before_its_time() -> None:
    async with testing.bus(worker_of(nothing)) as bus:
        start = bus.clock.now() + timedelta(hours=3)
        task_id = (await bus.insert(SendInvoice(customer=7), run_at=start)).task_id
        assert await bus.run_until_idle() == 0
        bus.clock.advance("3h")
        assert await bus.run_until_idle() == 1
        assert await bus.state(task_id) == "completed"


async def test_many_jobs_are_inserted_at_once_with_options_of_their_own() -> None:
    done: list[int] = []

    async def send(job: SendInvoice, run: Run) -> None:
        done.append(job.customer)

    async with testing.bus(worker_of(send, concurrency=7)) as bus:
        jobs = [SendInvoice(customer=number) for number in range(19)]
        urgent = Insertion(SendInvoice(customer=99), {"priority": "highest", "tags": {"by": "hand"}})
        results = await bus.insert_many([*jobs, urgent])
        assert all(result.created for result in results)
        assert await bus.run_until_idle() == 20
        assert done[0] == 99
        assert sorted(done[1:]) == list(range(19))
        assert (await bus.queue.task(results[-1].task_id)).tags == {"by": "hand"}


async def test_one_wrong_job_keeps_all_of_its_insertion_out() -> None:
    async with testing.bus() as bus:
        first = Insertion(SendInvoice(customer=1))
        wrong = Insertion(SendInvoice(customer=2), {"dependencies": ["AAAAAAAAQAiAAAAAAAAAAA"]})
        with pytest.raises(InputError, match="tasks"):
            await bus.insert_many([first, wrong])
        assert await bus.queue.statuses([first.task_id]) == {}


async def test_a_repeat_of_an_insertion_is_no_second_job() -> None:
    async with testing.bus() as bus:
        task_id = Insertion(SendInvoice(customer=1)).task_id
        assert (await bus.insert(SendInvoice(customer=1), task_id=task_id)).created
        assert not (await bus.insert(SendInvoice(customer=1), task_id=task_id)).created


async def test_a_duplicate_is_the_job_that_is_there() -> None:
    class Remind(Job):
        customer: int
        options = JobOptions(unique=Unique(by_args=True, by_period="1h"))

    async with testing.bus(worker_of(nothing, Remind)) as bus:
        first, other, again = await bus.insert_many(
            [Remind(customer=1), Remind(customer=2), Remind(customer=1)]
        )
        assert first.created
        assert other.created
        assert (again.task_id, again.created, again.unique_skipped_as_duplicate) == (
            first.task_id,
            False,
            True,
        )
        assert await bus.run_until_idle() == 2
        assert (await bus.insert(Remind(customer=1))).unique_skipped_as_duplicate
        bus.clock.advance("1h")
        assert (await bus.insert(Remind(customer=1))).created


async def test_jobs_that_may_not_run_together_wait_for_each_other() -> None:
    class Charge(Job):
        customer: int
        options = JobOptions(concurrency=Limit(1, key="{customer}"))

    running: Counter[int] = Counter()
    most: Counter[int] = Counter()

    async def charge(job: Charge, run: Run) -> None:
        running[job.customer] += 1
        most[job.customer] = max(most[job.customer], running[job.customer])
        most[0] = max(most[0], running.total())
        await asyncio.sleep(0)
        running[job.customer] -= 1

    async with testing.bus(worker_of(charge, Charge)) as bus:
        await bus.insert_many([Charge(customer=number) for number in (1, 1, 1, 2, 2, 3)])
        assert await bus.run_until_idle() == 6
    assert most == {0: 3, 1: 1, 2: 1, 3: 1}


@pytest.mark.parametrize("number", [0, 1001])
async def test_an_insertion_is_neither_empty_nor_larger_than_a_transaction(number: int) -> None:
    async with testing.bus() as bus:
        with pytest.raises(ValueError, match=f"expected 1 to 1000 for one transaction, got {number}"):
            await bus.insert_many([SendInvoice(customer=1)] * number)


async def test_an_option_that_does_not_exist_is_refused() -> None:
    async with testing.bus() as bus:
        with pytest.raises(TypeError, match=r"run_on: there is no such option .* task_id, run_at"):
            await bus.insert(SendInvoice(customer=1), run_on=bus.clock.now())  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="with a zone"):
            await bus.insert(SendInvoice(customer=1), run_at=bus.clock.now().replace(tzinfo=None))


async def test_insert_middleware_sees_all_jobs_once_and_hooks_see_each() -> None:
    log: list[Any] = []

    class Audit(Hook):
        def __init__(self, name: str) -> None:
            self.name = name

        async def insert_begin(self, insertion: Insertion) -> None:
            log.append((self.name, insertion.job))

    class Audited(Job):
        number: int
        hooks = (Audit("type"),)

    async def count(jobs: Any, next: Any) -> Any:
        log.append(len(jobs))
        return await next(jobs)

    async with testing.bus(middleware=[count], hooks=[Audit("global")]) as bus:
        one, two = Audited(number=1), Audited(number=2)
        await bus.insert_many([one, two])
    assert log == [2, ("global", one), ("type", one), ("global", two), ("type", two)]


async def test_an_error_of_a_hook_keeps_all_jobs_out() -> None:
    class Refuse(Hook):
        async def insert_begin(self, insertion: Insertion) -> None:
            if insertion.job == SendInvoice(customer=2):
                raise PermissionError("not for this one")

    async with testing.bus(hooks=[Refuse()]) as bus:
        first = Insertion(SendInvoice(customer=1))
        with pytest.raises(PermissionError):
            await bus.insert_many([first, SendInvoice(customer=2)])
        assert await bus.queue.statuses([first.task_id]) == {}


async def test_a_handler_may_insert_jobs_which_are_done_as_well() -> None:
    async def again(job: Flaky, run: Run) -> None:
        if job.failures:
            await bus.insert(Flaky(failures=job.failures - 1))

    async with testing.bus(worker_of(again, Flaky)) as bus:
        await bus.insert(Flaky(failures=3))
        assert await bus.run_until_idle() == 4


async def test_a_bus_that_is_never_idle_says_so() -> None:
    async def again(job: SendInvoice, run: Run) -> None:
        run.snooze(0)

    async with testing.bus(worker_of(again)) as bus:
        await bus.insert(SendInvoice(customer=1))
        with pytest.raises(testing.NeverIdle, match="after 4 attempts"):
            await bus.run_until_idle(most=3)


async def nothing(job: Job, run: Run) -> None:
    pass

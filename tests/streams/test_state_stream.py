"""The stream of the states of all jobs (E-9)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from queue_service.features.jobs import event_store
from queue_service.features.jobs.event_store import NewEvent
from queue_service.features.jobs.stream_states import StateStreams
from queue_service.store.database import Tx
from tests.api.jobbed import RunningJobs, running_jobs
from tests.api.running_queue import RunningQueue
from tests.streams.reader import Reader, Received


@pytest.fixture
async def other(second: RunningQueue, jobs: RunningJobs) -> AsyncIterator[RunningJobs]:
    async with running_jobs(second) as running:
        yield running


def watch(jobs: RunningJobs, query: str = "", last: str | None = None) -> Reader:
    headers = {} if last is None else {"Last-Event-ID": last}
    return Reader(jobs.application, f"/api/jobs/v1/stream{query}", headers)


def states_of(jobs: RunningJobs) -> StateStreams:
    handler: Any = jobs.application._pipelines["jobs"]._handlers["streamJobs"]
    states: StateStreams = handler._states
    return states


async def begun(reader: Reader) -> Received:
    event = await reader.event()
    assert event.kind == "snapshot"
    return event


async def told(reader: Reader, count: int) -> list[tuple[str, str]]:
    events = [await reader.event() for _ in range(count)]
    assert {event.kind for event in events} == {"state"}
    return [(event.data["jobId"], event.data["state"]) for event in events]


async def test_the_states_of_all_jobs_are_told(jobs: RunningJobs) -> None:
    await jobs.register()
    async with watch(jobs) as reader:
        assert (await begun(reader)).data == {"reset": False}
        first, second = await jobs.submit(), await jobs.submit()
        await jobs.cancel(first)
        assert await told(reader, 3) == [(first, "PENDING"), (second, "PENDING"), (first, "CANCELLED")]


async def test_a_dashboard_chooses_type_and_state(jobs: RunningJobs) -> None:
    await jobs.register()
    await jobs.register("OTHER")
    async with watch(jobs, "?type=FILE_ETL&state=CANCELLED") as reader:
        await begun(reader)
        other = await jobs.submit(type="OTHER")
        job_id = await jobs.submit()
        await jobs.cancel(other)
        await jobs.cancel(job_id)
        assert await told(reader, 1) == [(job_id, "CANCELLED")]


async def test_a_dashboard_goes_on_where_it_was(jobs: RunningJobs) -> None:
    await jobs.register()
    async with watch(jobs) as reader:
        last = (await begun(reader)).id
    first, second = await jobs.submit(), await jobs.submit()
    async with watch(jobs, last=last) as reader:
        assert await told(reader, 1) == [(first, "PENDING")]
    async with watch(jobs, last=reader.last_id) as reader:
        assert await told(reader, 1) == [(second, "PENDING")]


@pytest.mark.parametrize("last", ["99999", "no-number"])
async def test_a_position_that_is_not_there_is_said(jobs: RunningJobs, last: str) -> None:
    async with watch(jobs, last=last) as reader:
        assert (await begun(reader)).data == {"reset": True}


@pytest.mark.parametrize("database_kind", ["postgres"], indirect=True)
async def test_an_event_that_becomes_visible_late_is_told_and_never_skipped(
    jobs: RunningJobs, other: RunningJobs
) -> None:
    """On PostgreSQL a smaller id may be committed after a larger one."""
    await jobs.register()

    async def append(tx: Tx, job_id: str) -> None:
        await event_store.append(tx, [NewEvent(job_id, "state", {"state": "DONE"}, "FILE_ETL", "DONE")])

    async with watch(jobs) as reader:
        await begun(reader)
        async with other.queue.database.driver.transaction() as connection:
            tx = Tx(connection, jobs.queue.clock.now(), other.queue.database, {})
            await append(tx, "early")
            await jobs.queue.database.write(lambda tx: append(tx, "late"))
            assert await told(reader, 1) == [("late", "DONE")]
            cut = reader.last_id
        await states_of(jobs).run_once()
        assert await told(reader, 1) == [("early", "DONE")]
    async with watch(jobs, last=cut) as again:
        assert await told(again, 2) == [("early", "DONE"), ("late", "DONE")]

"""The stream of a job: its snapshot, what happens to it, its end, and how a reader goes on (E-1 to E-8)."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from queue_service.api import feeds
from queue_service.api.streaming import Event
from queue_service.features.jobs import event_store
from queue_service.features.jobs.stream import JobStreams, without_what_is_outdated
from queue_service.store.signals import TopicStirred
from schemas.ids import slugid
from tests.api.attached import Refused, Socket
from tests.api.jobbed import RunningJobs, running_jobs
from tests.api.running_queue import RunningQueue
from tests.streams.reader import Reader, Received

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@pytest.fixture
async def other(second: RunningQueue, jobs: RunningJobs) -> AsyncIterator[RunningJobs]:
    """The jobs of another process."""
    async with running_jobs(second) as running:
        yield running


def watch(jobs: RunningJobs, job_id: str, last: str | None = None, query: str = "") -> Reader:
    headers = {} if last is None else {"Last-Event-ID": last}
    return Reader(jobs.application, f"/api/jobs/{job_id}/stream{query}", headers)


def streams_of(jobs: RunningJobs) -> JobStreams:
    handler: Any = jobs.application._pipelines["jobs"]._handlers["streamJob"]
    streams: JobStreams = handler._jobs
    return streams


def short(event: Received) -> str:
    return f"{event.id} {event.kind} {event.data.get('name', event.data.get('state'))}"


async def done(jobs: RunningJobs, job_id: str) -> None:
    assert (await jobs.report(job_id, "completed", {"output": {"rows": 3}})).status == 200


async def test_a_new_reader_gets_the_whole_job_and_then_what_happens(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    async with watch(jobs, job_id) as reader:
        snapshot = await reader.event()
        assert (reader.status, reader.first) == (200, "retry: 3000")
        assert (snapshot.kind, snapshot.id, snapshot.data) == ("snapshot", "2", await jobs.job(job_id))
        await jobs.step(job_id, "Extract", "RUNNING")
        await jobs.progress(job_id, percent=40)
        await done(jobs, job_id)
        assert [short(event) for event in await reader.events()] == [
            "3 step Extract",
            "4 progress None",
            "5 step Extract",
            "6 step Transform",
            "7 step Load",
            "8 state DONE",
            "9 end DONE",
        ]


async def test_the_end_tells_what_the_job_has_given(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    async with watch(jobs, job_id) as reader:
        await reader.event()
        await done(jobs, job_id)
        assert (await reader.events())[-1].data == {"state": "DONE", "output": {"rows": 3}}


async def test_a_job_that_has_ended_is_shown_and_ended(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    await done(jobs, job_id)
    async with watch(jobs, job_id) as reader:
        snapshot, end = await reader.events()
        assert (snapshot.data["state"], end.kind, int(end.id)) == ("DONE", "end", int(snapshot.id) + 1)
    async with watch(jobs, job_id, last=end.id) as reader:
        assert (reader.status, await reader.body()) == (204, "")
    async with watch(jobs, job_id, last=snapshot.id) as reader:
        assert await reader.events() == [end]


async def test_a_job_that_nobody_knows_is_refused_before_anything_is_sent(jobs: RunningJobs) -> None:
    async with watch(jobs, slugid()) as reader:
        assert (reader.status, json.loads(await reader.body())["code"]) == (404, "ResourceNotFound")


async def test_a_reader_goes_on_where_it_was(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    async with watch(jobs, job_id) as reader:
        last = (await reader.event()).id
    await jobs.step(job_id, "Extract", "RUNNING")
    await jobs.step(job_id, "Extract", "DONE")
    async with watch(jobs, job_id, last) as reader:
        assert [short(await reader.event()) for _ in range(2)] == ["3 step Extract", "4 step Extract"]
    async with watch(jobs, job_id, query=f"?lastEventId={reader.last_id}") as reader:
        await reader.comment()
        await jobs.step(job_id, "Transform", "RUNNING")
        assert short(await reader.event()) == "5 step Transform"


@pytest.mark.parametrize("last", ["3", "99999", "no-number", "-1"])
async def test_a_position_that_is_not_there_begins_with_the_whole_job(jobs: RunningJobs, last: str) -> None:
    job_id = await jobs.running()
    async with watch(jobs, job_id, last) as reader:
        snapshot = await reader.event()
        assert (snapshot.kind, snapshot.id, snapshot.data["reset"]) == ("snapshot", "2", True)


async def test_forgotten_events_begin_with_the_whole_job(
    jobs: RunningJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_store, "KEPT", 3)
    job_id = await jobs.running()
    for state in ("RUNNING", "DONE"):
        await jobs.step(job_id, "Extract", state)
    async with watch(jobs, job_id, "0") as reader:
        assert (await reader.event()).data["reset"] is True
    async with watch(jobs, job_id, "1") as reader:
        assert short(await reader.event()) == "2 state RUNNING"


@on_sqlite
async def test_only_the_kinds_that_are_asked_for(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    async with watch(jobs, job_id, query="?types=state") as reader:
        await reader.event()
        await jobs.step(job_id, "Extract", "RUNNING")
        await done(jobs, job_id)
        assert [event.kind for event in await reader.events()] == ["state", "end"]
    async with watch(jobs, job_id, query="?types=state,stop") as reader:
        assert reader.status == 400
        assert "`types` has `stop`" in json.loads(await reader.body())["message"]


async def test_a_change_of_another_process_is_told(jobs: RunningJobs, other: RunningJobs) -> None:
    job_id = await jobs.running()
    async with watch(other, job_id) as reader:
        await reader.event()
        await jobs.step(job_id, "Extract", "RUNNING")
        other.queue.database.announce((TopicStirred(event_store.topic_of(job_id)),))
        assert short(await reader.event()) == "3 step Extract"


@on_sqlite
async def test_readers_of_many_jobs_are_fed_by_one_statement(jobs: RunningJobs) -> None:
    await jobs.register()
    ids = [await jobs.submit() for _ in range(10)]
    readers = [watch(jobs, job_id) for job_id in ids for _ in range(3)]
    for reader in readers:
        await reader.__aenter__()
        await reader.event()
    for job_id in ids:
        await jobs.cancel(job_id)
    for reader in readers:
        assert [event.kind for event in await reader.events()] == ["state", "end"]
        await reader.hang_up()
    assert len(streams_of(jobs).readers) == len(streams_of(jobs)._watched) == 0


@on_sqlite
async def test_a_slow_reader_loses_progress_and_nothing_else(
    jobs: RunningJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MOST_UNDELIVERED", 4)
    job_id = await jobs.running()
    async with watch(jobs, job_id) as reader:
        await reader.event()
        reader.pause()
        for percent in range(30):
            await jobs.progress(job_id, percent=percent)
            jobs.queue.clock.advance(seconds=1)
            await streams_of(jobs).run_once()
        await jobs.step(job_id, "Extract", "RUNNING")
        await streams_of(jobs).run_once()
        reader.go_on()
        kinds = []
        while (event := await reader.event()).kind != "step":
            kinds.append(event.kind)
        assert 0 < len(kinds) < 15
        assert event.id == "33"


@on_sqlite
async def test_a_reader_that_takes_no_states_is_cut_off_and_goes_on(
    jobs: RunningJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MOST_UNDELIVERED", 2)
    job_id = await jobs.running()
    async with watch(jobs, job_id) as reader:
        await reader.event()
        reader.pause()
        for name in ("Extract", "Transform", "Load"):
            for state in ("RUNNING", "DONE"):
                await jobs.step(job_id, name, state)
                await streams_of(jobs).run_once()
        reader.go_on()
        last = ([await reader.events(), reader.last_id])[1]
    assert streams_of(jobs).readers.overflows == 1
    async with watch(jobs, job_id, last) as reader:
        ids = [int((await reader.event()).id) for _ in range(8 - int(str(last)))]
    assert ids == list(range(int(str(last)) + 1, 9))


def test_what_may_be_lost_is_what_later_events_say_again() -> None:
    kinds = ["progress", "step", "log", "progress", "state", "log"]
    waiting = [Event(str(place), kind, b"{}") for place, kind in enumerate(kinds)]
    assert [event.id for event in without_what_is_outdated(waiting)] == ["1", "3", "4", "5"]


@on_sqlite
async def test_a_websocket_gets_the_same_events(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    async with Socket(jobs.application, f"/api/jobs/v1/jobs/{job_id}/stream") as socket:
        assert (await socket.receive())["event"] == "snapshot"
        await done(jobs, job_id)
        kinds = [(await socket.receive())["event"] for _ in range(5)]
        assert kinds == ["step", "step", "step", "state", "end"]
        assert (await socket.closed()).code == 1000
    jobs.queue.permit.deny()
    with pytest.raises(Refused) as refused:
        await Socket(jobs.application, f"/api/jobs/{job_id}/stream").__aenter__()
    assert refused.value.status == 403


@on_sqlite
async def test_watching_needs_the_scope_that_showing_needs(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    jobs.queue.permit.asked.clear()
    async with watch(jobs, job_id) as reader:
        await reader.event()
    assert jobs.queue.permit.asked == [f"jobs:get:{job_id}"]


@on_sqlite
async def test_a_process_that_stops_ends_its_streams(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    async with watch(jobs, job_id) as reader:
        await reader.event()
        await streams_of(jobs).stop()
        assert await reader.events() == []
        async with watch(jobs, job_id) as late:
            assert late.status == 503

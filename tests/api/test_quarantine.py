"""Quarantined workers get no work (``queue-behaviour.md`` 7.2, 7.4)."""

import asyncio
import json
from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import select

from queue_service.store.signals import QuarantineChanged
from queue_service.store.tables import workers
from schemas.times import format_time
from tests.api.definitions import QUEUES
from tests.api.manual_clock import START
from tests.api.running_queue import RunningQueue

PROVISIONER, _, WORKER_TYPE = QUEUES["build"].partition("/")
WORKERS: Final = f"/provisioners/{PROVISIONER}/worker-types/{WORKER_TYPE}/workers"
CLAIM: Final = f"/claim-work/{QUEUES['build']}"
DAY: Final = timedelta(days=1)
Json = dict[str, Any]

patient = pytest.mark.parametrize("long_poll", [20.0])
"""Calls that wait for longer than any test takes."""


def body(worker: str) -> Json:
    return {"workerGroup": "eu-central", "workerId": worker}


async def quarantine(
    queue: RunningQueue, until: timedelta = DAY, *, worker: str = "worker-1", **members: str
) -> Json:
    reply = await queue.call(
        "PUT",
        f"{WORKERS}/eu-central/{worker}",
        {"quarantineUntil": format_time(START + until), **members},
    )
    assert reply.status == 200, reply.body
    return dict(reply.json())


async def declare(queue: RunningQueue, worker: str) -> None:
    """Make a worker known that asks for nothing."""
    target = f"{WORKERS.removesuffix('/workers')}/eu-central/{worker}"
    assert (await queue.call("PUT", target, {"expires": format_time(START + DAY)})).status == 200


async def listed(queue: RunningQueue, query: str = "") -> tuple[list[str], str | None]:
    answer = await queue.get(f"{WORKERS}{query}")
    return [entry["workerId"] for entry in answer["workers"]], answer.get("continuationToken")


async def test_only_a_worker_that_was_seen_can_be_quarantined(queue: RunningQueue) -> None:
    target = f"{WORKERS}/eu-central/worker-1"
    reply = await queue.call("PUT", target, {"quarantineUntil": format_time(START + DAY)})
    assert reply.code == "ResourceNotFound"
    assert (await queue.stored())["workers"] == 0


async def test_a_quarantined_worker_gets_nothing_and_is_seen(
    queue: RunningQueue, second: RunningQueue
) -> None:
    await queue.claim()
    await quarantine(second, 2 * DAY)
    queue.database.announce((QuarantineChanged(),))  # as it arrives from the other process
    await queue.create()
    later = queue.clock.advance(minutes=5)
    assert await queue.claim() == []
    assert await second.claim() == []
    shown = await queue.get(f"{WORKERS}/eu-central/worker-1")
    assert shown["lastDateActive"] == format_time(later)
    assert len(await queue.claim(worker="worker-2")) == 1


async def test_a_quarantine_holds_in_the_process_that_was_told_at_once(queue: RunningQueue) -> None:
    await queue.claim()
    await queue.create()
    await quarantine(queue)
    assert await queue.claim() == []


async def test_a_quarantined_worker_cannot_claim_by_id_but_keeps_what_it_has(queue: RunningQueue) -> None:
    await queue.claim()
    held, pending = await queue.create(), await queue.create()
    await queue.post(f"/task/{held}/runs/0/claim", body("worker-1"))
    await quarantine(queue)
    reply = await queue.call("POST", f"/task/{pending}/runs/0/claim", body("worker-1"))
    assert (reply.status, reply.code) == (409, "RequestConflict")
    assert "quarantined" in reply.json()["message"]
    await queue.post(f"/task/{held}/runs/0/claim", body("worker-1"))
    await queue.post(f"/task/{pending}/runs/0/claim", body("worker-2"))


async def test_a_quarantine_is_that_of_one_task_queue(queue: RunningQueue) -> None:
    await queue.claim()
    await queue.create("test")
    await quarantine(queue)
    assert len(await queue.claim("test")) == 1


async def test_a_quarantine_ends_by_itself(queue: RunningQueue) -> None:
    await queue.claim()
    await queue.create(deadline=START + 2 * DAY)
    await quarantine(queue)
    queue.clock.set(START + DAY)
    assert len(await queue.claim()) == 1


async def test_a_past_date_lifts_a_quarantine(queue: RunningQueue) -> None:
    await queue.claim()
    await queue.create()
    await quarantine(queue)
    await quarantine(queue, -DAY)
    assert len(await queue.claim()) == 1


@patient
async def test_a_quarantined_worker_waits_the_whole_time(queue: RunningQueue) -> None:
    await declare(queue, "worker-1")
    await quarantine(queue)
    await queue.create()
    waiting = asyncio.create_task(queue.call("POST", CLAIM, body("worker-1")))
    assert len(await queue.claim(worker="worker-2")) == 1
    assert not waiting.done()
    queue.api.quarantine.close()
    assert (await waiting).json() == {"tasks": []}


@patient
async def test_a_worker_that_waits_already_gets_nothing_more(queue: RunningQueue) -> None:
    waiting = asyncio.create_task(queue.call("POST", CLAIM, body("worker-1")))
    await queue.claim_passes.get()
    await quarantine(queue)
    await queue.create()
    assert len(await queue.claim(worker="worker-2")) == 1
    assert not waiting.done()
    queue.api.quarantine.close()
    assert (await waiting).json() == {"tasks": []}


async def test_a_quarantined_worker_is_kept_for_a_day_at_least(queue: RunningQueue) -> None:
    await queue.claim()
    queue.clock.advance(hours=3)
    shown = await quarantine(queue, DAY)
    assert shown["expires"] == format_time(queue.clock.now() + DAY)
    assert shown["quarantineUntil"] == format_time(START + DAY)
    assert shown["lastDateActive"] == format_time(START)


async def test_a_quarantined_worker_is_not_forgotten(queue: RunningQueue) -> None:
    await queue.claim()
    await queue.claim(worker="worker-2")
    await quarantine(queue, 9 * DAY)
    queue.clock.advance(days=2)
    await queue.sweep()
    assert await listed(queue) == (["worker-1"], None)
    queue.clock.advance(days=7)
    await queue.sweep()
    assert (await queue.stored())["workers"] == 0


async def test_why_and_by_whom_is_kept(queue: RunningQueue) -> None:
    await queue.claim()
    await quarantine(queue, quarantineInfo="its disk is full")
    queue.clock.advance(hours=1)
    shown = await quarantine(queue, -DAY)
    assert "quarantineDetails" not in shown
    async with queue.database.read() as connection:
        row = (await connection.execute(select(workers.c.quarantine_details))).one()
    first, second = json.loads(row.quarantine_details)
    assert first == ["tester", "2024-05-01T12:00:00Z", "2024-05-02T12:00:00Z", "its disk is full"]
    assert second == ["tester", "2024-05-01T13:00:00Z", "2024-04-30T12:00:00Z", ""]


@pytest.mark.parametrize(
    "members",
    [{}, {"quarantineUntil": "now"}, {"quarantineUntil": None}, {"quarantineInfo": "x"}],
)
async def test_a_quarantine_out_of_form_is_refused(queue: RunningQueue, members: Json) -> None:
    reply = await queue.call("PUT", f"{WORKERS}/eu-central/worker-1", members)
    assert (reply.status, reply.code) == (400, "InputValidationError")


async def test_4000_characters_say_why_and_no_more(queue: RunningQueue) -> None:
    await queue.claim()
    await quarantine(queue, quarantineInfo="x" * 4000)
    sent = {"quarantineUntil": format_time(START), "quarantineInfo": "x" * 4001}
    reply = await queue.call("PUT", f"{WORKERS}/eu-central/worker-1", sent)
    assert reply.code == "InputValidationError"


# ---- the list -----------------------------------------------------------------------------------------


async def test_workers_are_listed_by_whether_they_are_quarantined(queue: RunningQueue) -> None:
    for worker in ("a", "b", "c"):
        await queue.claim(worker=worker)
    await quarantine(queue, worker="b")
    await quarantine(queue, -DAY, worker="c")
    assert await listed(queue) == (["a", "b", "c"], None)
    assert await listed(queue, "?quarantined=true") == (["b"], None)
    assert await listed(queue, "?quarantined=false") == (["a", "c"], None)
    entries = (await queue.get(WORKERS))["workers"]
    assert [entry.get("quarantineUntil") for entry in entries] == [None, format_time(START + DAY), None]


async def test_the_filter_comes_after_the_page_is_cut(queue: RunningQueue) -> None:
    for worker in ("a", "b", "c"):
        await queue.claim(worker=worker)
    await quarantine(queue, worker="c")
    first, token = await listed(queue, "?quarantined=true&limit=2")
    assert first == []
    assert token is not None
    assert await listed(queue, f"?quarantined=true&continuationToken={token}") == (["c"], None)


async def test_another_filter_is_refused(queue: RunningQueue) -> None:
    assert (await queue.call("GET", f"{WORKERS}?quarantined=yes")).code == "InvalidRequestArguments"

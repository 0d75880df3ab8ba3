"""Task queues and workers as they are seen (``queue-behaviour.md`` 7.4)."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import pytest

from schemas.times import format_time
from tests.api.definitions import QUEUES
from tests.api.manual_clock import START
from tests.api.running_queue import RunningQueue, at

QUEUE: Final = QUEUES["build"]
PROVISIONER, _, WORKER_TYPE = QUEUE.partition("/")
TYPE: Final = f"/provisioners/{PROVISIONER}/worker-types/{WORKER_TYPE}"
DAY: Final = timedelta(days=1)
Json = dict[str, Any]


def queue_target(task_queue_id: str = QUEUE) -> str:
    return f"/task-queues/{task_queue_id.replace('/', '%2F')}"


def worker_target(worker: str = "worker-1", *, type_target: str = TYPE) -> str:
    return f"{type_target}/workers/eu-central/{worker}"


def declaration(worker: str = "worker-1") -> str:
    return f"{TYPE}/eu-central/{worker}"


async def put(queue: RunningQueue, target: str, body: Mapping[str, Any]) -> Json:
    reply = await queue.call("PUT", target, body)
    assert reply.status == 200, reply.body
    return dict(reply.json())


async def nobody_stored(queue: RunningQueue) -> bool:
    stored = await queue.stored()
    return stored["workers"] == stored["task_queues"] == 0


async def status(queue: RunningQueue, target: str) -> int:
    return (await queue.call("GET", target)).status


async def recent(queue: RunningQueue, worker: str = "worker-1") -> list[tuple[str, int]]:
    shown = await queue.get(worker_target(worker))
    return [(run["taskId"], run["runId"]) for run in shown["recentTasks"]]


async def claim_by_id(queue: RunningQueue, task_id: str, worker: str = "worker-1") -> None:
    await queue.post(f"/task/{task_id}/runs/0/claim", {"workerGroup": "eu-central", "workerId": worker})


# ---- being seen ---------------------------------------------------------------------------------------


async def test_nothing_is_known_of_a_task_queue_before_a_worker_asks(queue: RunningQueue) -> None:
    await queue.create()
    assert await status(queue, queue_target()) == 404
    assert await status(queue, TYPE) == 404
    assert await status(queue, f"/provisioners/{PROVISIONER}") == 404
    assert await status(queue, worker_target()) == 404
    assert await queue.get("/task-queues") == {"taskQueues": []}
    assert await queue.get("/provisioners") == {"provisioners": []}
    assert await queue.get(f"{TYPE}/workers") == {"workers": []}


async def test_asking_for_work_shows_the_task_queue_at_once(
    queue: RunningQueue, second: RunningQueue
) -> None:
    assert await queue.claim() == []
    expected = {
        "taskQueueId": QUEUE,
        "expires": format_time(START + DAY),
        "lastDateActive": format_time(START),
        "description": "",
        "stability": "experimental",
    }
    assert await second.get(queue_target()) == expected
    assert await second.get("/task-queues") == {"taskQueues": [expected]}
    twin = expected | {"provisionerId": PROVISIONER, "workerType": WORKER_TYPE}
    assert await second.get(TYPE) == twin
    assert await second.get(f"/provisioners/{PROVISIONER}/worker-types") == {"workerTypes": [twin]}


async def test_asking_for_work_shows_the_worker_at_once(queue: RunningQueue, second: RunningQueue) -> None:
    assert await queue.claim() == []
    shown = await second.get(worker_target())
    quarantined_until = at(shown.pop("quarantineUntil"))
    assert timedelta(days=3600) < START - quarantined_until < timedelta(days=3700)
    assert shown == {
        "taskQueueId": QUEUE,
        "provisionerId": PROVISIONER,
        "workerType": WORKER_TYPE,
        "workerGroup": "eu-central",
        "workerId": "worker-1",
        "expires": format_time(START + DAY),
        "firstClaim": format_time(START),
        "lastDateActive": format_time(START),
        "recentTasks": [],
    }


async def test_the_first_claim_stays_and_the_activity_moves(queue: RunningQueue) -> None:
    await queue.claim()
    later = queue.clock.advance(hours=1)
    await queue.claim()
    shown = await queue.get(worker_target())
    assert shown["firstClaim"] == format_time(START)
    assert shown["lastDateActive"] == format_time(later)
    assert shown["expires"] == format_time(later + DAY)
    assert (await queue.get(queue_target()))["lastDateActive"] == format_time(later)


async def test_a_reclaim_shows_task_queue_and_worker(queue: RunningQueue) -> None:
    task_id = await queue.claimed(deadline=START + timedelta(days=5))
    later = queue.clock.advance(minutes=19)
    await queue.post(f"/task/{task_id}/runs/0/reclaim")
    assert (await queue.get(worker_target()))["lastDateActive"] == format_time(later)
    assert (await queue.get(queue_target()))["expires"] == format_time(later + DAY)


async def test_a_claim_by_id_shows_the_task_queue_alone_for_five_days(queue: RunningQueue) -> None:
    await claim_by_id(queue, await queue.create())
    assert (await queue.get(queue_target()))["expires"] == format_time(START + 5 * DAY)
    assert await status(queue, worker_target()) == 404
    assert await queue.get(f"{TYPE}/workers") == {"workers": []}


async def test_an_expiry_never_moves_backwards(queue: RunningQueue) -> None:
    await claim_by_id(queue, await queue.create())
    queue.clock.advance(hours=2)
    await queue.claim()
    assert (await queue.get(queue_target()))["expires"] == format_time(START + 5 * DAY)


async def test_what_expired_is_not_shown(queue: RunningQueue) -> None:
    await queue.claim()
    queue.clock.advance(days=1)
    assert await status(queue, queue_target()) == 404
    assert await status(queue, worker_target()) == 404
    assert await queue.get("/task-queues") == {"taskQueues": []}
    assert await queue.get("/provisioners") == {"provisioners": []}
    assert await queue.get(f"{TYPE}/workers") == {"workers": []}


async def test_a_worker_that_comes_back_after_its_row_was_deleted_is_new(queue: RunningQueue) -> None:
    await queue.claim()
    queue.clock.advance(days=1, minutes=31)
    await queue.sweep()
    assert await nobody_stored(queue)
    await queue.claim()
    assert (await queue.get(worker_target()))["firstClaim"] == format_time(queue.clock.now())


# ---- recent tasks -------------------------------------------------------------------------------------


async def test_every_claim_is_a_recent_task_oldest_first(queue: RunningQueue) -> None:
    claimed = []
    for _ in range(3):
        claimed.append((await queue.claimed(), 0))
        queue.clock.advance(seconds=1)
    assert await recent(queue) == claimed


async def test_the_newest_20_claims_are_kept(queue: RunningQueue) -> None:
    claimed = []
    for number in range(25):
        claimed.append((await queue.claimed(), 0))
        queue.clock.advance(milliseconds=1)
        if number == 3:
            assert await recent(queue) == claimed
    assert await recent(queue) == claimed[-20:]


async def test_another_process_sees_a_claim_once_it_is_written(
    queue: RunningQueue, second: RunningQueue
) -> None:
    first = await queue.claimed()
    queue.clock.advance(seconds=1)
    other = await second.claimed()
    await queue.api.sightings.flush()
    assert await recent(second) == [(first, 0), (other, 0)]


async def test_a_known_worker_keeps_a_claim_by_id_once(queue: RunningQueue) -> None:
    await queue.claim()
    task_id = await queue.create()
    await claim_by_id(queue, task_id)
    await claim_by_id(queue, task_id)
    assert await recent(queue) == [(task_id, 0)]


async def test_the_latest_task_is_listed(queue: RunningQueue) -> None:
    await queue.claim(worker="idle")
    await queue.claimed()
    queue.clock.advance(seconds=1)
    task_id = await queue.claimed()
    entries = (await queue.get(f"{TYPE}/workers"))["workers"]
    assert entries == [
        {
            "workerGroup": "eu-central",
            "workerId": "idle",
            "firstClaim": format_time(START),
            "lastDateActive": format_time(START),
        },
        {
            "workerGroup": "eu-central",
            "workerId": "worker-1",
            "firstClaim": format_time(START),
            "lastDateActive": format_time(START),
            "latestTask": {"taskId": task_id, "runId": 0},
        },
    ]


# ---- 404 ----------------------------------------------------------------------------------------------


async def test_a_worker_is_not_there_without_its_task_queue(queue: RunningQueue) -> None:
    await queue.claim()
    await put(queue, worker_target(), {"quarantineUntil": format_time(START + 9 * DAY)})
    queue.clock.advance(days=1)
    assert await status(queue, worker_target()) == 404
    await queue.claim(worker="worker-2")
    assert await status(queue, worker_target()) == 200


async def test_a_worker_type_in_upper_case_is_simply_unknown(queue: RunningQueue) -> None:
    target = f"/provisioners/{PROVISIONER}/worker-types/Upper"
    assert await status(queue, target) == 404
    assert await status(queue, worker_target(type_target=target)) == 404
    assert await queue.get(f"{target}/workers") == {"workers": []}


# ---- provisioners -------------------------------------------------------------------------------------


async def test_a_provisioner_is_the_latest_of_its_task_queues(queue: RunningQueue) -> None:
    await claim_by_id(queue, await queue.create())
    later = queue.clock.advance(hours=1)
    await queue.claim("test")
    expected = {
        "provisionerId": PROVISIONER,
        "expires": format_time(START + 5 * DAY),
        "lastDateActive": format_time(later),
        "description": "",
        "stability": "experimental",
    }
    assert await queue.get(f"/provisioners/{PROVISIONER}") == expected
    assert await queue.get("/provisioners") == {"provisioners": [expected]}


# ---- declareWorker ------------------------------------------------------------------------------------


async def test_a_declared_worker_is_there_with_its_task_queue(
    queue: RunningQueue, second: RunningQueue
) -> None:
    expires = format_time(START + 3 * DAY)
    declared = await put(queue, declaration(), {"expires": expires})
    assert declared["expires"] == expires
    assert declared["firstClaim"] == format_time(START)
    assert await second.get(worker_target()) == declared
    assert (await second.get(queue_target()))["expires"] == expires


async def test_a_declaration_never_shortens_a_life(queue: RunningQueue) -> None:
    await queue.claimed()
    before = await queue.get(worker_target())
    queue.clock.advance(minutes=5)
    assert await put(queue, declaration(), {"expires": format_time(START)}) == before
    longer = await put(queue, declaration(), {"expires": format_time(START + 2 * DAY)})
    assert longer == before | {"expires": format_time(START + 2 * DAY)}


async def test_a_declaration_needs_a_scope_for_each_property(queue: RunningQueue) -> None:
    queue.permit.asked.clear()
    await put(queue, declaration(), {"expires": format_time(START + DAY)})
    scope = f"queue:declare-worker:{QUEUE}/eu-central/worker-1#expires"
    assert queue.permit.asked == [{"AllOf": [scope]}]


async def test_a_refused_declaration_stores_nothing(queue: RunningQueue) -> None:
    queue.permit.deny()
    reply = await queue.call("PUT", declaration(), {"expires": format_time(START + DAY)})
    assert reply.code == "InsufficientScopes"
    assert await nobody_stored(queue)


@pytest.mark.parametrize("worker_type", ["Upper", "0", "a-", "_"])
async def test_no_worker_is_declared_where_no_task_queue_can_be(
    queue: RunningQueue, worker_type: str
) -> None:
    """In a URL alone a worker type may be so; as part of a task queue it would break every list of them."""
    target = f"/provisioners/{PROVISIONER}/worker-types/{worker_type}/eu-central/worker-1"
    reply = await queue.call("PUT", target, {"expires": format_time(START + DAY)})
    assert (reply.status, reply.code) == (400, "InputError")
    assert await nobody_stored(queue)


@pytest.mark.parametrize("body", [{}, {"expires": "tomorrow"}, {"expires": None}, {"other": 1}])
async def test_a_declaration_out_of_form_is_refused(queue: RunningQueue, body: Json) -> None:
    reply = await queue.call("PUT", declaration(), body)
    assert (reply.status, reply.code) == (400, "InputValidationError")
    assert await nobody_stored(queue)


# ---- pages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "member", "name"),
    [
        ("/provisioners", "provisioners", "provisionerId"),
        ("/task-queues", "taskQueues", "taskQueueId"),
        ("/provisioners/prov/worker-types", "workerTypes", "workerType"),
        ("/provisioners/prov/worker-types/type/workers", "workers", "workerId"),
    ],
)
async def test_lists_come_in_pages_whose_tokens_fit_any_limit(
    queue: RunningQueue, target: str, member: str, name: str
) -> None:
    expires = {"expires": format_time(START + DAY)}
    for letter in "abcd":
        await put(queue, f"/provisioners/prov/worker-types/type/group-{letter}/{letter}", expires)
        await put(queue, f"/provisioners/prov/worker-types/{letter}/group/id", expires)
        await put(queue, f"/provisioners/{letter}/worker-types/type/group/id", expires)

    async def page(query: str) -> tuple[list[str], str]:
        found = await queue.get(f"{target}?{query}")
        return [entry[name] for entry in found[member]], found.get("continuationToken", "")

    everything, end = await page("limit=1000")
    assert end == ""
    assert len(everything) == len(set(everything)) >= 4
    first, token = await page("limit=1")
    rest, end = await page(f"continuationToken={token}")
    assert (first + rest, end) == (everything, "")
    some, token = await page(f"continuationToken={token}&limit=2")
    assert some == everything[1:3]
    assert (await page(f"limit=7&continuationToken={token}"))[0] == everything[3:]


async def test_a_token_that_names_no_worker_is_an_input_error(queue: RunningQueue) -> None:
    reply = await queue.call("GET", f"{TYPE}/workers?continuationToken=YWJj")
    assert (reply.status, reply.code) == (400, "InputError")

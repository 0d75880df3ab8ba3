"""claimWork: order, batches, the long poll and its line (``queue-behaviour.md`` 7.1, 7.2)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from tests.api.asgi import Line, Reply
from tests.api.definitions import QUEUES
from tests.api.running_queue import RunningQueue, at

TARGET: Final = f"/claim-work/{QUEUES['build']}"
PRIORITIES: Final = ["highest", "very-high", "high", "medium", "low", "very-low", "lowest"]

patient = pytest.mark.parametrize("long_poll", [20.0])
"""Calls that wait for longer than any test takes."""


def worker(number: int = 1, tasks: int = 1) -> dict[str, Any]:
    return {"workerGroup": "eu-central", "workerId": f"worker-{number}", "tasks": tasks}


def ids(claims: list[dict[str, Any]]) -> list[str]:
    return [claim["status"]["taskId"] for claim in claims]


# ---- what is handed out -------------------------------------------------------------------------------


async def test_a_claim_is_all_that_a_worker_needs(queue: RunningQueue) -> None:
    task_id = await queue.create("decision")
    (claim,) = await queue.claim("decision")
    assert set(claim) == {
        "status",
        "runId",
        "workerGroup",
        "workerId",
        "takenUntil",
        "task",
        "credentials",
    }
    assert claim["task"] == await queue.get(f"/task/{task_id}")
    assert claim["status"] == await queue.status(task_id)
    assert claim["status"]["state"] == "running"
    assert (claim["runId"], claim["workerGroup"], claim["workerId"], claim["takenUntil"]) == (
        0,
        "eu-central",
        "worker-1",
        "2024-05-01T12:20:00.000Z",
    )


async def test_task_running_is_recorded_before_the_reply(queue: RunningQueue) -> None:
    first, other = await queue.create(), await queue.create()
    await queue.messages()
    await queue.claim(tasks=2)
    told = await queue.messages()
    assert [(message.event, message.task_id) for message in told] == [
        (("task-running", 0), first),
        (("task-running", 0), other),
    ]
    assert (told[0].body["workerGroup"], told[0].body["workerId"], told[0].body["takenUntil"]) == (
        "eu-central",
        "worker-1",
        "2024-05-01T12:20:00.000Z",
    )


async def test_a_call_gets_as_many_as_it_asks_for_and_never_waits_for_more(queue: RunningQueue) -> None:
    for _ in range(5):
        await queue.create()
    assert [len(await queue.claim(tasks=number)) for number in (1, 2, 32)] == [1, 2, 2]


async def test_one_task_is_asked_for_when_nothing_is_said(queue: RunningQueue) -> None:
    await queue.create()
    await queue.create()
    body = {"workerGroup": "eu-central", "workerId": "worker-1"}
    assert len((await queue.post(TARGET, body))["tasks"]) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("tasks", [0, 33, -1, "1", 1.5, True, None])
async def test_between_1_and_32_tasks_can_be_asked_for(queue: RunningQueue, tasks: object) -> None:
    reply = await queue.call("POST", TARGET, {**worker(), "tasks": tasks})
    assert reply.code == "InputValidationError"
    assert "`/tasks`" in reply.message


async def test_an_unknown_task_queue_is_an_empty_one(queue: RunningQueue) -> None:
    assert await queue.post("/claim-work/nobody/uses-this", worker()) == {"tasks": []}


async def test_task_queues_do_not_mix(queue: RunningQueue) -> None:
    await queue.create("test")
    assert await queue.claim("build") == []
    assert len(await queue.claim("test")) == 1


# ---- 7.1 the order ------------------------------------------------------------------------------------


async def test_higher_priorities_come_first(queue: RunningQueue) -> None:
    created = {}
    for priority in ["medium", "lowest", "highest", "low", "very-high", "very-low", "high"]:
        created[priority] = await queue.create(priority=priority)
        queue.clock.advance(seconds=1)
    assert ids(await queue.claim(tasks=7)) == [created[priority] for priority in PRIORITIES]


async def test_of_equal_priority_the_oldest_comes_first(queue: RunningQueue) -> None:
    created = [await queue.create() for _ in range(5)]
    assert [ids(await queue.claim())[0] for _ in range(5)] == created


async def test_the_age_is_that_of_the_run_and_not_of_the_task(queue: RunningQueue) -> None:
    retried, rerun, waits = (
        await queue.create(),
        await queue.create(),
        await queue.create(task_id="VXcJ7lLRTuKhEcZBHVS7Zw", dependencies=["VXcJ7lLRTuKhEcZBHVS7Zw"]),
    )
    await queue.claim(tasks=2)
    younger = await queue.create()
    await queue.post(f"/task/{waits}/schedule")
    await queue.post(f"/task/{rerun}/runs/0/failed")
    await queue.post(f"/task/{rerun}/rerun")
    await queue.post(f"/task/{retried}/runs/0/exception", {"reason": "worker-shutdown"})
    assert ids(await queue.claim(tasks=4)) == [younger, waits, rerun, retried]


async def test_a_run_disappears_when_it_is_claimed_or_cancelled(queue: RunningQueue) -> None:
    claimed, cancelled = await queue.create(), await queue.create()
    assert ids(await queue.claim()) == [claimed]
    await queue.post(f"/task/{cancelled}/cancel")
    assert await queue.claim() == []


async def test_a_run_disappears_at_its_deadline(queue: RunningQueue) -> None:
    task_id = await queue.create()
    late = await queue.create()
    queue.clock.set(at("2024-05-01T13:59:59.999Z"))
    assert ids(await queue.claim()) == [task_id]
    queue.clock.advance(milliseconds=1)
    assert await queue.claim() == []
    assert (await queue.status(late))["state"] == "pending"


async def test_every_run_is_handed_out_once(queue: RunningQueue, second: RunningQueue) -> None:
    created = [await queue.create() for _ in range(12)]
    replies = await asyncio.gather(
        *(one.post(TARGET, worker(number, tasks=3)) for number, one in enumerate([queue, second] * 4))
    )
    handed_out = [task_id for reply in replies for task_id in ids(reply["tasks"])]
    assert sorted(handed_out) == sorted(created)


# ---- 7.2 the long poll --------------------------------------------------------------------------------


class Waiting:
    """Workers that wait in line; each call has found nothing when ``joins`` returns."""

    def __init__(self, queue: RunningQueue) -> None:
        self._queue = queue
        self._calls: list[asyncio.Task[Reply]] = []

    async def joins(
        self, number: int, tasks: int = 1, *, target: str = TARGET, line: Line | None = None
    ) -> asyncio.Task[Reply]:
        call = asyncio.create_task(self._queue.call("POST", target, worker(number, tasks), line=line))
        self._calls.append(call)
        outcomes = await self._queue.claim_passes.get()
        assert not any(outcomes)
        return call

    async def leave(self) -> None:
        self._queue.api.desk.close()
        await asyncio.gather(*self._calls)


@pytest.fixture
async def waiting(queue: RunningQueue) -> AsyncIterator[Waiting]:
    line = Waiting(queue)
    yield line
    await line.leave()


async def test_after_the_long_poll_the_answer_is_empty(queue: RunningQueue) -> None:
    before = queue.loop_time()
    assert await queue.post(TARGET, worker()) == {"tasks": []}
    assert queue.loop_time() - before >= 0.05


@patient
async def test_a_task_that_is_created_wakes_the_worker(queue: RunningQueue, waiting: Waiting) -> None:
    call = await waiting.joins(1)
    task_id = await queue.create()
    assert ids((await call).json()["tasks"]) == [task_id]


@patient
@pytest.mark.parametrize("cause", ["schedule", "rerun", "retry", "expiry", "dependency"])
async def test_whatever_makes_a_run_pending_wakes_the_worker(
    queue: RunningQueue, waiting: Waiting, cause: str
) -> None:
    task_id = "VXcJ7lLRTuKhEcZBHVS7Zw"
    if cause == "schedule":
        await queue.create(task_id=task_id, dependencies=[task_id])
    elif cause == "dependency":
        required = await queue.claimed("decision")
        await queue.create(task_id=task_id, dependencies=[required])
    else:
        await queue.claimed(task_id=task_id)
        if cause == "rerun":
            await queue.post(f"/task/{task_id}/runs/0/completed")
    while not queue.claim_passes.empty():
        queue.claim_passes.get_nowait()
    call = await waiting.joins(1)
    match cause:
        case "schedule" | "rerun":
            await queue.post(f"/task/{task_id}/{cause}")
        case "retry":
            await queue.post(f"/task/{task_id}/runs/0/exception", {"reason": "intermittent-task"})
        case "expiry":
            queue.clock.advance(seconds=1200)
            await queue.loops.claims.run_once()
        case "dependency":
            await queue.post(f"/task/{required}/runs/0/completed")
            await queue.settle()
    assert ids((await call).json()["tasks"]) == [task_id]


@patient
async def test_a_waiting_worker_gets_several_tasks_that_come_together(
    queue: RunningQueue, waiting: Waiting
) -> None:
    call = await waiting.joins(1, tasks=32)
    created = await asyncio.gather(*(queue.create() for _ in range(3)))
    assert 1 <= len((await call).json()["tasks"]) <= 3
    rest = await queue.claim(tasks=32) if not await queue.nothing_pending() else []
    assert sorted(ids((await call).json()["tasks"]) + ids(rest)) == sorted(created)


@patient
async def test_waiting_workers_are_served_first_come_first_served(
    queue: RunningQueue, waiting: Waiting
) -> None:
    calls = [await waiting.joins(number) for number in (3, 1, 2)]
    for call in calls:
        task_id = await queue.create()
        assert ids((await call).json()["tasks"]) == [task_id]
    assert [call.result().json()["tasks"][0]["workerId"] for call in calls] == [
        "worker-3",
        "worker-1",
        "worker-2",
    ]


@patient
async def test_a_newcomer_does_not_pass_those_who_wait(queue: RunningQueue, waiting: Waiting) -> None:
    first = await waiting.joins(1)
    newcomer = asyncio.create_task(queue.call("POST", TARGET, worker(2)))
    created = await queue.create()
    assert ids((await first).json()["tasks"]) == [created]
    other = await queue.create()
    assert ids((await newcomer).json()["tasks"]) == [other]


@patient
async def test_a_task_of_another_queue_wakes_nobody_here(queue: RunningQueue, waiting: Waiting) -> None:
    call = await waiting.joins(1)
    await queue.create("test")
    task_id = await queue.create("build")
    assert ids((await call).json()["tasks"]) == [task_id]


@patient
async def test_a_worker_that_waits_at_another_process_is_served_within_about_a_second(
    queue: RunningQueue, second: RunningQueue
) -> None:
    call = asyncio.create_task(second.call("POST", TARGET, worker()))
    assert not any(await second.claim_passes.get())
    task_id = await queue.create()
    before = queue.loop_time()
    assert ids((await call).json()["tasks"]) == [task_id]
    assert queue.loop_time() - before < 3


@patient
async def test_workers_of_many_queues_wait_side_by_side(queue: RunningQueue, waiting: Waiting) -> None:
    builder = await waiting.joins(1)
    tester = await waiting.joins(2, target=f"/claim-work/{QUEUES['test']}")
    tested = await queue.create("test")
    assert ids((await tester).json()["tasks"]) == [tested]
    built = await queue.create("build")
    assert ids((await builder).json()["tasks"]) == [built]


@patient
async def test_a_worker_that_hangs_up_leaves_the_line_and_nothing_is_claimed_for_it(
    queue: RunningQueue, waiting: Waiting
) -> None:
    line = Line()
    gone = await waiting.joins(1, line=line)
    line.hang_up()
    await gone
    task_id = await queue.create()
    assert (await queue.status(task_id))["state"] == "pending"
    assert "task-running" not in {exchange for exchange, _ in await queue.events()}
    assert ids(await queue.claim(worker="worker-2")) == [task_id]


@patient
async def test_a_worker_that_hangs_up_is_passed_over_for_the_next(
    queue: RunningQueue, waiting: Waiting
) -> None:
    line = Line()
    gone = await waiting.joins(1, line=line)
    stays = await waiting.joins(2)
    line.hang_up()
    await gone
    task_id = await queue.create()
    assert ids((await stays).json()["tasks"]) == [task_id]


@patient
async def test_a_worker_that_hung_up_before_its_transaction_gets_nothing(queue: RunningQueue) -> None:
    task_id = await queue.create()
    line = Line()
    line.hang_up()
    reply = await queue.call("POST", TARGET, worker(), line=line)
    claimed = ids(reply.json()["tasks"])
    state = (await queue.status(task_id))["state"]
    assert (claimed, state) in (([], "pending"), ([task_id], "running"))


@patient
async def test_a_call_that_is_abandoned_by_the_server_claims_nothing(
    queue: RunningQueue, waiting: Waiting
) -> None:
    call = await waiting.joins(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    waiting._calls.remove(call)
    task_id = await queue.create()
    assert (await queue.status(task_id))["state"] == "pending"


@patient
async def test_a_service_that_stops_answers_who_waits(queue: RunningQueue, waiting: Waiting) -> None:
    calls = [await waiting.joins(number) for number in (1, 2)]
    await queue.api.close()
    assert [(await call).json() for call in calls] == [{"tasks": []}] * 2
    assert (await queue.call("POST", TARGET, worker(3))).status == 503


@patient
async def test_many_waiting_workers_share_few_transactions(queue: RunningQueue) -> None:
    await asyncio.gather(*(queue.create() for _ in range(40)))
    replies = await asyncio.gather(*(queue.post(TARGET, worker(number)) for number in range(40)))
    assert {len(reply["tasks"]) for reply in replies} == {1}
    assert queue.claim_passes.qsize() <= 4

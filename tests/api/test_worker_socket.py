"""Attached workers: registration, matching, results, loss, holds (``seed-systems.md`` part A)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from queue_service.features.worker_socket import operations, store
from tests.api.attached import AttachedWork, Refused, Socket, attached_work
from tests.api.manual_clock import ManualClock
from tests.api.running_queue import RunningQueue

Json = dict[str, Any]
TAG: Json = {"name": "tag"}


@pytest.fixture
async def work(queue: RunningQueue) -> AsyncIterator[AttachedWork]:
    async with attached_work(queue) as running:
        yield running


async def done(socket: Socket, data: object = None) -> str:
    """Take the next item and do it; its id."""
    item = await socket.receive()
    await socket.send({"task_id": item["task_id"], "result": "done", "data": data})
    return str(item["task_id"])


# ---- connecting --------------------------------------------------------------------------------------


async def test_a_request_that_is_no_upgrade_is_told_to_upgrade(work: AttachedWork) -> None:
    assert (await work.call("GET", "/queue")).status == 426


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [((), None), (("work.v1",), "work.v1"), (("work.v2",), "work.v2"), (("work.v1", "work.v2"), "work.v2")],
)
async def test_the_protocol_is_agreed(
    work: AttachedWork, offered: tuple[str, ...], spoken: str | None
) -> None:
    async with work.socket(protocols=offered) as socket:
        assert socket.subprotocol == spoken


async def test_a_protocol_that_nobody_knows_is_refused(work: AttachedWork) -> None:
    with pytest.raises(Refused) as refused:
        await work.socket(protocols=("graphql-ws",)).__aenter__()
    assert refused.value.status == 400


async def test_the_old_path_is_the_same_socket(work: AttachedWork) -> None:
    task_id = await work.create()
    async with Socket(work.application, "/work/queue", "task=tag") as socket:
        assert (await socket.receive())["task_id"] == task_id


@pytest.mark.parametrize(
    "frame",
    ["[]", "{}", '"tag"', "5", "[{}]", '[{"name": "1st"}]', '[{"name": "tag"}, {"name": "tag"}]', "[{"],
)
async def test_a_registration_that_is_none_closes_the_socket(work: AttachedWork, frame: str) -> None:
    async with work.socket() as socket:
        await socket.send(frame)
        assert (await socket.closed()).code == 4400


async def test_who_has_no_credentials_must_authorize_first(queue: RunningQueue) -> None:
    async with attached_work(queue, no_auth=False) as work, work.socket() as socket:
        await socket.send([TAG])
        assert (await socket.closed()).code == 4401


async def test_a_token_that_is_not_valid_closes_at_once(queue: RunningQueue) -> None:
    queue.permit.distrust()
    async with attached_work(queue, no_auth=False) as work, work.socket() as socket:
        await socket.send({"kind": "authorization", "jwt": "Bearer nonsense"})
        assert (await socket.closed()).code == 4401


async def test_a_token_opens_the_socket(queue: RunningQueue) -> None:
    async with attached_work(queue, no_auth=False) as work, work.socket() as socket:
        await socket.send({"kind": "authorization", "jwt": "Bearer of-a-signed-url"})
        await socket.send([TAG])
        task_id = await work.create()
        assert (await socket.receive())["task_id"] == task_id


async def test_credentials_that_are_not_valid_refuse_the_handshake(work: AttachedWork) -> None:
    work.queue.permit.distrust()
    with pytest.raises(Refused) as refused:
        await work.socket(headers={"Authorization": "Hawk id=..."}).__aenter__()
    assert refused.value.status == 401


async def test_each_name_needs_a_scope(work: AttachedWork) -> None:
    work.queue.permit.deny()
    async with work.socket() as socket:
        await socket.send([TAG])
        assert (await socket.closed()).code == 4403
    assert work.queue.permit.asked[-1] == "work:attach:tag"


# ---- items and answers -------------------------------------------------------------------------------


async def test_an_item_is_a_frame_and_its_answer_the_output(work: AttachedWork) -> None:
    socket = await work.attached(TAG)
    task_id = await work.create(data={"update": [1]}, attrs={"cloud": "aws"})
    item = await socket.receive()
    assert {**item, "deadline": ""} == {
        "task_id": task_id,
        "task_name": "tag",
        "data": {"update": [1]},
        "attrs": {"cloud": "aws"},
        "run_id": 0,
        "deadline": "",
    }
    await socket.send({"task_id": task_id, "result": "done", "data": {"ok": True}})
    await work.settled()
    assert await work.state(task_id) == "completed"
    assert (await work.queue.get(f"/task/{task_id}/attempts"))["output"] == {"ok": True}
    await socket.hang_up()


async def test_an_error_is_final_and_has_a_text(work: AttachedWork) -> None:
    socket = await work.attached(TAG)
    task_id = await work.create()
    await socket.receive()
    await socket.send({"task_id": task_id, "result": "error"})
    await work.settled()
    assert await work.state(task_id) == "failed"
    (error,) = (await work.queue.get(f"/task/{task_id}/attempts"))["errors"]
    assert error["error"] == "worker signalled error without detailed error message"
    await socket.hang_up()


@pytest.mark.parametrize("frame", ["", " \n", '{"task_id": "x", "result": "maybe"}', '{"result": "done"}'])
async def test_frames_that_say_nothing_leave_the_connection_up(work: AttachedWork, frame: str) -> None:
    socket = await work.attached(TAG)
    await socket.send(frame)
    task_id = await work.create()
    assert await done(socket) == task_id
    await socket.hang_up()


@pytest.mark.parametrize(
    "frame",
    ["{", r'{"data": "\ud800"}', r'{"\ud800": 1}', "[" * 1000 + "]" * 1000, "1" * 5000],
    ids=["cut off", "half a character", "of a name", "deep", "endless number"],
)
async def test_a_frame_that_is_no_json_is_a_connection_loss(work: AttachedWork, frame: str) -> None:
    socket = await work.attached(TAG)
    await work.create()
    await socket.receive()
    await socket.send(frame)
    assert (await socket.closed()).code == 1007
    assert work.gateway.connections == {}


@pytest.mark.parametrize(
    ("members", "state"),
    [
        (r'"result": "done", "data": "\u0000"', "completed"),
        (r'"result": "done", "data": [NaN, 1e999]', "completed"),
        (r'"result": "error", "error": "a\u0000b"', "failed"),
        (f'"result": "error", "error": "{"x" * 100_000}"', "failed"),
    ],
    ids=["NUL", "not a number", "NUL in an error", "long error"],
)
async def test_an_odd_answer_is_an_answer(work: AttachedWork, members: str, state: str) -> None:
    socket = await work.attached(TAG)
    task_id = await work.create()
    await socket.receive()
    await socket.send(f'{{"task_id": "{task_id}", {members}}}')
    await socket.hang_up()
    await work.settled()
    assert await work.state(task_id) == state


async def test_only_the_first_answer_counts_and_only_of_who_has_the_item(work: AttachedWork) -> None:
    first, second = await work.attached(TAG), await work.attached({"name": "other"})
    task_id = await work.create()
    await first.receive()
    await second.send({"task_id": task_id, "result": "error", "error": "not mine"})
    await first.send({"task_id": task_id, "result": "done"})
    await first.send({"task_id": task_id, "result": "error"})
    await first.hang_up()
    await second.hang_up()
    await work.settled()
    assert await work.state(task_id) == "completed"
    assert work.gateway.stale_results == 2


async def test_an_output_that_is_too_large_fails_the_item(work: AttachedWork) -> None:
    socket = await work.attached(TAG)
    task_id = await work.create()
    await socket.receive()
    await socket.send({"task_id": task_id, "result": "done", "data": "x" * (256 * 1024)})
    await work.settled()
    assert await work.state(task_id) == "failed"
    await socket.hang_up()


# ---- choosing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attrs", "chosen"),
    [
        ({"cloud": "aws", "account": "123"}, 1),
        ({"cloud": "aws", "account": "999"}, 0),
        ({"cloud": "gcp"}, 0),
        ({"cloud": "azure"}, 2),
        ({}, 2),
        ({"cloud": ""}, 2),
    ],
)
async def test_the_most_specific_worker_gets_the_item(
    work: AttachedWork, attrs: dict[str, str], chosen: int
) -> None:
    sockets = [
        await work.attached({**TAG, "filter": {"cloud": ["aws", "gcp"]}}),
        await work.attached({**TAG, "filter": {"cloud": ["aws"], "account": ["123"]}}),
        await work.attached(TAG),
    ]
    task_id = await work.create(attrs=attrs)
    await work.settled()
    assert [socket.silent for socket in sockets] == [place != chosen for place in range(3)]
    assert (await sockets[chosen].receive())["task_id"] == task_id
    for socket in sockets:
        await socket.hang_up()


async def test_equal_workers_get_equally_much(work: AttachedWork) -> None:
    for _ in range(20):
        await work.create()
    sockets = [await work.attached(TAG, capacity=5) for _ in range(4)]
    await work.settled()
    assert [len(one.in_flight) for one in work.gateway.connections.values()] == [5, 5, 5, 5]
    for socket in sockets:
        await socket.hang_up()


async def test_a_full_tier_waits_unless_the_item_may_spill_over(work: AttachedWork) -> None:
    special = await work.attached({**TAG, "filter": {"cloud": ["aws"]}}, capacity=1)
    general = await work.attached(TAG, capacity=10)
    first = await work.create(attrs={"cloud": "aws"})
    waits = await work.create(attrs={"cloud": "aws"})
    spills = await work.create(attrs={"cloud": "aws"}, spillover=True)
    await work.settled()
    assert (await general.receive())["task_id"] == spills
    assert await work.state(waits) == "pending"
    item = await special.receive()
    assert item["task_id"] == first
    await special.send({"task_id": first, "run_id": 0, "result": "done"})
    assert (await special.receive())["task_id"] == waits
    await special.hang_up()
    await general.hang_up()


async def test_a_free_slot_that_nothing_waits_for_is_no_reason_to_look(
    work: AttachedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await work.attached(TAG)
    task_id = await work.create()
    await socket.receive()
    await work.settled()
    looks: list[None] = []

    async def look() -> int:
        looks.append(None)
        return 0

    monkeypatch.setattr(work.gateway, "run_once", look)
    await socket.send({"task_id": task_id, "result": "done"})
    await work.settled()
    assert await work.state(task_id) == "completed"
    assert looks == []


async def test_an_item_that_nobody_takes_blocks_no_other(work: AttachedWork) -> None:
    await work.create(attrs={"cloud": "azure"}, priority="high")
    task_id = await work.create(attrs={"cloud": "aws"})
    socket = await work.attached({**TAG, "filter": {"cloud": ["aws"]}})
    assert (await socket.receive())["task_id"] == task_id
    await socket.hang_up()


async def test_a_filter_may_stand_in_the_url(work: AttachedWork) -> None:
    async with work.socket("task=tag,other&cloud=aws,gcp") as socket:
        await work.create(attrs={"cloud": "azure"})
        task_id = await work.create("other", attrs={"cloud": "gcp"})
        assert (await socket.receive())["task_id"] == task_id
        assert socket.silent


# ---- holds, time and loss ----------------------------------------------------------------------------


async def test_a_held_item_goes_to_who_attaches(work: AttachedWork) -> None:
    task_id = await work.create()
    (held,) = (await work.get("/held"))["items"]
    assert (held["taskId"], held["heldUntil"]) == (task_id, "2024-05-01T12:00:30.000Z")
    socket = await work.attached(TAG)
    assert (await socket.receive())["task_id"] == task_id
    assert (await work.get("/held"))["items"] == []
    await socket.hang_up()


async def test_an_item_that_was_held_too_long_is_given_up(work: AttachedWork, clock: ManualClock) -> None:
    task_id = await work.create(holdTimeout=10)
    clock.advance(seconds=9, milliseconds=999)
    assert await work.holds.run_once() == 0
    clock.advance(milliseconds=1)
    assert await work.holds.run_once() == 1
    run = await work.queue.run(task_id)
    assert (run["state"], run["reasonResolved"], run["runId"]) == ("exception", "resource-unavailable", 0)


async def test_mute_workers_are_handed_an_item_once_more_than_it_has_retries(
    work: AttachedWork, clock: ManualClock
) -> None:
    sockets = [await work.attached(TAG) for _ in range(4)]
    for _ in range(20):
        await work.create(retries=3, timeout=30)
    handed = 0
    for _ in range(4):
        await work.settled()
        handed += sum(len(one.in_flight) for one in work.gateway.connections.values())
        clock.advance(seconds=31)
        while await work.queue.loops.claims.run_once():
            pass
        await work.gateway.check_once()
    await work.settled()
    assert handed == 80
    assert all(not one.in_flight for one in work.gateway.connections.values())
    assert (await work.get("/held"))["items"] == []
    for socket in sockets:
        await socket.hang_up()


async def test_the_items_of_a_lost_worker_go_to_others_at_once(work: AttachedWork) -> None:
    first = await work.attached(TAG)
    task_id = await work.create()
    await first.receive()
    second = await work.attached(TAG)
    await first.hang_up()
    item = await second.receive()
    assert (item["task_id"], item["run_id"]) == (task_id, 1)
    status = await work.queue.status(task_id)
    assert (status["runs"][0]["reasonResolved"], status["retriesLeft"]) == ("worker-shutdown", 4)
    await second.hang_up()


async def test_an_item_without_retries_ends_with_its_worker(work: AttachedWork) -> None:
    socket = await work.attached(TAG)
    task_id = await work.create(retries=0)
    await socket.receive()
    await socket.hang_up()
    assert (await work.queue.run(task_id))["reasonResolved"] == "worker-shutdown"
    assert await work.state(task_id) == "exception"


async def test_the_items_of_a_gateway_that_is_gone_are_taken_over(
    work: AttachedWork, queue: RunningQueue, clock: ManualClock
) -> None:
    socket = await work.attached(TAG)
    task_id = await work.create(timeout=3600)
    await socket.receive()
    assert await queue.database.write(operations.take_over) == 0
    clock.advance(seconds=31)
    assert await queue.database.write(operations.take_over) == 1
    assert (await queue.run(task_id, 0))["reasonResolved"] == "worker-shutdown"
    await socket.hang_up()


async def test_other_gateways_are_told_equal_descriptions_once(
    work: AttachedWork, queue: RunningQueue, clock: ManualClock
) -> None:
    filtered = {**TAG, "filter": {"cloud": ["gcp", "aws"]}}
    sockets = [await work.attached(TAG), await work.attached(filtered), await work.attached(TAG)]
    async with queue.database.read() as connection:
        told = await store.others(connection, "another gateway", clock.now())
    assert told == [["tag", {}], ["tag", {"cloud": ["aws", "gcp"]}]]
    for socket in sockets:
        await socket.hang_up()


async def test_attaching_and_detaching_is_told(work: AttachedWork, queue: RunningQueue) -> None:
    socket = await work.attached(TAG)
    await socket.hang_up()
    told = [message for message in await queue.messages() if "taskbus-work" in message.exchange]
    assert [message.exchange.rpartition("/")[2] for message in told] == ["worker-attached", "worker-detached"]
    assert {message.body["workerGroup"] for message in told} == {work.gateway.name}
    assert {message.body["taskName"] for message in told} == {"tag"}
    assert [message.body.get("firstSeen") for message in told] == [True, None]


async def test_the_task_queue_of_an_idle_worker_is_known(
    work: AttachedWork, queue: RunningQueue, clock: ManualClock
) -> None:
    tasks = [{"name": "Tag_it"}, {"name": "ends-"}]
    socket = await work.attached(*tasks, capacity=1)
    paused = await queue.post("/task-queues/attached%2Ftag-it/pause")
    assert paused["taskQueues"][0]["taskQueueId"] == "attached/tag-it"
    clock.advance(hours=23)
    await socket.send({"kind": "hello", "tasks": tasks})
    await socket.receive()
    clock.advance(hours=23)
    listed = (await queue.get("/task-queues"))["taskQueues"]
    assert [one["taskQueueId"] for one in listed] == ["attached/tag-it"]
    await socket.hang_up()


# ---- work.v2 -----------------------------------------------------------------------------------------


async def test_more_time_is_given_up_to_the_deadline(work: AttachedWork, clock: ManualClock) -> None:
    socket = await work.attached(TAG, capacity=1)
    task_id = await work.create(timeout=30)
    await socket.receive()
    await socket.send({"kind": "extend", "task_id": task_id, "run_id": 0, "seconds": 600})
    told = await socket.receive()
    assert (told["kind"], told["taken_until"]) == ("extended", "2024-05-01T12:10:00.000Z")
    assert (await work.queue.run(task_id))["takenUntil"] == "2024-05-01T12:10:00.000Z"
    status = await work.queue.status(task_id)
    for seconds in (86_400, 86_401, 1e300):
        await socket.send({"kind": "extend", "task_id": task_id, "run_id": 0, "seconds": seconds})
        assert (await socket.receive())["taken_until"] == status["deadline"]
    await socket.hang_up()


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [("extend", 0), ("extend", -1), ("snooze", -1), ("snooze", 86_401)],
)
async def test_a_time_that_no_item_can_have_is_refused(
    work: AttachedWork, kind: str, seconds: object
) -> None:
    socket = await work.attached(TAG, capacity=1)
    task_id = await work.create()
    await socket.receive()
    await socket.send({"kind": kind, "task_id": task_id, "run_id": 0, "seconds": seconds})
    told = await socket.receive()
    assert (told["kind"], told["code"], told["task_id"]) == ("error", "InvalidFrame", task_id)
    assert told["message"].startswith("`/seconds`")
    await socket.hang_up()


async def test_a_snoozed_item_comes_again_with_its_run(work: AttachedWork, clock: ManualClock) -> None:
    socket = await work.attached(TAG, capacity=1)
    task_id = await work.create()
    await socket.receive()
    await socket.send({"kind": "snooze", "task_id": task_id, "run_id": 0, "seconds": 0})
    item = await socket.receive()
    assert (item["task_id"], item["run_id"]) == (task_id, 0)
    await socket.hang_up()


async def test_an_expired_claim_is_told(work: AttachedWork, clock: ManualClock) -> None:
    socket = await work.attached(TAG, capacity=1)
    task_id = await work.create(retries=0)
    await socket.receive()
    clock.advance(seconds=31)
    await work.queue.loops.claims.run_once()
    await work.gateway.check_once()
    told = await socket.receive()
    assert (told["kind"], told["task_id"], told["reason"]) == ("cancel", task_id, "claim-expired")
    await socket.hang_up()


async def test_a_worker_that_drains_finishes_what_it_has(work: AttachedWork) -> None:
    socket = await work.attached(TAG, capacity=5)
    task_id = await work.create()
    await socket.receive()
    await socket.send({"kind": "drain"})
    await socket.send({"kind": "progress", "task_id": task_id, "run_id": 0, "percent": 50})
    await socket.send({"task_id": task_id, "run_id": 0, "result": "done"})
    assert (await socket.closed()).code == 1000
    await work.settled()
    assert await work.state(task_id) == "completed"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"kind": "dance"}, "UnknownFrame"),
        ([TAG], "UnknownFrame"),
        ({"kind": "extend", "task_id": "fN1SbArXTPSVFNUvaOlinQ", "run_id": 0, "seconds": -1}, "InvalidFrame"),
        ({"task_id": "fN1SbArXTPSVFNUvaOlinQ", "result": "done"}, "InvalidFrame"),
        ({"kind": "hello", "tasks": []}, "InvalidFrame"),
        ({"kind": "hello", "capacity": 1001, "tasks": [TAG]}, "InvalidFrame"),
    ],
)
async def test_a_refused_frame_is_told_and_the_connection_stays(
    work: AttachedWork, frame: object, code: str
) -> None:
    socket = await work.attached(TAG, capacity=1)
    await socket.send(frame)
    told = await socket.receive()
    assert (told["kind"], told["code"]) == ("error", code)
    await socket.hang_up()


async def test_a_second_hello_replaces_the_descriptions(work: AttachedWork) -> None:
    socket = await work.attached(TAG, capacity=1)
    await socket.send({"kind": "hello", "capacity": 2, "tasks": [{"name": "other"}]})
    assert (await socket.receive())["kind"] == "registered"
    await work.create()
    task_id = await work.create("other")
    assert (await socket.receive())["task_id"] == task_id
    await socket.hang_up()


# ---- the HTTP side -----------------------------------------------------------------------------------


async def waiting(work: AttachedWork, **members: Any) -> "asyncio.Task[Any]":
    return asyncio.create_task(work.call("POST", "/tasks?wait=30", {"name": "tag", **members}))


async def test_a_caller_that_waits_gets_the_output(work: AttachedWork) -> None:
    socket = await work.attached(TAG)
    calling = await waiting(work)
    await done(socket, {"ok": 1})
    reply = await calling
    assert (reply.status, reply.json()["output"]) == (200, {"ok": 1})
    await socket.hang_up()


async def test_a_caller_that_waits_is_told_why_it_failed(work: AttachedWork) -> None:
    socket = await work.attached(TAG)
    calling = await waiting(work)
    item = await socket.receive()
    await socket.send({"task_id": item["task_id"], "result": "error", "error": "boom"})
    reply = await calling
    assert "Error executing task: boom" in reply.json()["message"]
    await socket.hang_up()


async def test_a_caller_that_waits_is_told_that_the_worker_was_lost(work: AttachedWork) -> None:
    socket = await work.attached(TAG)
    calling = await waiting(work, retries=0)
    await socket.receive()
    await socket.hang_up()
    reply = await calling
    assert (reply.status, reply.json()["code"]) == (502, "WorkerLost")


async def test_a_caller_that_waits_is_told_that_there_is_no_worker(
    work: AttachedWork, clock: ManualClock
) -> None:
    stored = asyncio.Event()
    work.queue.database.subscribe(lambda signal: stored.set())
    calling = await waiting(work, holdTimeout=1)
    async with asyncio.timeout(20):
        await stored.wait()
    clock.advance(seconds=2)
    await work.holds.run_once()
    reply = await calling
    assert (reply.status, reply.json()["code"]) == (504, "NoWorker")
    assert "no worker for task: tag" in reply.json()["message"]


async def test_an_item_is_created_once_for_its_id(work: AttachedWork, clock: ManualClock) -> None:
    task_id = await work.create()
    clock.advance(seconds=1)
    assert await work.create(taskId=task_id) == task_id
    reply = await work.call("POST", "/tasks", {"name": "tag", "taskId": task_id, "data": 1})
    assert (reply.status, reply.json()["code"]) == (409, "RequestConflict")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "`/name`"),
        ({"name": "1st"}, "`/name`"),
        ({"name": "tag", "timeout": 0}, "`/timeout`"),
        ({"name": "tag", "timeout": "25h"}, "`/timeout`"),
        ({"name": "tag", "attrs": {"a": 1}}, "`/attrs/a`"),
        ({"name": "tag", "attrs": {str(number): "x" for number in range(21)}}, "`/attrs`"),
        ({"name": "tag", "more": 1}, "`/more`"),
    ],
)
async def test_an_item_of_another_shape_is_refused_with_the_place(
    work: AttachedWork, body: Json, place: str
) -> None:
    reply = await work.call("POST", "/tasks", body)
    assert reply.status == 400
    assert place in reply.json()["message"]
    assert (await work.get("/held"))["items"] == []


async def test_what_workers_have_is_listed_also_at_the_old_path(work: AttachedWork) -> None:
    socket = await work.attached(TAG)
    task_id = await work.create(data={"a": 1}, attrs={"cloud": "aws"})
    item = await socket.receive()
    listed = (await work.call("GET", "/list")).json()
    assert listed == [
        {
            "task": {"task_id": task_id, "task_name": "tag", "data": {"a": 1}, "attrs": {"cloud": "aws"}},
            "worker": next(iter(work.gateway.connections)),
            "retry_counter": 5,
            "deadline": item["deadline"],
        }
    ]
    (shown,) = (await work.get("/workers"))["workers"]
    assert (shown["inFlight"], shown["capacity"], shown["tasks"][0]["name"]) == (1, 100, "tag")
    await socket.hang_up()


@pytest.mark.parametrize("seconds", ["61", "-1", "1.5", "soon"])
async def test_a_wait_is_60_seconds_at_most(work: AttachedWork, seconds: str) -> None:
    reply = await work.call("POST", f"/tasks?wait={seconds}", {"name": "tag"})
    assert (reply.status, reply.code) == (400, "InvalidRequestArguments")
    assert (await work.queue.stored())["tasks"] == 0


async def test_a_server_that_stops_tells_its_workers_and_lets_them_finish(work: AttachedWork) -> None:
    socket = await work.attached(TAG, capacity=5)
    task_id = await work.create()
    await socket.receive()
    draining = asyncio.create_task(work.gateway.drain(60))
    assert await socket.receive() == {"kind": "drain", "deadline": "2024-05-01T12:01:00.000Z"}
    later = await work.create()
    await socket.send({"task_id": task_id, "run_id": 0, "result": "done"})
    assert (await socket.closed()).code == 1000
    await draining
    await work.settled()
    assert (await work.state(task_id), await work.state(later)) == ("completed", "pending")


async def test_a_server_that_stops_does_not_wait_for_workers_that_have_nothing(work: AttachedWork) -> None:
    sockets = [await work.attached(TAG), await work.attached(TAG, capacity=5)]
    async with asyncio.timeout(30):
        await work.gateway.drain(3600)
    assert [(await socket.closed()).code for socket in sockets] == [1000, 1000]


async def test_who_attaches_to_a_server_that_stops_is_sent_elsewhere(work: AttachedWork) -> None:
    async with asyncio.timeout(30):
        await work.gateway.drain(3600)
    late = work.socket()
    await late.__aenter__()
    await late.send([TAG])
    assert (await late.closed()).code == 1000

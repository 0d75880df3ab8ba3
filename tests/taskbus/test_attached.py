"""AttachedWorker against a scripted server: frames, loss, refusals, ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import RawTestServer

from taskbus import (
    AttachedItem,
    AttachedTask,
    AttachedWorker,
    AuthenticationFailed,
    Conflict,
    InsufficientScopes,
)
from taskbus.errors import TaskFailed
from taskbus.outcomes import Snoozed
from taskbus.transport import FIRST_DELAY
from tests.taskbus.manual_clock import ManualClock
from tests.taskbus.samples import TASK_ID

Json = dict[str, Any]
SECONDS = 20.0


class Server:
    """Registers whoever attaches; the test plays the rest."""

    def __init__(self) -> None:
        self.sockets: asyncio.Queue[web.WebSocketResponse] = asyncio.Queue()
        self.frames: asyncio.Queue[Json] = asyncio.Queue()
        self.hello: Json = {}
        self.headers: list[dict[str, str]] = []
        self.refuses = 0
        self._server = RawTestServer(self._handle)

    async def start(self) -> str:
        await self._server.start_server()
        return str(self._server.make_url("")).rstrip("/")

    async def stop(self) -> None:
        await self._server.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        if self.refuses:
            return web.Response(status=self.refuses)
        socket = web.WebSocketResponse(protocols=["work.v2"])
        await socket.prepare(request)
        self.hello = await socket.receive_json()
        await socket.send_json({"kind": "registered", "worker_id": "w1", "tasks": self.hello["tasks"]})
        self.sockets.put_nowait(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                frame = json.loads(message.data)
                self.frames.put_nowait(frame)
                if frame.get("kind") == "drain":
                    await socket.close(code=1000)
        return socket

    async def socket(self) -> web.WebSocketResponse:
        async with asyncio.timeout(SECONDS):
            return await self.sockets.get()

    async def frame(self) -> Json:
        async with asyncio.timeout(SECONDS):
            return await self.frames.get()


def item(data: object = None, *, name: str = "tag", run_id: int = 0, **attrs: str) -> Json:
    told = {"task_id": TASK_ID, "task_name": name, "data": data, "attrs": attrs, "run_id": run_id}
    return {**told, "deadline": "2024-05-01T12:00:30.000Z"}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.stop()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def attach(
    server: Server, clock: ManualClock
) -> AsyncIterator[Callable[..., "tuple[AttachedWorker, asyncio.Task[None]]"]]:
    """Start a worker with this handler; it is stopped in the end."""
    root_url = await server.start()
    started = []

    def start(
        handler: Callable[[AttachedItem], Any], **filter: list[str]
    ) -> tuple[AttachedWorker, asyncio.Task[None]]:
        task = AttachedTask("tag", handler, filter)
        worker = AttachedWorker(root_url, tasks=[task], credentials=None, clock=clock, jitter=lambda: 0.0)
        started.append((worker, asyncio.create_task(worker.run())))
        return started[-1]

    yield start
    for worker, running in started:
        worker.stop()
        await asyncio.wait({running}, timeout=SECONDS)


async def test_it_says_what_it_takes(server: Server, attach: Any) -> None:
    attach(lambda item: None, cloud=["aws", "gcp"])
    await server.socket()
    tasks = [{"name": "tag", "filter": {"cloud": ["aws", "gcp"]}}]
    assert server.hello == {"kind": "hello", "capacity": 10, "tasks": tasks}


def threaded(item: AttachedItem) -> object:
    return {"of": item.data}


async def awaited(item: AttachedItem) -> object:
    return {"of": item.data}


@pytest.mark.parametrize("handler", [threaded, awaited])
async def test_what_a_handler_returns_is_the_answer(server: Server, attach: Any, handler: Any) -> None:
    attach(handler)
    await (await server.socket()).send_json(item(7, run_id=3))
    answer = await server.frame()
    assert answer == {"task_id": TASK_ID, "run_id": 3, "result": "done", "data": {"of": 7}}


def found_wanting(item: AttachedItem) -> None:
    raise TaskFailed("not good")


def broken(item: AttachedItem) -> None:
    raise KeyError("x")


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (found_wanting, "not good"),
        (broken, "KeyError: 'x'"),
        (lambda item: object(), "the result is not JSON"),
        (lambda item: "x" * 300_000, "the limit is 262144"),
    ],
    ids=["failed", "raised", "no JSON", "too large"],
)
async def test_what_goes_wrong_is_told(server: Server, attach: Any, handler: Any, error: str) -> None:
    attach(handler)
    await (await server.socket()).send_json(item())
    answer = await server.frame()
    assert answer["result"] == "error"
    assert error in answer["error"]


async def test_an_item_is_put_off(server: Server, attach: Any) -> None:
    attach(lambda item: Snoozed(30))
    await (await server.socket()).send_json(item())
    assert await server.frame() == {"kind": "snooze", "task_id": TASK_ID, "run_id": 0, "seconds": 30}


async def test_a_thread_tells_its_progress_and_asks_for_time(server: Server, attach: Any) -> None:
    def handler(item: AttachedItem) -> None:
        item.progress(percent=50, message="half")
        item.extend(600)

    attach(handler)
    await (await server.socket()).send_json(item())
    of_item = {"task_id": TASK_ID, "run_id": 0}
    frames = [await server.frame() for _ in range(3)]
    assert frames[:2] == [
        {"kind": "progress", **of_item, "percent": 50, "message": "half"},
        {"kind": "extend", **of_item, "seconds": 600},
    ]


async def test_time_that_is_granted_moves_the_deadline_and_a_cancel_ends_it(
    server: Server, attach: Any
) -> None:
    begun: asyncio.Queue[AttachedItem] = asyncio.Queue()

    async def handler(item: AttachedItem) -> None:
        begun.put_nowait(item)
        await asyncio.Event().wait()

    attach(handler)
    socket = await server.socket()
    await socket.send_json(item("first"))
    first = await begun.get()
    of_item = {"task_id": TASK_ID, "run_id": 0}
    await socket.send_json({"kind": "extended", **of_item, "taken_until": "2024-05-01T13:00:00.000Z"})
    await socket.send_json({"kind": "cancel", **of_item, "reason": "canceled"})
    await socket.send_json(item("second"))
    second = await begun.get()
    assert first.deadline.hour == 13
    assert (first.cancelled, second.cancelled) == (True, False)


# ---- typed jobs --------------------------------------------------------------------------------------

JOB: Json = {"type": "FILE_ETL", "type_version": 1, "completed_steps": ["Extract"], "cursor": 7}
OF_ITEM: Json = {"task_id": TASK_ID, "run_id": 0}


async def steps(item: AttachedItem) -> object:
    async with item.step("Extract") as step:
        done_before = step.completed
    async with item.step("Load") as step:
        await step.save((item.cursor or 0) + 1)
        item.progress(50, step="Load")
        await item.log("half")
    await item.put_output([1])
    return done_before


def steps_in_a_thread(item: AttachedItem) -> object:
    with item.step("Extract") as step:
        done_before = step.completed
    with item.step("Load") as step:
        step.save_now((item.cursor or 0) + 1)
        item.progress(50, step="Load")
    return done_before


async def answered(server: Server, socket: web.WebSocketResponse) -> list[Json]:
    """The frames up to the answer to the item; every report is answered."""
    frames = []
    while "result" not in (frame := await server.frame()):
        if "id" in frame:
            await socket.send_json({"kind": "reported", "id": frame.pop("id"), **OF_ITEM})
        frames.append({name: value for name, value in frame.items() if name not in OF_ITEM})
    return [*frames, frame]


@pytest.mark.parametrize("handler", [steps, steps_in_a_thread])
async def test_a_handler_tells_steps_as_with_the_claims_of_http(
    server: Server, attach: Any, handler: Any
) -> None:
    attach(handler)
    socket = await server.socket()
    await socket.send_json({**item({}), "job": JOB})
    *frames, answer = await answered(server, socket)
    assert [frame for frame in frames if frame["kind"] in ("step", "progress")] == [
        {"kind": "step", "step": "Load", "state": "RUNNING"},
        {"kind": "step", "step": "Load", "state": "RUNNING", "cursor": 8},
        {"kind": "progress", "step": "Load", "percent": 50},
        {"kind": "step", "step": "Load", "state": "DONE"},
    ]
    assert answer["data"] is True
    if handler is steps:
        assert {"kind": "log", "message": "half", "level": "info"} in frames
        assert {"kind": "output", "output": [1]} in frames


@pytest.mark.parametrize("handler", [steps, steps_in_a_thread])
async def test_of_an_item_that_is_no_job_nothing_is_told(server: Server, attach: Any, handler: Any) -> None:
    attach(handler)
    await (await server.socket()).send_json(item())
    frames = [await server.frame(), await server.frame()]
    assert [frame.get("kind") for frame in frames] == ["progress", None]
    assert frames[1]["data"] is False


async def test_a_step_that_is_refused_is_an_error_of_the_handler(server: Server, attach: Any) -> None:
    async def handler(item: AttachedItem) -> object:
        with pytest.raises(Conflict, match="cannot begin"):
            async with item.step("Load"):
                raise AssertionError("it has not begun")
        return "told"

    attach(handler)
    socket = await server.socket()
    await socket.send_json({**item(), "job": JOB})
    id = (await server.frame())["id"]
    await socket.send_json(
        {"kind": "error", "code": "RequestConflict", "message": "cannot begin", "id": id, **OF_ITEM}
    )
    assert (await server.frame())["data"] == "told"


async def test_a_report_that_cannot_be_written_now_is_sent_again(
    server: Server, attach: Any, clock: ManualClock
) -> None:
    async def handler(item: AttachedItem) -> None:
        await item.put_output(1)

    attach(handler)
    socket = await server.socket()
    await socket.send_json({**item(), "job": JOB})
    refused = await server.frame()
    unavailable = {"kind": "error", "code": "Unavailable", "message": "away", "id": refused["id"]}
    await socket.send_json({**unavailable, **OF_ITEM})
    await clock.pass_by(FIRST_DELAY)
    frames = await answered(server, socket)
    assert frames[0] == {"kind": "output", "output": 1}


async def test_a_graceful_cancellation_is_shown_to_the_handler_whose_answer_counts(
    server: Server, attach: Any
) -> None:
    begun: asyncio.Queue[AttachedItem] = asyncio.Queue()
    end = asyncio.Event()

    async def handler(item: AttachedItem) -> str:
        begun.put_nowait(item)
        await end.wait()
        return "done all the same"

    attach(handler)
    socket = await server.socket()
    await socket.send_json({**item(), "job": JOB})
    given = await begun.get()
    assert (given.type, given.cancel_requested) == ("FILE_ETL", False)
    await socket.send_json(
        {"kind": "cancel", **OF_ITEM, "mode": "graceful", "reason": "canceled", "message": "wrong file"}
    )
    await socket.send_json(item("next", run_id=1))
    await begun.get()
    assert (given.cancel_requested, given.cancelled, given.cancel_reason) == (True, False, "wrong file")
    end.set()
    assert (await server.frame())["data"] == "done all the same"


async def test_a_thread_that_waits_for_an_answer_learns_of_a_cancellation(
    server: Server, attach: Any
) -> None:
    ended: asyncio.Queue[object] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def handler(item: AttachedItem) -> None:
        try:
            item.step("Load").__enter__()
        except BaseException as error:
            loop.call_soon_threadsafe(ended.put_nowait, (type(error), item.cancelled))
            raise

    attach(handler)
    socket = await server.socket()
    await socket.send_json({**item(), "job": JOB})
    await server.frame()
    await socket.send_json({"kind": "cancel", **OF_ITEM, "reason": "canceled"})
    async with asyncio.timeout(SECONDS):
        assert await ended.get() == (asyncio.CancelledError, True)


# ---- choosing, loss, ends ----------------------------------------------------------------------------


async def test_the_most_specific_handler_gets_the_item(server: Server, attach: Any) -> None:
    worker, _ = attach(lambda item: "any")
    worker.handle("tag", filter={"cloud": "aws"})(lambda item: "special")
    socket = await server.socket()
    await socket.send_json(item(cloud="aws", account="1"))
    assert (await server.frame())["data"] == "special"
    await socket.send_json(item(cloud="gcp"))
    assert (await server.frame())["data"] == "any"


async def test_after_a_loss_it_is_a_new_worker_that_answers_nothing_old(
    server: Server, attach: Any, clock: ManualClock
) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(item: AttachedItem) -> object:
        if item.data == "new":
            return "new"
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
        return "old"

    attach(handler)
    first = await server.socket()
    await first.send_json(item("old"))
    await begun.wait()
    await first.close(code=1011)
    await clock.asleep(1.0)
    assert cancelled.is_set()
    clock.advance(1.0)
    await (await server.socket()).send_json(item("new", run_id=1))
    answer = await server.frame()
    assert (answer["run_id"], answer["data"]) == (1, "new")


async def test_a_server_that_is_away_is_tried_again(server: Server, attach: Any, clock: ManualClock) -> None:
    server.refuses = 503
    attach(threaded)
    await clock.asleep(1.0)
    clock.advance(1.0)
    await clock.asleep(2.0)
    server.refuses = 0
    clock.advance(2.0)
    await server.socket()


async def test_credentials_that_are_not_valid_end_it(server: Server, attach: Any) -> None:
    server.refuses = 401
    _, running = attach(threaded)
    with pytest.raises(AuthenticationFailed):
        await running


async def test_a_missing_scope_ends_it(server: Server, attach: Any) -> None:
    _, running = attach(threaded)
    await (await server.socket()).close(code=4403, message=b"work:attach:tag")
    with pytest.raises(InsufficientScopes, match="work:attach:tag"):
        await running


async def test_stopped_it_answers_first(server: Server, attach: Any) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def handler(item: AttachedItem) -> str:
        begun.set()
        await end.wait()
        return "done"

    worker, running = attach(handler)
    server_socket = await server.socket()
    await server_socket.send_json(item())
    await begun.wait()
    end.set()
    assert (await server.frame())["data"] == "done"
    worker.stop()
    assert await server.frame() == {"kind": "drain"}
    async with asyncio.timeout(SECONDS):
        await running


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"capacity": 0}, "capacity"),
        ({"root_url": "nowhere"}, "root_url"),
        ({"tasks": [AttachedTask("tag", print), AttachedTask("TAG", print)]}, "TAG"),
    ],
)
def test_a_wrong_argument_is_named(arguments: Json, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        AttachedWorker(**arguments)


@pytest.mark.parametrize("name", ["", "1st", "a b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        AttachedTask(name, print)

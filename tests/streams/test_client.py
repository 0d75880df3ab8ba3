"""``taskbus.Events`` and ``Jobs.watch``: what they give, and how they go on after the connection is lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from yarl import URL

from events import TaskDefined, TaskPending, UserMessage
from schemas.ids import slugid
from schemas.messages import TaskPendingMessage
from taskbus import (
    ApiError,
    ConnectionFailed,
    Credentials,
    Events,
    EventsMissed,
    InsufficientScopes,
    Queue,
    command_task,
)
from taskbus import streaming as client_streaming
from taskbus.streaming import EventStream, ServerEvent
from taskbus.transport import Transport
from taskbus.typed_jobs import Jobs
from tests.examples.conftest import Running, service  # noqa: F401

SECONDS: Final = 30.0
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@pytest.fixture
async def events(service: Running) -> AsyncIterator[Events]:  # noqa: F811
    async with Events(service.root_url) as client, asyncio.timeout(SECONDS):
        yield client


def sse(number: int, kind: str = "message", **data: Any) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


@asynccontextmanager
async def scripted(*answers: Answer) -> AsyncIterator[tuple[str, list[str | None]]]:
    """A server that gives these answers one after the other; its URL, and the last ids it was told."""
    left, told = list(answers), list[str | None]()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        told.append(request.headers.get("Last-Event-ID"))
        return await left.pop(0)(request)

    server = RawTestServer(handle)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/"), told
    finally:
        await server.close()


def pieces(*blocks: bytes) -> Answer:
    """A stream of these pieces, which ends or is cut off after them."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for block in blocks:
            await response.write(block)
        if blocks and not blocks[-1].endswith(b"\n\n"):
            request.transport.close()  # type: ignore[union-attr]
        return response

    return answer


def status(code: int) -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"code": "Some", "message": "no"}, status=code)

    return answer


async def no_content(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=204)


async def received(url: str) -> list[ServerEvent]:
    async with Transport(url) as transport, asyncio.timeout(SECONDS):
        stream = EventStream(transport, ["stream"], sleep=lambda seconds: asyncio.sleep(0))
        return [event async for event in stream.events()]


# ---- lost connections --------------------------------------------------------------------------------


async def test_it_goes_on_after_the_last_event_it_gave_out() -> None:
    answers = (
        pieces(b"retry: 3000\n\n", sse(1, n=1), sse(2, n=2)),
        pieces(sse(3, n=3), b"id: 4\ndata: {"),
        status(503),
        pieces(b":\n\n", sse(4, n=4)[:7], sse(4, n=4)[7:]),
        no_content,
    )
    async with scripted(*answers) as (url, told):
        found = await received(url)
    assert [event.data["n"] for event in found] == [1, 2, 3, 4]
    assert told == [None, "2", "3", "3", "4"]


async def test_a_refusal_ends_it() -> None:
    async with scripted(pieces(sse(1)), status(403)) as (url, _):
        with pytest.raises(ApiError) as refused:
            await received(url)
    assert refused.value.status == 403


async def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(ConnectionFailed):
        await received("http://127.0.0.1:9")


async def test_a_server_that_is_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_streaming, "SILENT_SECONDS", 0.05)
    hang = asyncio.Event()

    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(sse(1))
        await hang.wait()
        return response

    async with scripted(silent, no_content) as (url, told):
        assert [event.id for event in await received(url)] == ["1"]
        hang.set()
    assert told == [None, "1"]


async def test_events_that_are_not_kept_any_more_are_said() -> None:
    async with scripted(pieces(sse(7, "ready", reset=True))) as (url, _), Events(url) as client:
        with pytest.raises(EventsMissed) as missed:
            async for _found in client.listen(TaskPending(), last_id="3"):
                pass
    assert missed.value.last_id == "7"


# ---- with a service ----------------------------------------------------------------------------------


async def first(events: Events, act: Callable[[], Awaitable[object]], *bindings: Any) -> Any:
    """The first event that comes of an act; the listener is there before it."""
    async with aclosing(events.listen(*bindings)) as listening:
        waiting = asyncio.ensure_future(anext(listening))
        while not waiting.done():
            await act()
            await asyncio.wait([waiting], timeout=0.2)
        return await waiting


async def test_events_are_typed_and_filtered(events: Events, service: Running) -> None:  # noqa: F811
    async with Queue(service.root_url) as queue:

        async def create() -> None:
            for kind in ("demo/other", "demo/wanted"):
                await queue.create_task(slugid(), command_task(["true"], queue=kind))

        found = await first(events, create, TaskPending(task_queue_id="demo/wanted"))
    assert isinstance(found.event, TaskPendingMessage)
    assert found.event.status.task_queue_id == "demo/wanted"
    assert found.exchange == TaskPending().exchange


async def test_a_user_message_is_heard_by_its_tag(events: Events) -> None:
    async def send() -> None:
        await events.send({"n": 1})
        await events.send({"n": None}, level="alert", tag="disk")

    found = await first(events, send, UserMessage(tag="disk"))
    message = found.event
    assert (message.payload, message.level, message.source) == ({"n": None}, "alert", "server")
    assert found.routing_key == "primary.user.server.disk._"


async def test_nobody_listens_without_the_scope(service: Running) -> None:  # noqa: F811
    async with Events(service.root_url, credentials=None) as nobody:
        with pytest.raises(InsufficientScopes, match="events:listen:exchange/taskcluster-queue/v1/task-def"):
            await anext(nobody.listen(TaskDefined()))


async def test_a_signed_url_is_enough_for_a_browser(service: Running) -> None:  # noqa: F811
    credentials = Credentials.from_env()
    assert credentials is not None
    url = (
        f"{service.root_url}/api/events/v1/stream?exchange=exchange/taskcluster-queue/v1/task-defined"
        "&routingKey=%23"
    )
    async with aiohttp.ClientSession() as session:
        async with session.get(URL(credentials.signed_url(url), encoded=True)) as response:
            assert response.status == 200
            assert await response.content.readline() == b"retry: 3000\n"
        async with session.get(URL(url + "&bewit=none", encoded=True)) as response:
            assert response.status == 401


async def test_a_job_is_watched_to_its_end(service: Running) -> None:  # noqa: F811
    async with Jobs(service.root_url) as jobs, asyncio.timeout(SECONDS):
        await jobs.register_type("NOTHING", {"paramsSchema": {"type": "object"}, "taskQueueId": "jobs/none"})
        job = await jobs.submit({"type": "NOTHING", "params": {}})
        kinds = []
        async for event in jobs.watch(job.job_id):
            kinds.append(event.kind)
            if event.kind == "snapshot":
                await jobs.cancel(job.job_id)
        assert kinds == ["snapshot", "state", "end"]

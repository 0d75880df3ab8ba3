"""An HTTP server that records what it is asked and answers what the test tells it to."""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import RawTestServer

from taskbus.client import Queue


@dataclass(frozen=True)
class Seen:
    """One request: ``target`` is path and query exactly as they came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] | None = None
    disconnect: bool = False
    """Close the connection instead of answering."""
    cut: bool = False
    """Announce a byte more than the body has, and close the connection after it."""
    silence: bool = False
    """Never answer."""


def refusal(status: int, code: str, message: str) -> Answer:
    """An error as the queue sends it."""
    footer = f"\n\n---\n\n* method:     task\n* errorCode:  {code}\n* statusCode: {status}\n* time:       now"
    info = {"method": "task", "params": {"taskId": "x"}, "payload": {}, "time": "2024-05-01T12:00:00.000Z"}
    return Answer(status, {"code": code, "message": message + footer, "requestInfo": info})


class RecordingServer:
    """Gives the answers in order, and the last one again when there are no more; or what a function gives."""

    def __init__(self, *answers: Answer, by: Callable[[Seen], Answer] | None = None) -> None:
        self.seen: list[Seen] = []
        self.answers = deque(answers)
        self.url = ""
        self._by = by or self._next
        self._arrived = asyncio.Event()
        self._server = RawTestServer(self._handle)

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        self.url = str(self._server.make_url("")).rstrip("/")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.close()

    async def saw(self, part: str) -> Seen:
        """The first request whose target has this part, be it here already or still to come."""
        while True:
            for request in self.seen:
                if part in request.target:
                    return request
            self._arrived.clear()
            await self._arrived.wait()

    def _next(self, request: Seen) -> Answer:
        return self.answers.popleft() if len(self.answers) > 1 else self.answers[0]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = Seen(request.method, request.raw_path, dict(request.headers), await request.read())
        self.seen.append(seen)
        self._arrived.set()
        answer = self._by(seen)
        if answer.silence:
            await asyncio.Event().wait()
        if answer.disconnect:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if answer.cut:
            response = web.StreamResponse(status=answer.status, headers=answer.headers)
            response.content_length = len(answer.body) + 1
            await response.prepare(request)
            await response.write(answer.body)
            assert request.transport is not None
            request.transport.close()
            return response
        if isinstance(answer.body, bytes):
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        return web.json_response(answer.body, status=answer.status, headers=answer.headers)


class Waits(list[float]):
    """Takes the place of sleeping."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


def client(server: RecordingServer | str, **options: Any) -> Queue:
    options = {"sleep": Waits().sleep, "jitter": lambda: 0.0, **options}
    return Queue(server if isinstance(server, str) else server.url, **options)


@contextmanager
def server_in_thread(
    *answers: Answer, by: Callable[[Seen], Answer] | None = None
) -> Iterator[RecordingServer]:
    """A server for code that runs an event loop of its own, as commands do."""
    started: Future[tuple[RecordingServer, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        async with RecordingServer(*answers, by=by) as server:
            stop = asyncio.Event()
            started.set_result((server, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    server, loop, stop = started.result(timeout=10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()

"""A lean HTTP/1.1 client for load: ready bytes out, status and body back, one call at a time per connection.

It shares the machine with what it measures, so it does nothing that a call does not need.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar, cast

Result = TypeVar("Result")

HOST: Final = "127.0.0.1"
ANSWER_SECONDS: Final = 60.0
_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length: "


class Answer(NamedTuple):
    """What the server said."""

    status: int
    body: bytes


class CallFailed(Exception):
    """The server refused a call, or went away; the text shows its answer."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a load process did: when (monotonic clock), at which CPU cost, and how long each call took."""

    started: float
    ended: float
    cpu_seconds: float
    latencies: tuple[float, ...]
    """Seconds per call, in no order."""


def request_bytes(method: str, path: str, body: bytes = b"") -> bytes:
    """A whole request. The path is percent-encoded already, the body is JSON."""
    head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    elif method != "GET":
        head += "content-length: 0\r\n"
    return f"{head}\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One keep-alive connection. ``latencies`` collects the seconds of each call."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[Answer] | None = None

    async def call(self, request: bytes) -> bytes:
        """Send a request and await its answer's body. Raises CallFailed unless the status is 200 or 201."""
        assert self._transport is not None
        self._answer = self._loop.create_future()
        started = time.perf_counter()
        self._transport.write(request)
        answer = await self._answer
        self.latencies.append(time.perf_counter() - started)
        if answer.status not in (200, 201):
            first_line = request.split(b"\r\n", 1)[0].decode()
            raise CallFailed(f"{first_line}: {answer.status} {answer.body[:500].decode()}")
        return answer.body

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(_END_OF_HEAD)
        if end >= 0:
            start = buffer.find(_LENGTH, 0, end + 2)
            length = int(buffer[start + len(_LENGTH) : buffer.index(b"\r", start + 2)]) if start >= 0 else 0
            body = end + len(_END_OF_HEAD)
            if len(buffer) >= body + length:
                self._buffer = b""
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(Answer(int(buffer[9:12]), buffer[body:]))
                return
        self._buffer = buffer

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(CallFailed(f"the server closed the connection ({exc})"))


class Connections:
    """``async with Connections(port, 64) as connections``: that many open connections."""

    def __init__(self, port: int, number: int) -> None:
        self._port = port
        self._number = number
        self.all: Sequence[Connection] = ()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.all = [
            (await loop.create_connection(Connection, HOST, self._port))[1] for _ in range(self._number)
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self.all:
            connection.close()

    def latencies(self) -> tuple[float, ...]:
        return tuple(seconds for connection in self.all for seconds in connection.latencies)


async def closed_loop(connections: Sequence[Connection], requests: Iterable[bytes]) -> None:
    """Send all requests; each connection sends its next one when the one before is answered."""
    line = iter(requests)

    async def work(connection: Connection) -> None:
        for request in line:
            await connection.call(request)

    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(work(connection))


def send_all(port: int, connections: int, requests: Sequence[bytes]) -> Load:
    """Send all requests on so many connections; run this in a process of its own."""

    async def run() -> Load:
        async with Connections(port, connections) as opened:
            return await measured(opened, lambda: closed_loop(opened.all, requests))

    return run_loop(run)


async def measured(connections: Connections, work: Callable[[], Awaitable[None]]) -> Load:
    """Time some work on open connections."""
    gc.collect()
    gc.disable()
    cpu, started = time.process_time(), time.monotonic()
    async with asyncio.timeout(ANSWER_SECONDS * 5):
        await work()
    return Load(started, time.monotonic(), time.process_time() - cpu, connections.latencies())


def run_loop(main: Callable[[], Awaitable[Result]]) -> Result:
    """Run a coroutine function on the fastest event loop there is."""
    import uvloop

    async def run() -> Result:
        return await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())

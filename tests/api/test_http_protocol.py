"""What leaves by HTTP is what uvicorn would send; a whole reply leaves in one write."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from queue_service.http_protocol import HttpProtocol

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"x-kind", b"test")]}
SIZED: Message = {**START, "headers": [(b"x-kind", b"test"), (b"content-length", b"5")]}
BODY: Message = {"type": "http.response.body", "body": b"hello"}
MORE: Message = {"type": "http.response.body", "body": b"he", "more_body": True}
REST: Message = {"type": "http.response.body", "body": b"llo"}

REPLIES: dict[str, list[Message]] = {
    "/whole": [SIZED, BODY],
    "/no-length": [START, BODY],
    "/in-parts": [SIZED, MORE, REST],
    "/no-content": [{**START, "status": 204}, {"type": "http.response.body"}],
    "/too-short": [SIZED, REST],
    "/bad-header": [{**SIZED, "headers": [(b"x-kind", b"a\nb"), (b"content-length", b"5")]}, BODY],
    "/head-alone": [SIZED],
    "/nothing": [],
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    for message in REPLIES[scope["path"]]:
        await send(message)


def _config(protocol: type[asyncio.Protocol]) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=protocol,
        lifespan="off",
        log_config=None,
        date_header=False,
        server_header=False,
    )


@pytest.fixture(params=[HttpToolsProtocol, HttpProtocol], ids=["uvicorn", "ours"])
async def address(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, int]]:
    """Where a server answers; the tests hold for uvicorn's own protocol too."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        http=request.param,
        lifespan="off",
        log_config=None,
        date_header=False,
        server_header=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([listener]))
    yield listener.getsockname()
    server.should_exit = True
    await serving


async def sent(address: tuple[str, int], *requests: str) -> bytes:
    """All that the server sends for these requests, until it closes; the last one asks for that."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"".join(request.encode() for request in requests))
    data = await reader.read()
    writer.close()
    return data


def asking(path: str, method: str = "GET", *, close: bool = False) -> str:
    return f"{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: {'close' if close else 'keep-alive'}\r\n\r\n"


LAST = asking("/whole", close=True)
LAST_REPLY = b"HTTP/1.1 200 OK\r\nx-kind: test\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("/whole", b"HTTP/1.1 200 OK\r\nx-kind: test\r\ncontent-length: 5\r\n\r\nhello"),
        ("/in-parts", b"HTTP/1.1 200 OK\r\nx-kind: test\r\ncontent-length: 5\r\n\r\nhello"),
        (
            "/no-length",
            b"HTTP/1.1 200 OK\r\nx-kind: test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        ("/no-content", b"HTTP/1.1 204 No Content\r\nx-kind: test\r\n\r\n"),
    ],
)
async def test_a_reply_is_sent_and_the_connection_goes_on(
    address: tuple[str, int], path: str, reply: bytes
) -> None:
    assert await sent(address, asking(path), LAST) == reply + LAST_REPLY


async def test_the_head_alone_is_sent_for_head(address: tuple[str, int]) -> None:
    head = b"HTTP/1.1 200 OK\r\nx-kind: test\r\ncontent-length: 5\r\n\r\n"
    assert await sent(address, asking("/whole", "HEAD"), LAST) == head + LAST_REPLY


async def test_an_application_that_says_nothing_is_answered_for(address: tuple[str, int]) -> None:
    assert (await sent(address, asking("/nothing"))).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


@pytest.mark.parametrize("path", ["/too-short", "/bad-header", "/head-alone"])
async def test_a_reply_that_is_not_whole_closes_the_connection(address: tuple[str, int], path: str) -> None:
    assert b"hello" not in await sent(address, asking(path))


async def test_a_whole_reply_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = HttpProtocol(_config(HttpProtocol), _State(), {})
    transport = _Transport()
    protocol.connection_made(transport)
    protocol.data_received(asking("/whole").encode())
    await asyncio.gather(*protocol.tasks)
    assert transport.writes == [b"HTTP/1.1 200 OK\r\nx-kind: test\r\ncontent-length: 5\r\n\r\nhello"]
    protocol.connection_lost(None)


class _State(uvicorn.server.ServerState):
    def __init__(self) -> None:
        super().__init__()
        self.default_headers = []


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

"""Replies that go on: the same events as Server-Sent Events or, after an upgrade, over a WebSocket.

Framing: ``seed-systems.md`` E-1, E-2, E-6. An endpoint that streams returns a :class:`Stream`; whoever asks
for a WebSocket is authorized, and refused, as any other caller.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pydantic_core import to_json
from starlette.types import Message, Receive, Scope, Send

Headers = Iterable[tuple[bytes, bytes]]

KEEP_ALIVE_SECONDS: Final = 15.0
"""After so long without an event a comment is sent, so that no proxy takes the connection for dead (E-6)."""
_RETRY: Final = b"retry: 3000\n\n"
_KEEP_ALIVE: Final = b":\n\n"
END: Final = "end"
"""The kind of an event after which there is nothing to come again for."""
_NORMAL: Final = 1000
_GOING_AWAY: Final = 1001
_SSE_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


@dataclass(frozen=True)
class Event:
    """One event for any number of readers: ``data`` is JSON in one line, ``id`` where to resume after it."""

    id: str
    kind: str
    """``message`` is what EventSource calls an event without a name."""
    data: bytes

    @cached_property
    def sse(self) -> bytes:
        kind = b"" if self.kind == "message" else b"event: %b\n" % self.kind.encode()
        return b"id: %b\n%bdata: %b\n\n" % (self.id.encode(), kind, self.data)

    @cached_property
    def frame(self) -> str:
        head = to_json({"id": self.id, "event": self.kind}).decode()
        return f'{head[:-1]},"data":{self.data.decode()}}}'


@dataclass(frozen=True)
class Stream:
    """``batches`` of events until it ends; an empty one only keeps the connection open.

    ``leave`` is called when the reader has gone, and ends the batches.
    """

    batches: AsyncGenerator[Sequence[Event], None]
    leave: Callable[[], None]


def last_event_id(headers: Mapping[bytes, bytes], query: Mapping[str, str]) -> str | None:
    """What a reader saw last, by its header ``Last-Event-ID`` or else ``lastEventId``; None for a new one."""
    header = headers.get(b"last-event-id")
    return query.get("lastEventId") if header is None else header.decode("latin-1")


async def send_events(stream: Stream, receive: Receive, send: Send, headers: Headers, *, head: bool) -> None:
    """Answer with Server-Sent Events until the stream ends or its reader has gone."""
    kept = [header for header in headers if header[0] != b"cache-control"]
    await send({"type": "http.response.start", "status": 200, "headers": [*kept, *_SSE_HEADERS]})
    if head:
        stream.leave()
    else:
        await send({"type": "http.response.body", "body": _RETRY, "more_body": True})
        async with _watched(stream, receive, "http.disconnect"):
            async for batch in stream.batches:
                piece = b"".join([event.sse for event in batch]) or _KEEP_ALIVE
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def send_frames(stream: Stream, receive: Receive, send: Send) -> None:
    """Accept the WebSocket and send each event as a text frame: ``{"id", "event", "data"}``.

    The close code is 1000 after an ``end``, and 1001 where the reader is to come again.
    """
    last = ""
    await send({"type": "websocket.accept"})
    with suppress(OSError, RuntimeError):  # what servers raise when the reader has closed
        async with _watched(stream, receive, "websocket.disconnect"):
            async for batch in stream.batches:
                for event in batch:
                    last = event.kind
                    await send({"type": "websocket.send", "text": event.frame})
        await send({"type": "websocket.close", "code": _NORMAL if last == END else _GOING_AWAY})


@asynccontextmanager
async def _watched(stream: Stream, receive: Receive, end: str) -> AsyncIterator[None]:
    """Leave the stream when its reader goes."""

    async def until_gone() -> None:
        while (await receive())["type"] != end:
            pass
        stream.leave()

    watching = asyncio.create_task(until_gone(), name="stream watch")
    try:
        async with aclosing(stream.batches):
            yield
    finally:
        watching.cancel()


async def as_request(scope: Scope, receive: Receive, send: Send) -> tuple[Scope, Receive, Send]:
    """An upgrade to a WebSocket as the GET that it is: without a body, and its refusal an HTTP reply."""
    await receive()  # the connect
    scheme = "https" if scope["scheme"] in ("wss", "https") else "http"
    body_is_there = True

    async def receive_body_first() -> Message:
        nonlocal body_is_there
        if body_is_there:
            body_is_there = False
            return {"type": "http.request", "body": b"", "more_body": False}
        return await receive()

    async def send_before_acceptance(message: Message) -> None:
        kind = message["type"]
        await send({**message, "type": f"websocket.{kind}"} if kind.startswith("http.") else message)

    return {**scope, "method": "GET", "scheme": scheme}, receive_body_first, send_before_acceptance

"""A bare AMQP client: it sends exactly the frames a test names and shows exactly those that came back."""

from __future__ import annotations

import asyncio
import itertools
import struct
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from pamqp import base, body, constants, exceptions, frame, header, heartbeat
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange, Queue

PATIENCE = 20.0
"""Seconds a test waits for a frame that must come. Nothing waits this long when the broker is right."""

CAPABILITIES = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}

FrameT = TypeVar("FrameT", bound=base.Frame)


class Closed(Exception):
    """The broker closed the channel or the connection: `code` and `text` are its reason."""

    def __init__(self, level: str, code: int, text: str) -> None:
        super().__init__(f"{level} closed: {code} {text}")
        self.level = level
        self.code = code
        self.text = text


@dataclass(frozen=True)
class Content:
    """A method that carries a message (deliver, get-ok, return), with the message."""

    method: Any
    properties: Basic.Properties
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        return self.properties.headers or {}


Item = base.Frame | Content | None
"""What arrives on a channel; None when the connection is gone."""


class PeerChannel:
    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        self.number = number
        self.arrived: asyncio.Queue[Item] = asyncio.Queue()
        self._skipped: deque[Item] = deque()

    def send(self, *frames: base.Frame) -> None:
        for item in frames:
            self.peer.write(frame.marshal(item, self.number))

    def send_frame(self, kind: int, payload: bytes) -> None:
        """Any frame at all."""
        self.peer.write(struct.pack(">BHI", kind, self.number, len(payload)) + payload + b"\xce")

    async def receive(self) -> base.Frame | Content:
        """The next thing on this channel, whatever it is; Closed if that is the end of it."""
        item = self._skipped.popleft() if self._skipped else await self._next()
        if item is None:
            raise Closed("connection", 0, "the socket was closed")
        if isinstance(item, Channel.Close) and not self.peer.keep_closes:
            self.send(Channel.CloseOk())
            raise Closed("channel", item.reply_code, item.reply_text)
        if isinstance(item, Connection.Close):
            raise Closed("connection", item.reply_code, item.reply_text)
        return item

    async def _next(self) -> Item:
        async with asyncio.timeout(PATIENCE):
            return await self.arrived.get()

    async def _first(self, wanted: Callable[[base.Frame | Content], bool]) -> Any:
        """The next item that is wanted; those that come before it are kept in their order."""
        passed: list[Item] = []
        try:
            while not wanted(item := await self.receive()):
                passed.append(item)
        finally:
            self._skipped.extendleft(reversed(passed))
        return item

    async def expect(self, kind: type[FrameT]) -> FrameT:
        return cast("FrameT", await self._first(lambda item: isinstance(item, kind)))

    async def content(self, kind: type[base.Frame]) -> Content:
        """The next message that came with a method of this kind."""
        found = await self._first(lambda item: isinstance(item, Content) and isinstance(item.method, kind))
        return cast("Content", found)

    async def call(self, method: base.Frame) -> Any:
        """Send a method and wait for one of its replies; raise Closed when the broker refuses."""
        self.send(method)
        replies = set(method.valid_responses)

        def is_reply(item: base.Frame | Content) -> bool:
            return (item.method.name if isinstance(item, Content) else item.name) in replies

        return await self._first(is_reply)

    # -- the words the tests use most ---------------------------------------------------------------

    async def queue(
        self, name: str = "", *, durable: bool = False, arguments: Any = None, **flags: bool
    ) -> str:
        declared = await self.call(Queue.Declare(queue=name, durable=durable, arguments=arguments, **flags))
        return str(declared.queue)

    async def exchange(self, kind: str, name: str | None = None, arguments: Any = None, **flags: bool) -> str:
        name = name or unique(kind)
        flags.setdefault("auto_delete", True)
        await self.call(Exchange.Declare(exchange=name, exchange_type=kind, arguments=arguments, **flags))
        return name

    async def bind(self, queue: str, exchange: str, key: str = "", arguments: Any = None) -> None:
        await self.call(Queue.Bind(queue=queue, exchange=exchange, routing_key=key, arguments=arguments))

    async def depth(self, queue: str) -> int:
        declared = await self.call(Queue.Declare(queue=queue, passive=True))
        return int(declared.message_count)

    async def consume(self, queue: str, *, no_ack: bool = False, tag: str = "", **more: Any) -> str:
        reply = await self.call(Basic.Consume(queue=queue, no_ack=no_ack, consumer_tag=tag, **more))
        return str(reply.consumer_tag)

    async def delivery(self) -> Content:
        return await self.content(Basic.Deliver)

    async def deliveries(self, count: int) -> list[Content]:
        return [await self.delivery() for _ in range(count)]

    async def get(self, queue: str, *, no_ack: bool = True) -> Content | None:
        reply = await self.call(Basic.Get(queue=queue, no_ack=no_ack))
        return reply if isinstance(reply, Content) else None

    async def confirms(self) -> None:
        await self.call(Confirm.Select())

    def publish(
        self,
        data: bytes = b"",
        key: str = "",
        exchange: str = "",
        *,
        mandatory: bool = False,
        immediate: bool = False,
        frame_size: int = 131_064,
        **properties: Any,
    ) -> None:
        self.send(Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory, immediate=immediate))
        head = header.ContentHeader(0, len(data), Basic.Properties(**properties))
        self.peer.write(frame.marshal(head, self.number))
        for start in range(0, len(data), frame_size):
            self.peer.write(frame.marshal(body.ContentBody(data[start : start + frame_size]), self.number))

    async def outcomes(self, count: int) -> list[str]:
        """What the broker said of the first `count` messages of this confirm channel: ack or nack."""
        said: dict[int, str] = {}
        while len(said) < count:
            answer = await self._first(lambda item: isinstance(item, Basic.Ack | Basic.Nack))
            first = 1 if answer.multiple else answer.delivery_tag
            for tag in range(first, answer.delivery_tag + 1):
                said.setdefault(tag, "ack" if isinstance(answer, Basic.Ack) else "nack")
        return [said[tag] for tag in range(1, count + 1)]

    async def settled(self) -> None:
        """Return when the broker has handled everything sent on this channel before this call."""
        await self.call(Basic.Qos())


class Peer:
    """One connection. `channels[0]` receives the connection's own frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.channels: dict[int, PeerChannel] = {0: PeerChannel(self, 0)}
        self._numbers = itertools.count(1)
        self._contents: dict[int, tuple[base.Frame, header.ContentHeader, bytearray]] = {}
        self._reading = asyncio.create_task(self._read())
        self.greeting = b""
        """The protocol header the broker sent, if it did."""
        self.keep_closes = False
        """Give channel.close to the test as it is, instead of raising Closed."""
        self.answers_close = True
        self.heartbeat_came = asyncio.Event()
        self.largest_frame = 0
        self.raw_headers: list[bytes] = []
        """Content header frames as they came."""

    @property
    def control(self) -> PeerChannel:
        return self.channels[0]

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def open(self) -> PeerChannel:
        channel = self.channel()
        await channel.call(Channel.Open())
        return channel

    def channel(self, number: int | None = None) -> PeerChannel:
        number = next(self._numbers) if number is None else number
        return self.channels.setdefault(number, PeerChannel(self, number))

    async def close(self) -> None:
        """Close as a polite client does."""
        if not self._reading.done():
            self.control.send(Connection.Close(200, "bye", 0, 0))
            with suppress(Closed):
                await self.control.expect(Connection.CloseOk)
            await self.cut()

    def pause_reading(self) -> None:
        """Take nothing more from the socket."""
        self._reading.cancel()

    def resume_reading(self) -> None:
        self._reading = asyncio.create_task(self._read())

    async def cut(self) -> None:
        """Drop the TCP link without a word."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.transport.abort()

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(7)
                if head[:4] == b"AMQP":
                    self.greeting = head + await self._reader.readexactly(1)
                    continue
                size = int.from_bytes(head[3:7], "big")
                data = head + await self._reader.readexactly(size + 1)
                self.largest_frame = max(self.largest_frame, len(data))
                if data[0] == constants.FRAME_HEADER:
                    self.raw_headers.append(data)
                _, number, item = frame.unmarshal(data)
                self._arrived(number, item)
        except (OSError, asyncio.IncompleteReadError, exceptions.UnmarshalingException):
            for channel in self.channels.values():
                channel.arrived.put_nowait(None)

    def _arrived(self, number: int, item: frame.FrameTypes) -> None:
        if isinstance(item, heartbeat.Heartbeat):
            self.heartbeat_came.set()
            return
        if isinstance(item, Basic.Deliver | Basic.GetOk | Basic.Return):
            self._contents[number] = (item, header.ContentHeader(), bytearray())
            return
        if isinstance(item, header.ContentHeader):
            self._contents[number] = (self._contents[number][0], item, bytearray())
            self._complete(number)
            return
        if isinstance(item, body.ContentBody):
            self._contents[number][2].extend(item.value)
            self._complete(number)
            return
        assert isinstance(item, base.Frame)
        if isinstance(item, Connection.Close):
            if self.answers_close:
                self.write(frame.marshal(Connection.CloseOk(), 0))
            for channel in self.channels.values():
                channel.arrived.put_nowait(item)
            return
        self.channels[number].arrived.put_nowait(item)

    def _complete(self, number: int) -> None:
        method, head, data = self._contents[number]
        if len(data) == head.body_size:
            del self._contents[number]
            self.channels[number].arrived.put_nowait(Content(method, head.properties, bytes(data)))


def unique(what: str = "q") -> str:
    """A name no other test uses: one RabbitMQ serves them all."""
    return f"test.{what}.{uuid.uuid4().hex[:12]}"


async def dial(url: str) -> Peer:
    """A TCP connection and nothing said yet."""
    parts = urlsplit(url)
    return Peer(*await asyncio.open_connection(parts.hostname, parts.port or 5672))


async def connect(
    url: str,
    *,
    heartbeat: int = 0,
    frame_max: int = 0,
    channel_max: int = 0,
    capabilities: dict[str, Any] | None = None,
    mechanism: str = "PLAIN",
    response: str | None = None,
    virtual_host: str | None = None,
) -> Peer:
    """Dial, shake hands and open the virtual host of the URL; Closed when the broker refuses."""
    parts = urlsplit(url)
    peer = await dial(url)
    control = peer.control
    peer.write(header.ProtocolHeader().marshal())
    await control.expect(Connection.Start)
    if response is None:
        response = f"\0{unquote(parts.username or 'guest')}\0{unquote(parts.password or 'guest')}"
    properties = {"capabilities": CAPABILITIES if capabilities is None else capabilities}
    control.send(Connection.StartOk(properties, mechanism, response, "en_US"))
    tune = await control.expect(Connection.Tune)
    control.send(
        Connection.TuneOk(channel_max or tune.channel_max, frame_max or tune.frame_max, heartbeat),
    )
    await control.call(Connection.Open(virtual_host or unquote(parts.path[1:]) or "/"))
    return peer


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Peer]:
    peer = await connect(url, **options)
    try:
        yield peer
    finally:
        await peer.close()

"""A lean AMQP consumer that counts events: proof that none was lost and none overtook another.

It acknowledges like a real consumer, and reads of each message what counting needs: exchange, task and id.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, cast

import aiormq
import pamqp.frame
from pamqp import commands
from pamqp.header import ProtocolHeader

from benchmarks.load import run_loop
from events.address import Address
from events.exchanges import QUEUE_EXCHANGES

PREFETCH: Final = 1000
STAGES: Final = {
    exchange.full_name: place
    for place, name in enumerate(("task-defined", "task-pending", "task-running", "task-completed"))
    for exchange in QUEUE_EXCHANGES
    if exchange.name == name
}
"""The order of a task's messages when nothing goes wrong in its life."""
EXCHANGE_OF: Final = {exchange.name: exchange.full_name for exchange in QUEUE_EXCHANGES}

_ENVELOPE: Final = Struct(">BHI")
_METHOD_IDS: Final = Struct(">HH")
_LONG: Final = Struct(">I")
_TAG: Final = Struct(">Q")
_FLAGS: Final = Struct(">H")
_DELIVER: Final = (60, 60)
_METHOD, _HEADER = 1, 2


@dataclass
class Heard:
    """What a listener heard until it had all that was expected, or waited in vain."""

    by_exchange: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    """Messages that came once more with the same message id (allowed: delivery is at least once)."""
    overtaken: int = 0
    """Messages of a task that came after a message of a later stage of its life (never allowed)."""
    cpu_seconds: float = 0.0
    complete_at: float | None = None
    """When everything expected had come (monotonic clock); None when it did not."""


async def bind_queue(amqp_url: str, queue: str) -> None:
    """Make a durable queue that gets every event."""
    connection = await aiormq.connect(amqp_url)
    try:
        channel = await connection.channel()
        await channel.queue_declare(queue, durable=True)
        for exchange in QUEUE_EXCHANGES:
            await channel.exchange_declare(exchange.full_name, exchange_type="topic", durable=True)
            await channel.queue_bind(queue, exchange.full_name, "#")
    finally:
        await connection.close()


async def delete_queue(amqp_url: str, queue: str) -> int:
    """Delete the queue; how many messages were left in it."""
    connection = await aiormq.connect(amqp_url)
    try:
        channel = await connection.channel()
        return int((await channel.queue_delete(queue)).message_count or 0)
    finally:
        await connection.close()


def listen(amqp_url: str, queue: str, expected: Mapping[str, int], seconds: float) -> Heard:
    """Consume until ``expected`` counts by exchange name are reached; run this in a process of its own."""

    async def run() -> Heard:
        address = Address.parse(amqp_url)
        wanted = {EXCHANGE_OF[name]: count for name, count in expected.items()}
        consumer = _Consumer(address, queue, wanted)
        await asyncio.get_running_loop().create_connection(lambda: consumer, address.host, address.port)
        cpu = time.process_time()
        try:
            async with asyncio.timeout(seconds):
                await consumer.ended
        except TimeoutError:
            pass
        finally:
            consumer.close()
        consumer.heard.cpu_seconds = time.process_time() - cpu
        return consumer.heard

    return run_loop(run)


class _Consumer(asyncio.Protocol):
    """One consuming connection. A message is method, header and body frame; the body is not looked at."""

    def __init__(self, address: Address, queue: str, wanted: Mapping[str, int]) -> None:
        self.heard = Heard()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._address = address
        self._queue = queue
        self._missing = Counter(wanted)
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._ids: set[bytes] = set()
        self._stage_of: dict[bytes, int] = {}
        self._last_tag = 0

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(ProtocolHeader().marshal())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(ConnectionError(f"the broker hung up on the listener ({exc})"))

    def data_received(self, data: bytes) -> None:
        acknowledged = self._last_tag
        for frame in self._frames(data):
            if frame[0] == _METHOD and _METHOD_IDS.unpack_from(frame, 7) == _DELIVER:
                self._delivered(frame)
            elif frame[0] == _HEADER:
                self._identified(_message_id(frame))
            elif frame[0] == _METHOD:
                self._answer(pamqp.frame.unmarshal(frame)[2])
        if self._last_tag > acknowledged:
            self._write(commands.Basic.Ack(self._last_tag, multiple=True))

    def _frames(self, data: bytes) -> Iterator[bytes]:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _ENVELOPE.size:
            end = start + _ENVELOPE.size + _ENVELOPE.unpack_from(buffer, start)[2] + 1
            if len(buffer) < end:
                break
            yield bytes(buffer[start:end])
            start = end
        del buffer[:start]

    def _delivered(self, frame: bytes) -> None:
        tag_at = 12 + frame[11]
        exchange_at = tag_at + 9
        key_at = exchange_at + 1 + frame[exchange_at]
        exchange = frame[exchange_at + 1 : key_at].decode()
        task_id = frame[key_at + 1 : key_at + 1 + frame[key_at]].split(b".", 2)[1]
        (self._last_tag,) = _TAG.unpack_from(frame, tag_at)
        self._count(exchange)
        stage = STAGES.get(exchange)
        if stage is not None:
            if stage < self._stage_of.get(task_id, 0):
                self.heard.overtaken += 1
            self._stage_of[task_id] = stage

    def _count(self, exchange: str) -> None:
        self.heard.by_exchange[exchange] += 1
        if self._missing.get(exchange, 0) > 0:
            self._missing[exchange] -= 1
            if self._missing[exchange] == 0 and not +self._missing and not self.ended.done():
                self.heard.complete_at = time.monotonic()
                self.ended.set_result(None)

    def _identified(self, message_id: bytes) -> None:
        if message_id in self._ids:
            self.heard.repeated += 1
        self._ids.add(message_id)

    def _answer(self, frame: object) -> None:
        match frame:
            case commands.Connection.Start():
                login = f"\0{self._address.user}\0{self._address.password}"
                self._write(commands.Connection.StartOk({}, "PLAIN", login, "en_US"), channel=0)
            case commands.Connection.Tune():
                self._write(commands.Connection.TuneOk(frame.channel_max, frame.frame_max, 0), channel=0)
                self._write(commands.Connection.Open(self._address.virtual_host), channel=0)
            case commands.Connection.OpenOk():
                self._write(commands.Channel.Open())
            case commands.Channel.OpenOk():
                self._write(commands.Basic.Qos(prefetch_count=PREFETCH))
            case commands.Basic.QosOk():
                self._write(commands.Basic.Consume(queue=self._queue, consumer_tag="c"))
            case commands.Channel.Close() | commands.Connection.Close():
                raise ConnectionError(f"the broker refused the listener: {frame.reply_text}")

    def _write(self, frame: pamqp.base.Frame, channel: int = 1) -> None:
        assert self._transport is not None
        self._transport.write(pamqp.frame.marshal(frame, channel))


def _message_id(frame: bytes) -> bytes:
    """The message-id, in a content header with content type, encoding, headers, delivery mode and it."""
    flags = _FLAGS.unpack_from(frame, 19)[0]
    if flags != 0xF080:
        raise ValueError(f"not a message of the relay: property flags {flags:#x}")
    at = 21
    at += 1 + frame[at]
    at += 1 + frame[at]
    at += 4 + _LONG.unpack_from(frame, at)[0]
    at += 1
    return frame[at + 1 : at + 1 + frame[at]]

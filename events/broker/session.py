"""One connection as a state machine: bytes from the client in, bytes to the client out, no sockets.

The owner feeds `receive`, and is told by `notify` that there is something to do: output to take, input to
start or stop reading, or the end of the connection.
"""

import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from pamqp.base import Frame
from pamqp.commands import Basic, Connection
from pamqp.commands import Channel as ChannelMethods

from events.broker import declarations, handshake, wire
from events.broker.channel import Channel
from events.broker.errors import AmqpError, Reply
from events.broker.link import Confirming
from events.broker.topology import Topology

logger = logging.getLogger(__name__)

_TICKS_ALLOWED: Final = 4
"""Half heartbeat intervals without a byte from the client: two whole ones, as RabbitMQ allows."""
_FIRST_FRAMES: Final = 8192
"""Bytes a frame may have before the client has shown who it is and agreed on more."""
_REPLIES_LIMIT: Final = 4
"""Output that may wait, in multiples of `outgoing_bytes`, before requests are not read any more."""


class State(Enum):
    """What is expected next."""

    HEADER = auto()
    START_OK = auto()
    TUNE_OK = auto()
    OPEN = auto()
    RUNNING = auto()
    CLOSE_OK = auto()
    """The broker has closed the connection; everything but the client's answer is ignored."""
    FINISHED = auto()
    """Nothing more will be said; the socket is to be closed."""


class Session:
    """Frames go to their channels; what concerns the connection as a whole is done here.

    Nothing a client sends leaves this class as an exception: a refusal closes the channel or the connection,
    and so does a fault of ours, which is logged.
    """

    def __init__(
        self, topology: Topology, *, username: str, password: str, notify: Callable[[], None], peer: str = "?"
    ) -> None:
        self.topology = topology
        self.peer = peer
        self.state = State.HEADER
        self.user = username
        self.body_limit = min(topology.limits.frame_bytes, _FIRST_FRAMES) - wire.ENVELOPE
        self.capabilities: frozenset[str] = frozenset()
        self.tuning = handshake.Tuning(topology.limits.channels, topology.limits.frame_bytes, 0)
        self.writable = True
        self.blocked = False
        """Not read until publishers may go on."""
        self.promised = False
        self.consumer_count = 0
        self.progress = 0
        """Grows with the frames that were handled."""
        self.backlog = 0
        """Bytes the socket has not taken yet; the owner keeps it up to date."""
        self._password = password
        self._notify = notify
        self._notified = False
        self._channels: dict[int, Channel] = {}
        self._closing: set[int] = set()
        """Channels the broker has closed whose close-ok has not come."""
        self._confirming: list[Confirming] = []
        self._input = bytearray()
        self._needed = 0
        self._output: list[bytes] = []
        self._output_size = 0
        self._urgent: list[bytes] = []
        """About the connection itself: it may overtake the output, and waits for no journal."""
        self._outgoing_limit = topology.limits.outgoing_bytes
        self._replies_limit = _REPLIES_LIMIT * self._outgoing_limit + topology.limits.message_bytes
        self._heard = False
        self._silent_ticks = 0
        self._said = False
        self._current_method = 0

    # -- input ------------------------------------------------------------------------------------------

    @property
    def wants_input(self) -> bool:
        """False while reading more would only fill memory."""
        return not self.blocked and self._output_size + self.backlog <= self._replies_limit

    @property
    def mid_frame(self) -> bool:
        """Has the client begun a frame, and is the rest awaited?"""
        return bool(self._input) and self.wants_input

    def receive(self, data: bytes) -> None:
        """Take bytes from the client, handle the frames that are complete. b"" goes on where it stopped."""
        self._heard = True
        if self._input:
            self._input += data
            if len(self._input) < self._needed:
                return
            data = bytes(self._input)
            self._input.clear()
        position = self._handle(data)
        self.progress += position
        if position < len(data) and self.state is not State.FINISHED:
            self._input += data[position:]

    def _handle(self, data: bytes) -> int:
        """Handle the frames at the front; how many bytes that were."""
        position, end = 0, len(data)
        self._needed = 0
        if self.state is State.HEADER:
            position = self._protocol_header(data)
            if not position:
                return 0
        head = wire.FRAME_HEAD
        while position + 7 <= end and self.state is not State.FINISHED and self.wants_input:
            kind, number, size = head.unpack_from(data, position)
            stop = position + 7 + size
            try:
                if size > self.body_limit:
                    raise AmqpError(
                        Reply.FRAME_ERROR, f"frame of {size} bytes, larger than {self.body_limit}"
                    )
                if stop >= end:
                    self._needed = stop - position + 1
                    break
                if data[stop] != wire.END:
                    raise AmqpError(Reply.FRAME_ERROR, f"invalid frame end marker {data[stop]}")
                self._frame(kind, number, data[position + 7 : stop])
            except AmqpError as error:
                if error.code is Reply.FRAME_ERROR:
                    stop = end - 1
                self._refuse(error, number)
            except Exception:
                logger.exception("a frame could not be handled", extra={"peer": self.peer})
                self._refuse(AmqpError(Reply.INTERNAL_ERROR, "the broker failed; see its log"), number)
            position = stop + 1
        return position

    def _protocol_header(self, data: bytes) -> int:
        if len(data) < len(wire.PROTOCOL_HEADER) and wire.PROTOCOL_HEADER.startswith(data):
            return 0
        if not data.startswith(wire.PROTOCOL_HEADER):
            self.write(wire.PROTOCOL_HEADER)
            self._finish("the client does not speak AMQP 0-9-1")
            return len(data)
        self.state = State.START_OK
        self.write(handshake.start_frame())
        return len(wire.PROTOCOL_HEADER)

    def _frame(self, kind: int, number: int, payload: bytes) -> None:
        channel = self._channels.get(number)
        if channel is None:
            self._frame_elsewhere(kind, number, payload)
        elif kind == wire.BODY:
            self._current_method = Basic.Publish.index
            channel.publishing.on_body(payload)
        elif kind == wire.HEADER:
            self._current_method = Basic.Publish.index
            channel.publishing.on_header(payload)
        elif kind == wire.METHOD:
            self._channel_method(channel, payload)
        else:
            raise _unexpected(kind, payload)

    def _channel_method(self, channel: Channel, payload: bytes) -> None:
        if channel.publishing.expects_content:
            raise AmqpError(
                Reply.UNEXPECTED_FRAME, "expected content header or body, got a method frame instead"
            )
        index = self._current_method = int.from_bytes(payload[:4], "big")
        if index == Basic.Publish.index:
            channel.publishing.on_publish(payload)
        elif index == Basic.Ack.index:
            channel.on_ack(payload)
        else:
            method = wire.decode_method(payload)
            if isinstance(method, ChannelMethods.Close):
                _release([self._channels.pop(channel.number)])
                channel.reply(ChannelMethods.CloseOk.index)
            elif isinstance(method, ChannelMethods.Open):
                raise AmqpError(Reply.CHANNEL_ERROR, "second 'channel.open' seen")
            elif not (channel.on_method(method) or declarations.on_method(channel, method)):
                raise _not_offered(method)

    def _frame_elsewhere(self, kind: int, number: int, payload: bytes) -> None:
        """A frame on channel 0 or on one that is not open."""
        self._current_method = 0
        if self.state is State.CLOSE_OK:
            if payload[:4] == Connection.CloseOk.index.to_bytes(4, "big"):
                self._finish("closed")
            return
        if number == 0 and kind == wire.HEARTBEAT and not payload:
            return
        if number == 0 and kind == wire.METHOD:
            self._connection_method(wire.decode_method(payload))
        elif self.state is not State.RUNNING:
            raise _unexpected(kind, payload)
        elif number in self._closing:
            self._frame_on_closing(number, kind, payload)
        elif kind == wire.METHOD and isinstance(wire.decode_method(payload), ChannelMethods.Open):
            if len(self._channels) >= self.tuning.channels:
                raise AmqpError(Reply.NOT_ALLOWED, f"the limit of {self.tuning.channels} channels is reached")
            channel = self._channels[number] = Channel(self, number)
            channel.reply(ChannelMethods.OpenOk.index, wire.longstr(b""))
        elif kind in (wire.METHOD, wire.HEADER, wire.BODY) and number:
            raise AmqpError(Reply.CHANNEL_ERROR, "expected 'channel.open'")
        else:
            raise _unexpected(kind, payload)

    def _frame_on_closing(self, number: int, kind: int, payload: bytes) -> None:
        if kind != wire.METHOD:
            return
        if payload[:4] == ChannelMethods.CloseOk.index.to_bytes(4, "big"):
            self._closing.discard(number)
        elif payload[:4] == ChannelMethods.Close.index.to_bytes(4, "big"):
            self.write(wire.method(number, ChannelMethods.CloseOk.index))

    # -- connection methods -----------------------------------------------------------------------------

    def _connection_method(self, method: Frame) -> None:
        self._current_method = method.index
        if isinstance(method, Connection.Close):
            self._let_go()
            self.write(wire.method(0, Connection.CloseOk.index))
            self._finish("closed by the client")
        elif self.state is State.START_OK and isinstance(method, Connection.StartOk):
            self._start_ok(method)
        elif self.state is State.TUNE_OK and isinstance(method, Connection.TuneOk):
            self.tuning = handshake.negotiate(method, self.topology.limits)
            self.body_limit = self.tuning.frame_bytes - wire.ENVELOPE
            self.state = State.OPEN
        elif self.state is State.OPEN and isinstance(method, Connection.Open):
            if method.virtual_host != "/":
                raise AmqpError(Reply.NOT_ALLOWED, f"vhost {method.virtual_host} not found")
            self.state = State.RUNNING
            self.write(wire.method(0, Connection.OpenOk.index, wire.shortstr("")))
        elif self.state is State.RUNNING and isinstance(method, Connection.UpdateSecret):
            self.write(wire.method(0, Connection.UpdateSecretOk.index))
        else:
            raise AmqpError(
                Reply.CHANNEL_ERROR, f"unexpected {method.name} in connection state {self.state.name.lower()}"
            )

    def _start_ok(self, method: Connection.StartOk) -> None:
        self.capabilities = handshake.client_capabilities(method)
        known = method.mechanism in handshake.MECHANISMS
        if known and handshake.matches(handshake.credentials(method), self.user, self._password):
            self.state = State.TUNE_OK
            self.write(handshake.tune_frame(self.topology.limits))
            return
        logger.warning("login refused", extra={"peer": self.peer, "mechanism": method.mechanism})
        refusal = AmqpError(
            Reply.ACCESS_REFUSED,
            f"Login was refused using authentication mechanism {method.mechanism}. See the broker's log.",
        )
        if "authentication_failure_close" in self.capabilities:
            self._close(refusal)
        else:
            self._finish(str(refusal))

    # -- closing ----------------------------------------------------------------------------------------

    def _refuse(self, error: AmqpError, number: int) -> None:
        channel = self._channels.get(number)
        if channel is None or error.closes_connection:
            self._close(error)
            return
        logger.info("channel closed: %s", error, extra={"peer": self.peer, "channel": number})
        del self._channels[number]
        self._closing.add(number)
        _release([channel])
        channel.reply(ChannelMethods.Close.index, wire.close_arguments(error, self._current_method))

    def _close(self, error: AmqpError) -> None:
        if self.state in (State.CLOSE_OK, State.FINISHED):
            return
        logger.warning("connection closed: %s", error, extra={"peer": self.peer})
        self._let_go()
        self.state = State.CLOSE_OK
        self.write(wire.method(0, Connection.Close.index, wire.close_arguments(error, self._current_method)))

    def shut_down(self) -> None:
        """The broker stops: tell the client."""
        if self.state is State.RUNNING:
            self._close(AmqpError(Reply.CONNECTION_FORCED, "broker shut down"))
        else:
            self._finish("broker shut down")

    def lost(self) -> None:
        """The socket is gone."""
        self._finish("the socket was closed")

    def _finish(self, why: str) -> None:
        if self.state is not State.FINISHED:
            logger.debug("connection ends: %s", why, extra={"peer": self.peer})
            self._let_go()
            self.state = State.FINISHED
            self.notify()

    def _let_go(self) -> None:
        """Give back what the client had, and remove what was its own."""
        channels, self._channels = list(self._channels.values()), {}
        _release(channels)
        self.topology.remove_queues_of(self)
        self.topology.memory.forget(self._unblock)
        self.blocked = False

    # -- output -----------------------------------------------------------------------------------------

    def write(self, *parts: bytes) -> None:
        self._output += parts
        self._output_size += sum(map(len, parts))
        if self._output_size >= self._outgoing_limit:
            self.writable = False
        self.notify()

    def notify(self) -> None:
        """Tell the owner, once until it has looked."""
        if not self._notified:
            self._notified = True
            self._notify()

    def confirm_later(self, channel: Confirming) -> None:
        self._confirming.append(channel)
        self.promised = True
        self.notify()

    def _write_urgent(self, frame: bytes) -> None:
        self._urgent.append(frame)
        self.notify()

    def take_output(self) -> bytes:
        """Everything to be sent now, except what `take_urgent` gives."""
        confirming, self._confirming = self._confirming, []
        for channel in confirming:
            channel.flush_confirms()
        output = b"".join(self._output)
        self._output.clear()
        self._output_size = 0
        self._notified = False
        self._said = self._said or bool(output)
        return output

    def take_urgent(self) -> bytes:
        """What may be sent before anything else."""
        urgent = b"".join(self._urgent)
        self._urgent.clear()
        self._said = self._said or bool(urgent)
        return urgent

    def output_taken(self, backlog: int, paused: bool) -> None:
        """The socket holds `backlog` bytes and, unless it is `paused`, takes more: deliveries go on."""
        self.backlog = backlog
        had_to_wait, self.writable = not self.writable, not paused
        if had_to_wait and self.writable:
            for channel in list(self._channels.values()):
                channel.wake_consumers()

    # -- memory and heartbeats --------------------------------------------------------------------------

    def published(self) -> None:
        if not self.blocked and (problem := self.topology.memory.problem) is not None:
            self.blocked = True
            self.topology.memory.when_free(self._unblock)
            if "connection.blocked" in self.capabilities:
                self._write_urgent(wire.method(0, Connection.Blocked.index, wire.shortstr(problem)))
            self.notify()

    def _unblock(self) -> None:
        self.blocked = False
        if "connection.blocked" in self.capabilities:
            self._write_urgent(wire.method(0, Connection.Unblocked.index))
        self.notify()

    def tick(self) -> None:
        """Half a heartbeat interval has passed: say something if nothing was said, end if nothing was
        heard.
        """
        self._silent_ticks = 0 if self._heard or not self.wants_input else self._silent_ticks + 1
        if self._silent_ticks >= _TICKS_ALLOWED:
            logger.warning("missed heartbeats from client", extra={"peer": self.peer})
            self._finish("missed heartbeats")
        elif not self._said and self.writable:
            self._write_urgent(wire.HEARTBEAT_FRAME)
        self._heard = self._said = False


def _release(channels: list[Channel]) -> None:
    """Close channels. All consumers go first: none of them is to get what another gives back."""
    for channel in channels:
        channel.publishing.close()
        channel.stop_consuming()
    for channel in channels:
        channel.requeue_all()


def _not_offered(method: Frame) -> AmqpError:
    if method.name.startswith("Tx."):
        return AmqpError(
            Reply.NOT_IMPLEMENTED, "transactions: not offered by the embedded broker, use confirms"
        )
    return AmqpError(Reply.COMMAND_INVALID, f"unimplemented method {method.name}")


def _unexpected(kind: int, payload: bytes) -> AmqpError:
    if kind in (wire.METHOD, wire.HEADER, wire.BODY) or (kind == wire.HEARTBEAT and not payload):
        return AmqpError(Reply.UNEXPECTED_FRAME, f"frame of type {kind} not expected here")
    return AmqpError(Reply.FRAME_ERROR, f"frame of unknown type {kind} or shape")

"""A socket and its session: reads, writes, timers, and who has to wait for whom."""

import asyncio
import logging
from typing import Final, NamedTuple, Protocol, cast

from events.broker.limits import BrokerLimits
from events.broker.session import Session, State

logger = logging.getLogger(__name__)

_READ_BYTES: Final = 64 * 1024
"""Read and handled at a time: a busy publisher holds up the others for some milliseconds at most."""


class Owner(Protocol):
    """What a connection asks of its broker."""

    limits: BrokerLimits

    def new_session(self, connection: "ClientConnection", peer: str) -> Session | None:
        """Admit a connection; None when there are too many."""

    def left(self, connection: "ClientConnection") -> None:
        """The connection is gone."""

    def flush_soon(self, connection: "ClientConnection") -> None:
        """Take what the connection has to send, and have it sent when that may be."""

    def worked(self) -> None:
        """Something was handled: timers and the journal may have changed."""


class Outgoing(NamedTuple):
    """What a connection has to send."""

    urgent: bytes
    output: bytes
    promised: bool
    """The output says that something is done."""


class ClientConnection(asyncio.BufferedProtocol):
    """Output is collected while the event loop handles what has arrived, and written once: many small frames,
    on behalf of many clients, leave in one piece, once the journal holds what they rest on."""

    _transport: asyncio.Transport
    _session: Session

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(_READ_BYTES)
        self._admitted = False
        self._reading = True
        self._write_paused = False
        self._withheld: list[bytes] = []
        """Output that must not leave while the journal cannot be written."""
        self._deadline: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._frame_timer: asyncio.TimerHandle | None = None

    # -- called by the event loop -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: the transports of uvloop are no subclass.
        self._transport = transport = cast(asyncio.Transport, transport)
        host, port = (transport.get_extra_info("peername") or ("?", 0))[:2]
        session = self._owner.new_session(self, f"{host}:{port}")
        if session is None:
            logger.warning("connection refused: too many", extra={"limit": self._owner.limits.connections})
            transport.abort()
            return
        self._session = session
        self._admitted = True
        transport.set_write_buffer_limits(high=self._owner.limits.outgoing_bytes)
        self._set_deadline()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._admitted:
            self._session.receive(bytes(memoryview(self._buffer)[:nbytes]))
            self._after_input()

    def pause_writing(self) -> None:
        self._write_paused = True
        self._report_output()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._report_output()
        self._read_or_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._admitted:
            return
        for timer in (self._deadline, self._ticker, self._frame_timer):
            if timer is not None:
                timer.cancel()
        self._session.lost()
        self._owner.left(self)
        self._owner.worked()

    # -- called by the session and the broker -----------------------------------------------------------

    def notify(self) -> None:
        """There is something to do, soon."""
        self._owner.flush_soon(self)

    @property
    def withholds(self) -> bool:
        return bool(self._withheld)

    def take(self) -> Outgoing:
        """What there is to send now."""
        session = self._session
        output = session.take_output()
        promised, session.promised = session.promised, False
        return Outgoing(session.take_urgent(), output, promised)

    def send(self, outgoing: Outgoing, kept: bool) -> None:
        """Send it; unless what was promised is `kept`, promises and what follows them stay for later."""
        if self._transport.is_closing():
            return
        urgent, output, promised = outgoing
        if not kept and (promised or self._withheld):
            self._withheld.append(output)
            output = b""
            self._session.published()  # whoever waits for a confirm learns why
        elif self._withheld:
            output = b"".join((*self._withheld, output))
            self._withheld.clear()
        if urgent or output:
            self._transport.write(urgent + output)
        self._report_output()
        self._follow_state()
        self._read_or_wait()
        self._owner.worked()

    def shut_down(self) -> None:
        self._session.shut_down()

    def abort(self) -> None:
        self._transport.abort()

    # -- inside -----------------------------------------------------------------------------------------

    def _report_output(self) -> None:
        withheld = sum(map(len, self._withheld))
        paused = self._write_paused or withheld > self._owner.limits.outgoing_bytes
        self._session.output_taken(self._transport.get_write_buffer_size() + withheld, paused)

    def _follow_state(self) -> None:
        state = self._session.state
        if state is State.RUNNING:
            if self._ticker is None and self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
                self._tick()
        elif state is State.CLOSE_OK:
            if self._deadline is None:
                self._set_deadline()
        elif state is State.FINISHED:
            if self._deadline is None:
                self._set_deadline()
            self._transport.close()

    def _read_or_wait(self) -> None:
        wanted = self._session.wants_input
        if wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
            self._session.receive(b"")
            self._after_input()
        else:
            self._transport.pause_reading()

    def _after_input(self) -> None:
        self._watch_frame()
        self._read_or_wait()
        self._owner.worked()

    def _tick(self) -> None:
        """Every half heartbeat interval, the first time at once."""
        if interval := self._session.tuning.heartbeat:
            self._session.tick()
            self._ticker = self._loop.call_later(interval / 2, self._tick)

    def _watch_frame(self) -> None:
        """A client that sends a frame byte by byte would hold its place for ever, heartbeats or not."""
        if self._frame_timer is None and self._session.mid_frame:
            seconds = self._owner.limits.frame_seconds
            self._frame_timer = self._loop.call_later(seconds, self._frame_due, self._session.progress)

    def _frame_due(self, progress: int) -> None:
        self._frame_timer = None
        if self._session.mid_frame and self._session.progress == progress:
            self._too_slow()
        else:
            self._watch_frame()

    def _set_deadline(self) -> None:
        self._deadline = self._loop.call_later(self._owner.limits.handshake_seconds, self._too_slow)

    def _too_slow(self) -> None:
        logger.warning(
            "connection dropped: the client did not answer or finish a frame in time",
            extra={"peer": self._session.peer},
        )
        self.abort()

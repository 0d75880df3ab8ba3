"""The broker on a socket: start, stop, the alarm for what is due in the queues, and rounds of output.

A round takes what all connections have to say, commits the journal, and sends. One begins when the last has
ended, so that the busier the broker is, the more shares a commit.
"""

import asyncio
import errno
import logging
import os
import socket
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from events.broker.connection import ClientConnection, Outgoing
from events.broker.journal import Journal
from events.broker.journal_file import Synchronous
from events.broker.limits import BrokerLimits
from events.broker.recovery import recovered
from events.broker.session import Session
from events.broker.topology import QueueInfo, Topology

logger = logging.getLogger(__name__)

TRY_AGAIN_SECONDS: Final = 1.0
"""After the journal could not be written."""


class PortInUse(OSError):
    """Another program listens on the port the broker is to listen on."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            errno.EADDRINUSE, f"port {port} on {host} is taken: stop what listens there or choose another"
        )
        self.host = host
        self.port = port


class Broker:
    """An AMQP 0-9-1 broker in this process, for one machine.

    Unmodified clients work against it as against RabbitMQ, within what the package's docstring lists.
    Queues and their messages live in memory. With a `journal`, the durable ones among the exchanges, queues
    and bindings, and persistent messages in durable queues, are in that file too, and are there again after
    a restart, however the process ended: what was confirmed, or answered, is in it. One process can have it.

        async with Broker() as broker:
            connection = await aio_pika.connect(broker.url)
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        username: str = "guest",
        password: str = "guest",
        limits: BrokerLimits | None = None,
        journal: Path | None = None,
        synchronous: Synchronous = "NORMAL",
    ) -> None:
        """`port` 0 takes a free one. The credentials are the only ones accepted. With `synchronous` FULL the
        journal survives a power cut too, at a sync per commit.
        """
        self.host = host
        self.port = port
        self.limits = limits or BrokerLimits()
        self._username = username
        self._password = password
        self._journal_path = journal
        self._synchronous = synchronous
        self._journal: Journal | None = None
        self._topology = Topology(self.limits)
        self._server: asyncio.Server | None = None
        self._notified: list[ClientConnection] = []
        self._round_planned = False
        self._committing = False
        self._try_again: asyncio.TimerHandle | None = None
        self._connections: set[ClientConnection] = set()
        self._all_left = asyncio.Event()
        self._all_left.set()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_time = 0.0

    @property
    def url(self) -> str:
        """Where clients connect to, with the credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"amqp://{quote(self._username, safe='')}:{quote(self._password, safe='')}@{host}:{self.port}/"

    def queues(self) -> list[QueueInfo]:
        """Every queue as it is now."""
        return self._topology.snapshot()

    async def start(self) -> None:
        """Listen. Raises PortInUse, JournalUnusable, or OSError when the host is not this machine's."""
        if self._server is not None:
            raise RuntimeError("the broker has been started already")
        loop = asyncio.get_running_loop()
        sock = await self._bound_socket()
        self.port = sock.getsockname()[1]
        try:
            self._open_topology()
            self._server = await loop.create_server(
                lambda: ClientConnection(self), sock=sock, backlog=self.limits.connections
            )
        except BaseException:
            sock.close()
            self._close_journal()
            raise
        self.worked()
        logger.info("broker listens", extra={"host": self.host, "port": self.port})

    def _open_topology(self) -> None:
        if self._journal_path is None:
            self._topology = Topology(self.limits)
            return
        self._journal = Journal(self._journal_path, self._synchronous)
        self._topology = recovered(self._journal, self.limits)

    async def _bound_socket(self) -> socket.socket:
        """One socket for one address: a name that stands for several would get a port for each."""
        found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(self.host, self.port) from error
            raise
        return sock

    async def stop(self) -> None:
        """Take no more connections, tell every client (320 CONNECTION_FORCED) and wait until they are gone,
        those that do not answer no longer than `handshake_seconds`; cancelled, it waits no longer. What the
        journal does not hold is gone afterwards.
        """
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.shut_down()
        try:
            await self._all_left.wait()
        finally:
            self._end()
        logger.info("broker stopped", extra={"port": self.port})

    def _end(self) -> None:
        for connection in list(self._connections):
            connection.abort()
        for timer in (self._alarm, self._try_again):
            if timer is not None:
                timer.cancel()
        self._alarm = self._try_again = None
        self._close_journal()
        self._server = None

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- for the connections ----------------------------------------------------------------------------

    def new_session(self, connection: ClientConnection, peer: str) -> Session | None:
        if len(self._connections) >= self.limits.connections:
            return None
        self._connections.add(connection)
        self._all_left.clear()
        return Session(
            self._topology,
            username=self._username,
            password=self._password,
            notify=connection.notify,
            peer=peer,
        )

    def left(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._all_left.set()

    def worked(self) -> None:
        """Set the alarm to the next time that something is due in the queues, and see to the journal."""
        if self._server is None:
            return
        if self._journal is not None and self._journal.dirty and self._journal.problem is None:
            self._plan_round()
        when = self._topology.agenda.next()
        if when is None or (self._alarm is not None and self._alarm_time <= when):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_time = when
        delay = max(0.0, when - self._topology.clock())
        self._alarm = asyncio.get_running_loop().call_later(delay, self._ring)

    def flush_soon(self, connection: ClientConnection) -> None:
        self._notified.append(connection)
        self._plan_round()

    # -- rounds -----------------------------------------------------------------------------------------

    def _plan_round(self) -> None:
        if not (self._round_planned or self._committing):
            self._round_planned = True
            asyncio.get_running_loop().call_soon(self._round)

    def _round(self) -> None:
        self._round_planned = False
        notified, self._notified = self._notified, []
        outgoing = [(connection, connection.take()) for connection in notified]
        journal = self._journal
        if journal is not None and journal.dirty and journal.problem is None:
            self._commit(journal, outgoing)
        else:
            _send(outgoing, kept=journal is None or journal.problem is None)

    def _commit(self, journal: Journal, outgoing: list[tuple[ClientConnection, Outgoing]]) -> None:
        self._committing = True
        journal.commit(partial(self._committed, journal, outgoing))

    def _committed(self, journal: Journal, outgoing: list[tuple[ClientConnection, Outgoing]]) -> None:
        self._committing = False
        if journal is not self._journal:
            return  # the broker has been stopped
        self._topology.memory.journal_state(journal.problem)
        _send(outgoing, kept=journal.problem is None)
        if journal.problem is not None:
            loop = asyncio.get_running_loop()
            self._try_again = loop.call_later(TRY_AGAIN_SECONDS, self._commit, journal, [])
        elif self._try_again is not None:
            self._try_again = None
            for connection in self._connections:
                if connection.withholds:
                    self._notified.append(connection)
        if self._notified:
            self._plan_round()
        self.worked()

    def _ring(self) -> None:
        self._alarm = None
        self._topology.agenda.run(self._topology.clock())
        self.worked()


def _send(outgoing: list[tuple[ClientConnection, Outgoing]], *, kept: bool) -> None:
    for connection, parts in outgoing:
        connection.send(parts, kept)

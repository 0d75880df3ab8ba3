"""The broker on a socket: start, stop, and the alarm for what is due in the queues."""

import asyncio
import errno
import logging
import os
import socket
from types import TracebackType
from typing import Self
from urllib.parse import quote

from events.broker.connection import ClientConnection
from events.broker.limits import BrokerLimits
from events.broker.session import Session
from events.broker.topology import QueueInfo, Topology

logger = logging.getLogger(__name__)


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
    Queues and their messages live in memory: they are gone when the process is.

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
    ) -> None:
        """`port` 0 takes a free one. The credentials are the only ones accepted."""
        self.host = host
        self.port = port
        self.limits = limits or BrokerLimits()
        self._username = username
        self._password = password
        self._topology = Topology(self.limits)
        self._server: asyncio.Server | None = None
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
        """Listen. Raises PortInUse, or another OSError when the host is not this machine's."""
        if self._server is not None:
            raise RuntimeError("the broker has been started already")
        loop = asyncio.get_running_loop()
        sock = await self._bound_socket()
        self.port = sock.getsockname()[1]
        self._topology = Topology(self.limits)
        self._server = await loop.create_server(
            lambda: ClientConnection(self), sock=sock, backlog=self.limits.connections
        )
        logger.info("broker listens", extra={"host": self.host, "port": self.port})

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
        those that do not answer no longer than `handshake_seconds`. The queues are gone afterwards.
        """
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.shut_down()
        await self._all_left.wait()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._server = None
        logger.info("broker stopped", extra={"port": self.port})

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
        """Set the alarm to the next time that something is due in the queues."""
        when = self._topology.agenda.next()
        if when is None or (self._alarm is not None and self._alarm_time <= when):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_time = when
        delay = max(0.0, when - self._topology.clock())
        self._alarm = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._topology.agenda.run(self._topology.clock())
        self.worked()

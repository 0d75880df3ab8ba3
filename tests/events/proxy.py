"""A TCP proxy that can be cut, that can swallow everything, and that can refuse to be reached."""

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Stands between a client and the server of ``url``; ``self.url`` leads through it."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connected = asyncio.Condition()
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        login = self._target.netloc.rpartition("@")[0] or "guest:guest"
        return urlunsplit(self._target._replace(netloc=f"{login}@127.0.0.1:{self.port}"))

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        await self.cut()

    async def accept(self) -> None:
        """Let clients connect, always at the same port."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Connections that clients try to open are refused; those they have stay."""
        if self._server is not None:
            self._server.close()

    async def cut(self) -> None:
        """Break all connections now."""
        for pair in self._pairs.values():
            for writer in pair:
                writer.transport.abort()
        self._flowing.set()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    def swallow(self) -> None:
        """Connections stay up, and nothing goes through them any more."""
        self._flowing.clear()

    def flow(self) -> None:
        """The opposite of :meth:`swallow`; what was swallowed is late, not lost."""
        self._flowing.set()

    async def connected(self, count: int) -> None:
        """Wait until so many connections have been opened since the start."""
        async with self._connected:
            await self._connected.wait_for(lambda: self.connections >= count)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self._target.port or 5672
        try:
            server_reader, server_writer = await asyncio.open_connection(self._target.hostname, port)
        except OSError:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._pairs[task] = writer, server_writer
        async with self._connected:
            self.connections += 1
            self._connected.notify_all()
        try:
            await asyncio.gather(self._pump(reader, server_writer), self._pump(server_reader, writer))
        except ConnectionError:
            pass
        finally:
            del self._pairs[task]
            writer.transport.abort()
            server_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("one side closed")

"""A broker that does what the test tells it: shakes hands, then keeps silent and counts.

For what a real broker does too rarely or too late: refusing messages, blocking publishers, falling silent.
"""

import asyncio
from types import TracebackType
from typing import Self

import pamqp.frame
from pamqp import commands
from pamqp.base import Frame
from pamqp.header import ContentHeader

ANSWERS = {
    commands.Connection.StartOk: commands.Connection.Tune(channel_max=10, frame_max=4096, heartbeat=0),
    commands.Connection.Open: commands.Connection.OpenOk(),
    commands.Channel.Open: commands.Channel.OpenOk(),
    commands.Exchange.Declare: commands.Exchange.DeclareOk(),
    commands.Confirm.Select: commands.Confirm.SelectOk(),
    commands.Connection.Close: commands.Connection.CloseOk(),
}


class ScriptedBroker:
    """Serves one publisher at a time; ``tune`` is what it proposes in the handshake."""

    def __init__(self, *, tune: commands.Connection.Tune | None = None) -> None:
        self.answers: dict[type[Frame], Frame] = dict(ANSWERS)
        if tune is not None:
            self.answers[commands.Connection.StartOk] = tune
        self.received: list[object] = []
        self.url = ""
        self._arrived = asyncio.Condition()
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"amqp://guest:guest@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        if self._writer is not None:
            self._writer.transport.abort()
        if self._serving is not None:
            await self._serving

    def send(self, *frames: Frame, channel: int = 1) -> None:
        """Send these to the publisher, in one piece."""
        assert self._writer is not None
        self._writer.write(b"".join(pamqp.frame.marshal(frame, channel) for frame in frames))

    async def has_received(self, kind: type, count: int = 1) -> None:
        """Wait for so many frames of a kind."""
        async with self._arrived:
            await self._arrived.wait_for(
                lambda: sum(isinstance(frame, kind) for frame in self.received) >= count
            )

    async def has_published(self, count: int) -> None:
        """Wait until so many messages have arrived."""
        await self.has_received(ContentHeader, count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer, self._serving = writer, asyncio.current_task()
        try:
            await reader.readexactly(8)
            self.send(commands.Connection.Start(), channel=0)
            while True:
                await self._answer(await self._read(reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()

    async def _answer(self, frame: object) -> None:
        answer = self.answers.get(type(frame))  # type: ignore[call-overload]
        if answer is not None:
            self.send(answer, channel=0 if answer.name.startswith("Connection") else 1)
        async with self._arrived:
            self.received.append(frame)
            self._arrived.notify_all()

    async def _read(self, reader: asyncio.StreamReader) -> object:
        head = await reader.readexactly(7)
        rest = await reader.readexactly(int.from_bytes(head[3:7]) + 1)
        return pamqp.frame.unmarshal(head + rest)[2]

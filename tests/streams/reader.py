"""A reader of Server-Sent Events in this process: it may take its time, and hang up where it likes."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from starlette.types import ASGIApp, Message

SECONDS: Final = 30.0


@dataclass(frozen=True)
class Received:
    """An event as its reader has it."""

    id: str
    kind: str
    data: Any


class Reader:
    """One GET: ``async with Reader(application, target) as reader``. ``status`` is there at once."""

    def __init__(self, application: ASGIApp, target: str, headers: Mapping[str, str] | None = None) -> None:
        path, _, query = target.partition("?")
        self._application = application
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        self._arrived: asyncio.Queue[Message] = asyncio.Queue()
        self._reads = asyncio.Event()
        self._reads.set()
        self._gone = asyncio.Event()
        self._asked = False
        self._text = ""
        self._task: asyncio.Task[None] | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.first = ""
        """What came before the first event."""
        self.last_id: str | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._application(self._scope, self._receive, self._send))
        start = await self._next()
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    async def hang_up(self) -> None:
        """Lose the connection; returns when the server is done with it."""
        self._gone.set()
        self._reads.set()
        assert self._task is not None
        async with asyncio.timeout(SECONDS):
            await self._task

    def pause(self) -> None:
        """Take nothing any more: the server's next piece waits."""
        self._reads.clear()

    def go_on(self) -> None:
        self._reads.set()

    async def event(self) -> Received:
        """The next event; comments are left out. Raises EOFError at the end."""
        while True:
            block = await self._block()
            lines = [line.partition(": ") for line in block.split("\n")]
            fields = {name: value for name, _, value in lines if name}
            if "data" in fields:
                self.last_id = fields["id"]
                return Received(fields["id"], fields.get("event", "message"), json.loads(fields["data"]))

    async def events(self) -> list[Received]:
        """All events until the server ends the stream."""
        found = []
        try:
            while True:
                found.append(await self.event())
        except EOFError:
            return found

    async def comment(self) -> str:
        """The next block that is no event."""
        block = await self._block()
        assert block.startswith(":"), block
        return block

    async def body(self) -> str:
        """Everything until the end."""
        while (message := await self._next()).get("more_body"):
            self._text += message["body"].decode()
        return self._text + message.get("body", b"").decode()

    async def ended(self) -> None:
        """Until the server ends the stream, whatever comes before."""
        try:
            while True:
                await self.event()
        except EOFError:
            pass

    async def _block(self) -> str:
        while "\n\n" not in self._text:
            message = await self._next()
            self._text += message.get("body", b"").decode()
            if not message.get("more_body") and "\n\n" not in self._text:
                raise EOFError
        block, _, self._text = self._text.partition("\n\n")
        if block.startswith("retry: "):
            self.first = block
            return await self._block()
        return block

    async def _next(self) -> Message:
        async with asyncio.timeout(SECONDS):
            return await self._arrived.get()

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self._reads.wait()
        if not self._gone.is_set():
            self._arrived.put_nowait(message)

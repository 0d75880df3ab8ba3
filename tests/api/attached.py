"""Attached workers in the process of a running queue: sockets without a network, and the work API."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

from pydantic import SecretStr

from queue_service.api.app import Application
from queue_service.features.feature import Parts
from queue_service.features.worker_socket.feature import WORK_API, WORKER_SOCKET, Holds
from queue_service.features.worker_socket.gateway import Gateway
from queue_service.features.worker_socket.presence import TOPIC
from queue_service.settings import Settings
from queue_service.store.signals import Signal, TopicStirred
from tests.api.neighbour import Neighbour
from tests.api.running_queue import RunningQueue

Json = dict[str, Any]
SECONDS: Final = 20.0
FRAMES: Final = 200
"""Turns of the event loop in which the frames that were sent are read: they need no network."""


class Refused(Exception):
    """The handshake was answered with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class Closed(Exception):
    """The server closed the socket."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code


class Socket:
    """A worker's end of a socket: ``async with Socket(application, …) as socket``."""

    def __init__(
        self,
        application: Application,
        path: str = "/api/work/v1/queue",
        query: str = "",
        *,
        protocols: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._application = application
        self._scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "subprotocols": list(protocols),
        }
        self._to_server: asyncio.Queue[Json] = asyncio.Queue()
        self._from_server: asyncio.Queue[Json] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.subprotocol: str | None = None

    async def __aenter__(self) -> Self:
        self._to_server.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(self._application(self._scope, self._to_server.get, self._take))
        answer = await self._next()
        if answer["type"] == "websocket.http.response.start":
            await self._task
            raise Refused(answer["status"])
        self.subprotocol = answer.get("subprotocol")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    async def hang_up(self) -> None:
        """The connection is lost; returns when the server is done with it."""
        assert self._task is not None
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await self._task

    async def send(self, frame: object) -> None:
        text = frame if isinstance(frame, str) else json.dumps(frame)
        self._to_server.put_nowait({"type": "websocket.receive", "text": text})

    async def receive(self) -> Json:
        """The next frame of the server. Raises Closed."""
        message = await self._next()
        if message["type"] == "websocket.close":
            raise Closed(message["code"], message.get("reason", ""))
        return dict(json.loads(message["text"]))

    async def closed(self) -> Closed:
        """How the server closes, after any further frames."""
        while True:
            try:
                await self.receive()
            except Closed as closed:
                return closed

    @property
    def silent(self) -> bool:
        """Whether no frame waits to be read."""
        return self._from_server.empty()

    async def _take(self, message: Any) -> None:
        self._from_server.put_nowait(dict(message))

    async def _next(self) -> Json:
        async with asyncio.timeout(SECONDS):
            return await self._from_server.get()


class AttachedWork(Neighbour):
    """The gateway of one process, and the client of its API."""

    def __init__(self, queue: RunningQueue, application: Application, gateway: Gateway) -> None:
        super().__init__(queue, WORK_API, application)
        self.queue = queue
        self.application = application
        self.gateway = gateway
        self.holds = Holds(queue.database)
        self._changed = asyncio.Event()
        queue.database.subscribe(self._hear)

    def socket(self, query: str = "", **options: Any) -> Socket:
        return Socket(self.application, query=query, **options)

    async def attached(self, *tasks: Json, capacity: int | None = None) -> Socket:
        """A worker that has registered; the caller ends it."""
        socket = self.socket(protocols=() if capacity is None else ("work.v2",))
        await socket.__aenter__()
        if capacity is None:
            before = len(self.gateway.connections)
            await socket.send(list(tasks))
            await self._more_than(before)
        else:
            await socket.send({"kind": "hello", "capacity": capacity, "tasks": list(tasks)})
            assert (await socket.receive())["kind"] == "registered"
        await self.settled()
        return socket

    async def create(self, name: str = "tag", **members: Any) -> str:
        """Create an item, which must succeed; its id."""
        reply = await self.call("POST", "/tasks", {"name": name, **members})
        assert reply.status == 201, reply.body
        return str(reply.json()["status"]["taskId"])

    async def settled(self) -> None:
        """Until every frame is read, everything that fits handed out, and every answer written down."""
        for _ in range(FRAMES):
            await asyncio.sleep(0)
        async with asyncio.timeout(SECONDS):
            while self.gateway.answers.under_way or not self.gateway.settled.is_set():
                await self.gateway.answers.written()
                await self.gateway.settled.wait()

    async def _more_than(self, connections: int) -> None:
        """Until there is one more: a worker of ``work.v1`` is not told that it is attached."""
        async with asyncio.timeout(SECONDS):
            while len(self.gateway.connections) == connections:
                await self._changed.wait()
                self._changed.clear()
                for _ in range(FRAMES):  # told by the commit, just before the gateway has the connection
                    await asyncio.sleep(0)

    def _hear(self, signal: Signal) -> None:
        if signal == TopicStirred(TOPIC):
            self._changed.set()

    async def state(self, task_id: str) -> str:
        return str((await self.queue.status(task_id))["state"])


@asynccontextmanager
async def attached_work(queue: RunningQueue, *, no_auth: bool = True) -> AsyncIterator[AttachedWork]:
    """Attached work as the service starts it."""
    settings = Settings(no_auth=no_auth, root_access_token=SecretStr(""), secret_key=SecretStr("k" * 40))
    parts = Parts(
        queue.database, queue.clock, settings, "test", queue=queue.api, gate=queue.permit, amqp_url=None
    )
    async with WORKER_SOCKET.open(parts) as running:
        application = Application(
            [WORK_API], running.handlers, queue.clock, queue.permit, "1.2.3", paths=running.paths
        )
        (api,) = running.handlers
        yield AttachedWork(queue, application, api._gateway)  # type: ignore[attr-defined]

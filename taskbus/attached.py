"""A worker that attaches to the server by a WebSocket and is handed items of work that fit it.

Rules: ``seed-systems.md`` part A; it speaks ``work.v2``. Items are tasks, created by :class:`taskbus.Work`.
"""

import asyncio
import inspect
import logging
import random
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

import aiohttp
from yarl import URL

from schemas.work import MAX_CAPACITY, WorkDescription
from taskbus.attached_connection import AttachedConnection, AttachedItem
from taskbus.clock import Clock, SystemClock, within
from taskbus.credentials import Credentials
from taskbus.errors import ApiError, refusal
from taskbus.runs import FIRST_DELAY
from taskbus.service import FROM_ENVIRONMENT
from taskbus.transport import CONNECT_SECONDS, Transport, backoff, root_url_from_environment

logger = logging.getLogger(__name__)

PATH: Final = ("api", "work", "v1", "queue")
PROTOCOL: Final = "work.v2"
PING_SECONDS: Final = 20.0
"""Between pings; without a pong for half as long the connection is lost."""
MAX_FRAME: Final = 16 * 1024 * 1024
"""Bytes of an item; what may be created is smaller."""
CLEANUP_SECONDS: Final = 5.0
"""How long cancelled handlers have before the worker leaves without them."""
_REFUSED: Final = {4400: "InputError", 4401: "AuthenticationFailed", 4403: "InsufficientScopes"}
"""Errors by the close codes with which it would be in vain to come again."""

Handler = Callable[[AttachedItem], Any]
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True)
class AttachedTask:
    """Work that a worker takes: items of this name whose attributes have one of the values, for every key.

    ``handler`` is ``async def`` or plain ``def``, which runs in a thread. What it returns is the answer (any
    JSON of 256 KiB or less), or :class:`taskbus.outcomes.Snoozed`; :class:`taskbus.TaskFailed`, as any
    exception, is an error. Raises ValueError for a name or a filter that is none.
    """

    name: str
    handler: Handler
    filter: Mapping[str, str | Iterable[str]] = field(default_factory=dict)
    info: str | None = None
    """For people, in listings."""

    def __post_init__(self) -> None:
        values = {
            key: (given,) if isinstance(given, str) else tuple(given) for key, given in self.filter.items()
        }
        object.__setattr__(self, "filter", values)
        self.describe()

    def describe(self) -> dict[str, Any]:
        """As the server is told of it."""
        return WorkDescription(name=self.name, filter=dict(self.filter), info=self.info).to_wire()

    def matches(self, item: AttachedItem) -> bool:
        """As the server matches (WM-1): names that differ in case, or in ``_`` and ``-``, are the same."""
        same = _folded(item.name) == _folded(self.name)
        return same and all(item.attrs.get(key, "") in values for key, values in self.filter.items())


class AttachedWorker:
    """Attaches to the server at ``root_url`` and works on the items that it is handed::

        worker = AttachedWorker(capacity=10)

        @worker.handle("tag", filter={"cloud": ["aws", "gcp"]})
        async def tag(item: AttachedItem) -> object:
            item.progress(percent=50)
            return {"tagged": item.data["id"]}

        worker.main()

    It has at most ``capacity`` items at once. A connection that is lost is made again after 1 s, 2 s, 4 s and
    so on, at most 30 s. That is a new worker for the server, which gave the items to others: their handlers
    are cancelled and no answer of theirs is sent. Plain handlers run in threads, which nothing can stop: they
    may look at ``item.cancelled``.

    :meth:`stop` ends :meth:`run` in order: no further items, up to ``drain`` seconds for running handlers;
    then they are cancelled, and the server gives their items to others. A worker runs once.

    Raises ValueError, naming the argument that is wrong.
    """

    def __init__(
        self,
        root_url: str | None = None,
        *,
        tasks: Sequence[AttachedTask] = (),
        capacity: int = 10,
        credentials: Credentials | Literal["environment"] | None = FROM_ENVIRONMENT,
        drain: float = 5.0,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if not 1 <= capacity <= MAX_CAPACITY:
            raise ValueError(f"capacity: expected 1 to {MAX_CAPACITY}, got {capacity}")
        transport = Transport(root_url or root_url_from_environment())
        self.root_url = transport.root_url
        self._url = transport.url(PATH)
        self._credentials = Credentials.from_env() if credentials == FROM_ENVIRONMENT else credentials
        self._capacity = capacity
        self._drain_seconds = drain
        self._clock: Clock = clock or SystemClock()
        self._jitter = jitter
        self._stopping = asyncio.Event()
        self._connection: AttachedConnection | None = None
        self._threads = ThreadPoolExecutor(capacity, thread_name_prefix="attached")
        self._failures = 0
        self._tasks: list[AttachedTask] = []
        for task in tasks:
            self._add(task)

    def handle(
        self, name: str, *, filter: Mapping[str, str | Iterable[str]] | None = None, info: str | None = None
    ) -> Callable[[H], H]:
        """Register the decorated function as an :class:`AttachedTask`'s handler. Raises ValueError."""

        def register(handler: H) -> H:
            self._add(AttachedTask(name, handler, filter or {}, info))
            return handler

        return register

    def _add(self, task: AttachedTask) -> None:
        if any(_folded(one.name) == _folded(task.name) and one.filter == task.filter for one in self._tasks):
            raise ValueError(f"{task.name}: there is a handler with the same filter already")
        self._tasks.append(task)

    @property
    def running(self) -> tuple[AttachedItem, ...]:
        """The items it has at the moment."""
        return () if self._connection is None else self._connection.items

    @property
    def worker_id(self) -> str | None:
        """Given by the server for the time of a connection; None while there is none."""
        return None if self._connection is None else self._connection.worker_id

    def main(self) -> None:
        """Run as a program does: SIGTERM or Ctrl-C stops it in order. Raises ApiError, as :meth:`run`."""
        asyncio.run(self._run_until_signalled())

    def stop(self) -> None:
        """Begin to stop; :meth:`run` returns when that is done. May be called from a signal handler."""
        self._stopping.set()

    async def run(self) -> None:
        """Attach and work until :meth:`stop`.

        Raises ValueError when it has no handlers; ApiError when the server refuses this worker (credentials,
        missing scopes).
        """
        if not self._tasks:
            raise ValueError('expected at least one handler: @worker.handle("name")')
        connector = aiohttp.TCPConnector(limit=1)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                while not self._stopping.is_set():
                    await self._unless_stopped(self._attach(session))
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run_until_signalled(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        await self.run()

    async def _unless_stopped(self, working: Any) -> None:
        """Do this until its end, or until the worker is stopped and has drained."""
        work, stop = asyncio.create_task(working), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            connection = self._connection
            if not work.done() and connection is not None:
                connection.drain()
                try:
                    await within(self._clock, self._drain_seconds, asyncio.wait({work}))
                except TimeoutError:
                    await connection.close(cleanup=CLEANUP_SECONDS)
        finally:
            for task in (work, stop):
                task.cancel()
            await asyncio.wait({work, stop})
        if not work.cancelled():
            work.result()

    async def _attach(self, session: aiohttp.ClientSession) -> None:
        """One connection from its beginning to its end, and the pause after it. Raises ApiError."""
        signed = self._credentials and self._credentials.authorization("GET", self._url, None)
        try:
            async with session.ws_connect(
                URL(self._url, encoded=True),
                headers={"Authorization": signed} if signed else None,
                protocols=[PROTOCOL],
                heartbeat=PING_SECONDS,
                max_msg_size=MAX_FRAME,
            ) as socket:
                code, reason = await self._serve(socket)
        except aiohttp.WSServerHandshakeError as error:
            if error.status < 500:
                raise _refused(error, self.root_url) from None
            reason = f"HTTP {error.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
        else:
            if code in _REFUSED:
                raise refusal(_REFUSED[code], reason, self.root_url)
            reason = f"{reason or 'closed'} ({code})"
        if self._stopping.is_set():
            return
        delay = backoff(self._failures, self._jitter, first=FIRST_DELAY)
        self._failures += 1
        logger.warning("not attached to %s, again in %.1f s: %s", self.root_url, delay, reason)
        await self._clock.sleep(delay)

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[int, str]:
        tasks = [task.describe() for task in self._tasks]
        hello = {"kind": "hello", "capacity": self._capacity, "tasks": tasks}
        connection = self._connection = AttachedConnection(socket, self._handle, hello, self._pause)
        try:
            return await connection.serve()
        finally:
            self._connection = None
            if connection.worker_id is not None:
                self._failures = 0

    async def _pause(self, failures: int) -> None:
        await self._clock.sleep(backoff(failures, self._jitter))

    async def _handle(self, item: AttachedItem) -> Any:
        fitting = [task for task in self._tasks if task.matches(item)]
        if not fitting:
            raise LookupError(f"no handler takes the item {item.name} with {item.attrs}")
        handler = max(fitting, key=lambda task: len(task.filter)).handler
        if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__):
            return await handler(item)
        outcome = await asyncio.get_running_loop().run_in_executor(self._threads, handler, item)
        return await outcome if inspect.isawaitable(outcome) else outcome


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")


def _refused(error: aiohttp.WSServerHandshakeError, root_url: str) -> ApiError:
    code = "AuthenticationFailed" if error.status == 401 else ""
    text = f"{root_url} does not let this worker attach (HTTP {error.status})"
    return refusal(code, text, root_url) if code else ApiError(error.status, "", text, root_url=root_url)

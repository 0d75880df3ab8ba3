"""One connection of an attached worker: frames in and out, and the handlers of its items at work.

Rules: ``seed-systems.md`` A.9. What a connection had is dropped with it: its items are somebody else's then.
"""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final

import aiohttp
from pydantic_core import PydanticSerializationError, to_json

from schemas.attempts import MAX_OUTPUT
from schemas.times import parse_time
from taskbus.errors import TaskFailed
from taskbus.outcomes import Snoozed

logger = logging.getLogger(__name__)

LOST: Final = 1006
"""The close code of a connection that ended without one."""
UNREADABLE: Final = 1007
MAX_ERROR: Final = 16 * 1024
"""Characters of an error; of a longer one the end is told."""

Key = tuple[str, int]
ItemHandler = Callable[["AttachedItem"], Awaitable[Any]]


class AttachedItem:
    """An item of work, as a handler is given it. Its methods may be called from any thread."""

    def __init__(self, frame: Mapping[str, Any], tell: Callable[[Key, str, dict[str, Any]], None]) -> None:
        self.task_id: str = frame["task_id"]
        self.run_id: int = frame["run_id"]
        self.name: str = frame["task_name"]
        self.attrs: dict[str, str] = frame["attrs"]
        self.data: Any = frame["data"]
        self.deadline: datetime = parse_time(frame["deadline"])
        """When the item is given to another worker (the server's time); :meth:`extend` moves it."""
        self._tell = tell
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more; for threads, which nothing cancels."""
        return self._cancelled.is_set()

    def progress(
        self, *, percent: float | None = None, step: str | None = None, message: str | None = None
    ) -> None:
        """Tell how far it is; what was not sent yet gives way to what is newer."""
        told = {"percent": percent, "step": step, "message": message}
        self._tell(self._key, "progress", {name: fact for name, fact in told.items() if fact is not None})

    def extend(self, seconds: float) -> None:
        """Ask for so much time from now on. ``deadline`` moves when it is granted; else it is cancelled."""
        self._tell(self._key, "extend", {"seconds": seconds})

    @property
    def _key(self) -> Key:
        return self.task_id, self.run_id

    def __repr__(self) -> str:
        return f"{self.task_id}/{self.run_id}"


class AttachedConnection:
    """Runs ``handler`` for every item that arrives, until the socket ends."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, handler: ItemHandler, hello: Mapping[str, Any]
    ) -> None:
        self.worker_id: str | None = None
        """Given by the server when it has registered the worker."""
        self._socket = socket
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._working: dict[Key, tuple[AttachedItem, asyncio.Task[None]]] = {}
        self._frames: dict[tuple[str, Key | None], bytes] = {("hello", None): to_json(hello)}
        """What is to be sent, by kind and item: a later frame takes the place of one that waits."""
        self._stirred = asyncio.Event()
        self._stirred.set()

    @property
    def items(self) -> tuple[AttachedItem, ...]:
        """Those under way."""
        return tuple(item for item, _ in self._working.values())

    async def serve(self) -> tuple[int, str]:
        """Work until the connection ends; its close code and reason. Handlers under way are cancelled."""
        writing = asyncio.create_task(self._write(), name="attached worker, frames")
        try:
            return await self._read()
        finally:
            writing.cancel()
            handling = [self._abandon(key) for key in tuple(self._working)]
            await asyncio.wait([writing, *handling])

    def drain(self) -> None:
        """Take no further items; the server closes once those under way are answered."""
        self._send("drain", None, {"kind": "drain"})

    async def close(self, *, cleanup: float) -> None:
        """Give up: cancel the handlers, wait so many seconds for them, and leave."""
        handling = [self._abandon(key) for key in tuple(self._working)]
        if handling:
            await asyncio.wait(handling, timeout=cleanup)
        await self._socket.close()

    async def _read(self) -> tuple[int, str]:
        while True:
            message = await self._socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                code = message.data if message.type is aiohttp.WSMsgType.CLOSE else self._socket.close_code
                return code or LOST, str(message.extra or "")
            try:
                self._take(json.loads(message.data))
            except (ValueError, KeyError, TypeError, AttributeError):
                logger.exception("a frame of the server is not understood")
                await self._socket.close(code=UNREADABLE)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):  # reading notices as well
            while True:
                await self._stirred.wait()
                self._stirred.clear()
                while self._frames:
                    frame = self._frames.pop(next(iter(self._frames)))
                    await self._socket.send_str(frame.decode())

    # ---- frames of the server -------------------------------------------------------------------------

    def _take(self, frame: Mapping[str, Any]) -> None:
        match frame.get("kind"):
            case None:
                self._begin(AttachedItem(frame, self._tell))
            case "registered":
                self.worker_id = frame["worker_id"]
                logger.info("attached as %s", self.worker_id)
            case "extended":
                if found := self._working.get((frame["task_id"], frame["run_id"])):
                    found[0].deadline = parse_time(frame["taken_until"])
            case "cancel":
                key = frame["task_id"], frame["run_id"]
                if key in self._working:
                    logger.info("%s/%d is cancelled: %s", *key, frame.get("reason"))
                    self._abandon(key)
            case "drain":
                logger.info("the server stops at %s", frame.get("deadline"))
            case "error":
                logger.warning("the server refused a frame: %s, %s", frame.get("code"), frame.get("message"))
            case kind:
                logger.warning("the server sent a frame of an unknown kind: %s", kind)

    def _begin(self, item: AttachedItem) -> None:
        key = item.task_id, item.run_id
        self._working[key] = item, asyncio.create_task(self._work(key, item), name=f"item {item!r}")

    def _abandon(self, key: Key) -> "asyncio.Task[None]":
        """Its answer is not sent, whatever the handler does."""
        item, handling = self._working.pop(key)
        item._cancelled.set()
        handling.cancel()
        return handling

    # ---- items ----------------------------------------------------------------------------------------

    async def _work(self, key: Key, item: AttachedItem) -> None:
        answer = await self._answer(item)
        if self._working.pop(key, None) is None:
            return
        item._cancelled.set()
        self._frames["answer", key] = answer
        self._stirred.set()

    async def _answer(self, item: AttachedItem) -> bytes:
        told: dict[str, Any] = {"task_id": item.task_id, "run_id": item.run_id}
        try:
            outcome = await self._handler(item)
            if isinstance(outcome, Snoozed):
                return to_json({"kind": "snooze", **told, "seconds": outcome.delay})
            if (size := len(to_json(outcome))) > MAX_OUTPUT:
                raise TaskFailed(f"the result has {size} bytes of JSON; the limit is {MAX_OUTPUT}")
            return to_json({**told, "result": "done", "data": outcome}, inf_nan_mode="null")
        except TaskFailed as error:
            text = str(error)
        except PydanticSerializationError as error:
            text = f"the result is not JSON: {error}"
        except Exception as error:
            logger.exception("the handler of %r failed", item)
            text = f"{type(error).__name__}: {error}"
        text = text[-MAX_ERROR:].encode(errors="replace").decode()
        return to_json({**told, "result": "error", "error": text})

    def _tell(self, key: Key, kind: str, facts: dict[str, Any]) -> None:
        """Of handlers, from any thread."""
        frame = {"kind": kind, "task_id": key[0], "run_id": key[1], **facts}
        if threading.get_ident() == self._thread:
            self._send(kind, key, frame)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has ended
                self._loop.call_soon_threadsafe(self._send, kind, key, frame)

    def _send(self, kind: str, key: Key | None, frame: dict[str, Any]) -> None:
        if key is None or key in self._working:
            self._frames[kind, key] = to_json(frame)
            self._stirred.set()

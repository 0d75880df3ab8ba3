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
from typing import Any, Final, Literal

import aiohttp
from pydantic_core import PydanticSerializationError, to_json

from schemas.attempts import MAX_OUTPUT
from schemas.jobs import LogReport
from schemas.times import parse_time
from taskbus.attached_reports import ItemReports, Key, Pause
from taskbus.errors import TaskFailed, refusal
from taskbus.outcomes import Snoozed
from taskbus.run_step import RunStep

logger = logging.getLogger(__name__)

LOST: Final = 1006
"""The close code of a connection that ended without one."""
UNREADABLE: Final = 1007
MAX_ERROR: Final = 16 * 1024
"""Characters of an error; of a longer one the end is told."""

ItemHandler = Callable[["AttachedItem"], Awaitable[Any]]


class AttachedItem:
    """An item of work, as a handler is given it. Its methods may be called from any thread.

    Of a typed job, ``data`` are the parameters and ``type`` is its type. What a handler tells of steps, lines
    and outputs of another item is kept by nobody, and not sent.
    """

    def __init__(
        self,
        frame: Mapping[str, Any],
        tell: Callable[[Key, str, dict[str, Any]], None],
        reports: ItemReports,
    ) -> None:
        self.task_id: str = frame["task_id"]
        self.run_id: int = frame["run_id"]
        self.name: str = frame["task_name"]
        self.attrs: dict[str, str] = frame["attrs"]
        self.data: Any = frame["data"]
        self.deadline: datetime = parse_time(frame["deadline"])
        """When the item is given to another worker (the server's time); :meth:`extend` moves it."""
        self.type: str | None = (frame.get("job") or {}).get("type")
        self.cancel_reason: str | None = None
        """What somebody said who wants the job cancelled."""
        self._tell = tell
        self._reports = reports
        self._cancelled = threading.Event()
        self._cancel_requested = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more; for threads, which nothing cancels."""
        return self._cancelled.is_set()

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody wants the job cancelled when its worker lets go of it.

        To return still completes it; any other end is the cancellation.
        """
        return self._cancel_requested.is_set()

    def raise_if_cancelled(self) -> None:
        """Raises asyncio.CancelledError if nobody waits for the answer any more."""
        if self.cancelled:
            raise asyncio.CancelledError

    def progress(
        self,
        percent: float | None = None,
        *,
        current: float | None = None,
        total: float | None = None,
        step: str | None = None,
        message: str | None = None,
    ) -> None:
        """Tell how far it is, or a step of it; what was not sent yet gives way to what is newer."""
        told = {"percent": percent, "current": current, "total": total, "step": step, "message": message}
        self._tell(self._key, "progress", {name: fact for name, fact in told.items() if fact is not None})

    def step(self, name: str) -> RunStep:
        """A step of the job, as ``async with item.step("Extract") as step:``."""
        return RunStep(self._reports, name)

    async def log(self, message: str, level: Literal["debug", "info", "warning", "error"] = "info") -> None:
        """Tell those who watch a line of up to 1,000 characters. Raises ApiError."""
        await self._reports.log(LogReport(message=message, level=level))

    async def put_output(self, output: Any) -> None:
        """Keep the result so far, however the job ends. The last one counts: that may be what is returned.

        Raises ApiError.
        """
        await self._reports.put_output(output)

    @property
    def completed_steps(self) -> tuple[str, ...]:
        """The steps that earlier runs of a resumable job have done."""
        return self._reports.completed_steps

    @property
    def cursor(self) -> Any:
        """Where the step got to that was under way when an earlier run ended; None for nowhere."""
        return self._reports.cursor

    def extend(self, seconds: float) -> None:
        """Ask for so much time from now on. ``deadline`` moves when it is granted; else it is cancelled."""
        self._tell(self._key, "extend", {"seconds": seconds})

    @property
    def _key(self) -> Key:
        return self.task_id, self.run_id

    def __repr__(self) -> str:
        return f"{self.task_id}/{self.run_id}"


class AttachedConnection:
    """Runs ``handler`` for every item that arrives, until the socket ends.

    ``pause`` waits before a report is sent again that the server could not write.
    """

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        handler: ItemHandler,
        hello: Mapping[str, Any],
        pause: Pause,
    ) -> None:
        self.worker_id: str | None = None
        """Given by the server when it has registered the worker."""
        self._socket = socket
        self._handler = handler
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._working: dict[Key, tuple[AttachedItem, asyncio.Task[None]]] = {}
        self._frames: dict[tuple[str, Key | None, object], bytes] = {("hello", None, None): to_json(hello)}
        """What is to be sent, by kind, item and step: a later frame takes the place of one that waits."""
        self._asked: dict[int, tuple[Key, asyncio.Future[None]]] = {}
        """Reports that wait for their answers, by their ids, with their items."""
        self._last_id = 0
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
                reports = ItemReports(frame, self._ask, self._pause, self._loop)
                self._begin(AttachedItem(frame, self._tell, reports))
            case "registered":
                self.worker_id = frame["worker_id"]
                logger.info("attached as %s", self.worker_id)
            case "extended":
                if found := self._working.get((frame["task_id"], frame["run_id"])):
                    found[0].deadline = parse_time(frame["taken_until"])
            case "reported":
                self._settle(frame["id"], None)
            case "cancel":
                key = frame["task_id"], frame["run_id"]
                if key in self._working and frame.get("mode") == "graceful":
                    logger.info("%s/%d is to be cancelled: %s", *key, frame.get("message"))
                    item = self._working[key][0]
                    item.cancel_reason = frame.get("message")
                    item._cancel_requested.set()
                elif key in self._working:
                    logger.info("%s/%d is cancelled: %s", *key, frame.get("reason"))
                    self._abandon(key)
            case "drain":
                logger.info("the server stops at %s", frame.get("deadline"))
            case "error" if self._settle(frame.get("id"), frame):
                pass
            case "error":
                logger.warning("the server refused a frame: %s, %s", frame.get("code"), frame.get("message"))
            case kind:
                logger.warning("the server sent a frame of an unknown kind: %s", kind)

    def _settle(self, id: object, error: Mapping[str, Any] | None) -> bool:
        """Whether a report waited for this answer."""
        _, waiting = (self._asked.pop(id, None) if isinstance(id, int) else None) or (None, None)
        if waiting is None or waiting.done():
            return False
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(refusal(str(error.get("code")), str(error.get("message"))))
        return True

    def _begin(self, item: AttachedItem) -> None:
        key = item.task_id, item.run_id
        self._working[key] = item, asyncio.create_task(self._work(key, item), name=f"item {item!r}")

    def _abandon(self, key: Key) -> "asyncio.Task[None]":
        """Its answer is not sent, whatever the handler does."""
        item, handling = self._working.pop(key)
        item._cancelled.set()
        handling.cancel()
        for id, (of_item, waiting) in tuple(self._asked.items()):
            if of_item == key:  # what waits in a thread learns of it in this way
                del self._asked[id]
                waiting.cancel()
        return handling

    # ---- items ----------------------------------------------------------------------------------------

    async def _work(self, key: Key, item: AttachedItem) -> None:
        answer = await self._answer(item)
        if self._working.pop(key, None) is None:
            return
        item._cancelled.set()
        self._frames["answer", key, None] = answer
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

    async def _ask(self, kind: str, key: Key, facts: Mapping[str, Any]) -> None:
        """Send a report, and wait for its answer. Raises ApiError."""
        if key not in self._working:
            raise asyncio.CancelledError
        self._last_id += 1
        waiting: asyncio.Future[None] = self._loop.create_future()
        self._asked[self._last_id] = key, waiting
        frame = {"kind": kind, "task_id": key[0], "run_id": key[1], "id": self._last_id, **facts}
        self._frames[kind, key, self._last_id] = to_json(frame, inf_nan_mode="null")
        self._stirred.set()
        await waiting

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
            self._frames[kind, key, frame.get("step")] = to_json(frame)
            self._stirred.set()

"""Signals between processes on PostgreSQL, by LISTEN and NOTIFY.

Only a wake-up: what is to be done is in the tables, and every loop looks there by itself now and then, so a
notification that is lost costs a moment and no work.
"""

import asyncio
from contextlib import suppress
from datetime import datetime

import structlog

from queue_service.store.database import Database
from queue_service.store.signals import (
    AccessChanged,
    OutboxFilled,
    QuarantineChanged,
    QueueFilled,
    QueueHeld,
    Signal,
    Signals,
    TasksResolved,
    TimerSet,
    TopicStirred,
)
from schemas.times import from_ms, to_ms

logger = structlog.get_logger(__name__)

CHANNEL = "taskbus"
PACE_SECONDS = 0.003
"""Signals of commits that follow each other closely travel together."""
RECONNECT_SECONDS = 2.0
MAX_PENDING = 1000
SIGNALS_AT_ONCE = 75
"""A notification takes 8,000 bytes; the longest signal is a task queue of 77 characters that is held."""


def encode(signal: Signal) -> str:
    """The signal as a short text."""
    match signal:
        case OutboxFilled():
            return "outbox"
        case TasksResolved():
            return "resolved"
        case QueueFilled(task_queue_id):
            return f"queue {task_queue_id}"
        case QueueHeld(task_queue_id, until):
            return f"held {task_queue_id} {to_ms(until)}"
        case TimerSet(timer, due):
            return f"timer {timer} {to_ms(due)}"
        case QuarantineChanged():
            return "quarantine"
        case AccessChanged():
            return "access"
        case TopicStirred(topic):
            return f"topic {topic}"


def decode(text: str) -> Signal | None:
    """The signal of a text; None for a kind that a newer process may send."""
    match text.split(" "):
        case ["outbox"]:
            return OutboxFilled()
        case ["resolved"]:
            return TasksResolved()
        case ["access"]:
            return AccessChanged()
        case ["quarantine"]:
            return QuarantineChanged()
        case ["queue", task_queue_id]:
            return QueueFilled(task_queue_id)
        case ["held", task_queue_id, milliseconds]:
            return QueueHeld(task_queue_id, _time(milliseconds))
        case ["topic", topic]:
            return TopicStirred(topic)
        case ["timer", ("claim" | "deadline" | "expiry" | "delay") as timer, milliseconds]:
            return TimerSet(timer, _time(milliseconds))
        case _:
            return None


def _time(milliseconds: str) -> datetime:
    return from_ms(int(milliseconds))


class Notifications:
    """Passes this process's signals to the others, and theirs to this one's subscribers."""

    def __init__(self, database: Database, sender: str) -> None:
        self._database = database
        self._sender = sender
        self.listening = asyncio.Event()
        """Set while the other processes' signals reach us; for tests and health checks."""
        self._pending = Signals()
        self._filled = asyncio.Event()
        self._relaying = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._database.subscribe(self._on_signal)
        self._task = asyncio.create_task(self._run(), name="notifications")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def _on_signal(self, signal: Signal) -> None:
        if self._relaying or len(self._pending) >= MAX_PENDING:
            return
        self._pending.add(signal)
        self._filled.set()

    def _receive(self, connection: object, pid: int, channel: str, payload: object) -> None:
        sender, _, text = str(payload).partition(" ")
        if sender == self._sender:
            return
        for line in text.split("\n"):
            signal = decode(line)
            if signal is not None:
                self._relaying = True
                try:
                    self._database.announce((signal,))
                finally:
                    self._relaying = False

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
            except Exception as error:
                logger.warning("notifications between processes are interrupted", reason=repr(error))
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _session(self) -> None:
        """Pass signals on until the connection is lost, which raises."""
        import asyncpg

        dialect = self._database.engine.dialect
        _, options = dialect.create_connect_args(self._database.url)
        connection = await asyncpg.connect(**options, timeout=10)
        connection.add_termination_listener(lambda _: self._filled.set())
        try:
            await connection.add_listener(CHANNEL, self._receive)
            self.listening.set()
            while True:
                await self._filled.wait()
                self._filled.clear()
                if connection.is_closed():
                    raise ConnectionError("the database closed the connection")
                pending = [encode(signal) for signal in self._pending.take()]
                for start in range(0, len(pending), SIGNALS_AT_ONCE):
                    text = "\n".join(pending[start : start + SIGNALS_AT_ONCE])
                    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{self._sender} {text}")
                await asyncio.sleep(PACE_SECONDS)
        finally:
            self.listening.clear()
            self._filled.set()
            # A link that does not answer must not turn the end of this task into a failure and a retry.
            with suppress(Exception):
                await connection.close(timeout=2)

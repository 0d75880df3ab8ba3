"""What must survive the process: recorded as it happens, written in batches.

Exchanges, queues and bindings that are durable, and persistent messages in durable queues. Recording is a
few dictionary entries; a commit writes everything recorded since the last one. The owner commits before any
output that may rest on it leaves: so what a client was told is in the file, and a delivery that a client has
seen is known to have been one. What comes and goes between two commits is never written.
"""

import logging
import time
from asyncio import Future, get_running_loop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from events.broker.exchanges import Destination, Exchange
from events.broker.journal_file import (
    Batch,
    Contents,
    JournalFile,
    JournalUnwritable,
    Row,
    Synchronous,
    encoded,
)
from events.broker.message import Message
from events.broker.queues import Entry, Queue

logger = logging.getLogger(__name__)

PREDECLARED: Final = "amq."
"""Exchanges of such names are there without being recorded; queues of such names have had them made."""


class Journal:
    """Records for one topology, on one event loop. `clock` is that of the queues, `wall_clock` seconds since
    1970: deadlines are kept by the latter, so that they go on while nothing runs.
    """

    def __init__(
        self,
        path: Path,
        synchronous: Synchronous = "NORMAL",
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises JournalUnusable."""
        self.problem: str | None = None
        """Why the last commit could not be made."""
        self._file = JournalFile(path, synchronous)
        self._commits_take_long = synchronous == "FULL"
        self._thread = ThreadPoolExecutor(1, "amqp-journal")
        self._clock = clock
        self._wall_clock = wall_clock
        self._last_id = 0
        self._cut: list[Batch] = []
        """Batches that are not known to be written."""
        self._start_batch()

    def _start_batch(self) -> None:
        self.dirty = False
        self._first_id = self._last_id + 1
        """Entries and messages from here on are in no batch yet."""
        self._exchanges: dict[str, Exchange | None] = {}
        self._queues: dict[str, Queue | None] = {}
        self._bindings: dict[Row, bool] = {}
        self._messages: dict[int, Message] = {}
        self._entries: dict[int, tuple[Queue, Entry]] = {}
        self._delivered: dict[str, Queue] = {}
        self._removed_messages: list[Row] = []
        self._removed_entries: list[Row] = []

    def read(self) -> Contents:
        """What the file holds, to be restored before anything is recorded. Raises JournalUnusable."""
        contents = self._file.read()
        ids = [row[0] for row in contents.entries]
        ids += [row[0] for row in contents.messages]
        for _, queue_id, _, delivered in contents.queues:
            ids += (queue_id, delivered)
        self._last_id = max(ids, default=0)
        self._start_batch()
        return contents

    def forget_recorded(self) -> None:
        """What was recorded since `read` is in the file already."""
        self._start_batch()

    def next_id(self) -> int:
        """Larger than any before it, in this process and in those that had the file earlier."""
        self._last_id += 1
        return self._last_id

    # -- topology ---------------------------------------------------------------------------------------

    def exchange_added(self, exchange: Exchange) -> None:
        if exchange.durable:
            self._exchanges[exchange.name] = exchange
            self.dirty = True

    def exchange_removed(self, exchange: Exchange) -> None:
        if exchange.durable:
            self._exchanges[exchange.name] = None
            self.dirty = True

    def queue_added(self, queue: Queue) -> None:
        if queue.durable:
            queue.journal_id = self.next_id()
            self._queues[queue.name] = queue
            self.dirty = True

    def queue_removed(self, queue: Queue) -> None:
        if queue.durable:
            self._queues[queue.name] = None
            self._delivered.pop(queue.name, None)
            self.dirty = True

    def bound(self, source: Exchange, key: str, destination: Destination, there: bool) -> None:
        """A binding has been made, or unmade; one of two durable ends is durable itself."""
        if source.name and source.durable and destination.durable:
            self._bindings[source.name, key, destination.name, isinstance(destination, Queue)] = there
            self.dirty = True

    # -- messages ---------------------------------------------------------------------------------------

    def added(self, queue: Queue, entry: Entry) -> None:
        """A persistent message is in a durable queue."""
        message = entry.message
        if not message.rows:
            message.row = self.next_id()
            self._messages[message.row] = message
        message.rows += 1
        entry.journaled = True
        self._entries[entry.position] = (queue, entry)
        self.dirty = True

    def changed(self, queue: Queue, entry: Entry) -> None:
        """The entry is another than when it was added."""
        self._entries[entry.position] = (queue, entry)
        self.dirty = True

    def delivered(self, queue: Queue) -> None:
        """`queue.delivered` has grown."""
        self._delivered[queue.name] = queue
        self.dirty = True

    def removed(self, entry: Entry) -> None:
        """The message has left its queue."""
        entry.journaled = False
        self._entries.pop(entry.position, None)
        if entry.position < self._first_id:
            self._removed_entries.append((entry.position,))
        message = entry.message
        message.rows -= 1
        if not message.rows:
            self._messages.pop(message.row, None)
            if message.row < self._first_id:
                self._removed_messages.append((message.row,))
        self.dirty = True

    # -- writing ----------------------------------------------------------------------------------------

    def commit(self, done: Callable[[], None]) -> None:
        """Write what has been recorded until now. `done` is called when that is over, now or soon; `problem`
        then says whether it was written. What was not is written by the next commit.
        """
        if self.dirty:
            self._cut.append(self._batch())
            self._start_batch()
        try:
            self._file.write(self._cut)
        except JournalUnwritable as problem:
            self._ended(problem)
            done()
            return
        if not (self._commits_take_long or self._file.log_is_long):
            self._ended(self._finish())
            done()
            return

        def finished(result: Future[JournalUnwritable | None]) -> None:
            self._ended(result.result())
            done()

        get_running_loop().run_in_executor(self._thread, self._finish).add_done_callback(finished)

    def close(self) -> None:
        """Write what is left, and let go of the file."""
        self._thread.shutdown()
        if self.dirty:
            self._cut.append(self._batch())
        try:
            self._file.write(self._cut)
            self._file.commit()
        except JournalUnwritable as problem:
            logger.error("the broker's journal lacks its end: %s", problem)
        self._file.close()

    def _finish(self) -> JournalUnwritable | None:
        try:
            self._file.commit()
        except JournalUnwritable as problem:
            return problem
        if self._file.log_is_long:
            try:
                self._file.empty_log()
            except JournalUnwritable as problem:
                logger.warning("the broker's journal grows, its log could not be emptied: %s", problem)
        return None

    def _ended(self, problem: JournalUnwritable | None) -> None:
        self.problem = None if problem is None else str(problem)
        if problem is None:
            self._cut.clear()

    def _batch(self) -> Batch:
        return Batch(
            exchanges={
                name: None if it is None else _exchange_row(it) for name, it in self._exchanges.items()
            },
            queues={name: None if it is None else _queue_row(it) for name, it in self._queues.items()},
            bindings=self._bindings,
            messages=[
                (row, it.exchange, encoded(it.keys), it.properties, it.body, it.expiration)
                for row, it in self._messages.items()
            ],
            entries=[self._entry_row(queue, entry) for queue, entry in self._entries.values()],
            delivered=[(queue.delivered, name) for name, queue in self._delivered.items()],
            removed_messages=self._removed_messages,
            removed_entries=self._removed_entries,
        )

    def _entry_row(self, queue: Queue, entry: Entry) -> Row:
        deadline = None
        if entry.deadline is not None:
            deadline = round((self._wall_clock() + entry.deadline - self._clock()) * 1000)
        return (entry.position, queue.journal_id, entry.message.row, deadline, entry.deliveries)


def _exchange_row(exchange: Exchange) -> Row:
    definition = {
        "kind": exchange.kind,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "alternate": exchange.alternate,
    }
    return (exchange.name, encoded(definition))


def _queue_row(queue: Queue) -> Row:
    definition = {"auto_delete": queue.auto_delete, "arguments": dict(queue.arguments)}
    return (queue.name, queue.journal_id, encoded(definition), queue.delivered)

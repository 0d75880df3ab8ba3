"""The journal's SQLite file: what durable queues hold, as rows. Opened, read once, and written in batches.

One connection holds the file for itself alone, so that a second process is refused. In WAL mode a commit is
in the system's hands when it returns: kill -9 takes nothing of it back, and a transaction that was cut off in
its middle never happened.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

Synchronous = Literal["NORMAL", "FULL"]
Row = tuple[Any, ...]

_APPLICATION_ID: Final = 0x7B05A4B5
_VERSION: Final = 1
_SCHEMA: Final = f"""
BEGIN;
CREATE TABLE exchanges (name TEXT PRIMARY KEY, definition TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    id INTEGER NOT NULL,
    definition TEXT NOT NULL,
    delivered INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE bindings (
    source TEXT NOT NULL,
    key TEXT NOT NULL,
    destination TEXT NOT NULL,
    to_queue INTEGER NOT NULL,
    PRIMARY KEY (source, key, destination, to_queue)
) WITHOUT ROWID;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    exchange TEXT NOT NULL,
    keys TEXT NOT NULL,
    properties BLOB NOT NULL,
    body BLOB NOT NULL,
    expiration INTEGER
);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    message INTEGER NOT NULL,
    deadline INTEGER,
    deliveries INTEGER NOT NULL
);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_ROW_BYTES: Final = 200
"""What a row costs in the log beside its message: a guess that only sets how often the log is emptied."""
LOG_BYTES: Final = 8 * 1024 * 1024
"""How long the log grows before it is emptied."""


class JournalUnusable(Exception):
    """The journal's file cannot be used; the message says why, and what to do about it."""


class JournalUnwritable(Exception):
    """A batch could not be written, as when the disk is full; it may be tried again."""


@dataclass(slots=True)
class Batch:
    """Changes to be written together. The newest state of a thing is what counts: None means that it is gone.

    Rows are given as the file's columns. Things are added first and removed then, whatever came first.
    """

    exchanges: dict[str, Row | None] = field(default_factory=dict)
    queues: dict[str, Row | None] = field(default_factory=dict)
    bindings: dict[Row, bool] = field(default_factory=dict)
    messages: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    delivered: list[Row] = field(default_factory=list)
    """Position and name of a queue."""
    removed_messages: list[Row] = field(default_factory=list)
    removed_entries: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Contents:
    """All rows of the file; entries are in the order of their ids, which is the order in their queues."""

    exchanges: Sequence[Row]
    queues: Sequence[Row]
    bindings: Sequence[Row]
    messages: Sequence[Row]
    entries: Sequence[Row]


class JournalFile:
    """An open file. Its methods may be called from one thread after the other, never from two at once."""

    def __init__(self, path: Path, synchronous: Synchronous = "NORMAL") -> None:
        """Open the file, make it when there is none. Raises JournalUnusable."""
        self.path = path
        self._log_bytes = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise JournalUnusable(f"the broker's journal {path} cannot be opened: {error}") from error
        try:
            self._prepare(synchronous)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.Error):
                raise self._unusable(error) from error
            raise

    def _prepare(self, synchronous: Synchronous) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        (objects,) = execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if objects and application != _APPLICATION_ID:
            raise JournalUnusable(f"{self.path} is not a journal of the built-in broker: name another file")
        if objects and version != _VERSION:
            raise JournalUnusable(
                f"the broker's journal {self.path} has version {version}, this program reads {_VERSION}"
            )
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {synchronous}")
        execute("PRAGMA wal_autocheckpoint = 0")
        execute("BEGIN IMMEDIATE")  # from here on the file is ours
        execute("COMMIT")
        if not objects:
            self._connection.executescript(_SCHEMA)

    def _unusable(self, error: sqlite3.Error) -> JournalUnusable:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return JournalUnusable(f"the broker's journal {self.path} is in use by another process")
        return JournalUnusable(
            f"the broker's journal {self.path} cannot be read: {error}. Restore the file, or move it away to "
            "start with no queues and no messages"
        )

    def read(self) -> Contents:
        """Everything in it; what nothing refers to any more is removed. Raises JournalUnusable."""
        execute = self._connection.execute
        try:
            execute("DELETE FROM entries WHERE queue NOT IN (SELECT id FROM queues)")
            execute("DELETE FROM messages WHERE id NOT IN (SELECT message FROM entries)")
            return Contents(
                exchanges=execute("SELECT name, definition FROM exchanges").fetchall(),
                queues=execute("SELECT name, id, definition, delivered FROM queues ORDER BY id").fetchall(),
                bindings=execute("SELECT source, key, destination, to_queue FROM bindings").fetchall(),
                messages=execute("SELECT * FROM messages").fetchall(),
                entries=execute("SELECT * FROM entries ORDER BY id").fetchall(),
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    # -- writing ----------------------------------------------------------------------------------------

    def write(self, batches: Iterable[Batch]) -> None:
        """Write them in their order, to be committed. Raises JournalUnwritable, with nothing written."""
        try:
            self._connection.execute("BEGIN")
            for batch in batches:
                self._write(batch)
        except sqlite3.Error as error:
            raise self._undone(error) from error

    def commit(self) -> None:
        """Raises JournalUnwritable, with nothing written since the last commit."""
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._undone(error) from error

    @property
    def log_is_long(self) -> bool:
        return self._log_bytes > LOG_BYTES

    def empty_log(self) -> None:
        """Move what the log holds into the file proper, both synced: takes milliseconds, best in a thread."""
        self._log_bytes = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise JournalUnwritable(str(error)) from error

    def close(self) -> None:
        self._connection.close()

    def _write(self, batch: Batch) -> None:
        self._write_topology(batch)
        self._many("INSERT OR REPLACE INTO messages VALUES (?, ?, ?, ?, ?, ?)", batch.messages)
        self._many("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", batch.entries)
        self._many("UPDATE queues SET delivered = ? WHERE name = ?", batch.delivered)
        self._many("DELETE FROM entries WHERE id = ?", batch.removed_entries)
        self._many("DELETE FROM messages WHERE id = ?", batch.removed_messages)
        rows = len(batch.messages) + len(batch.entries) + len(batch.delivered) + len(batch.removed_entries)
        self._log_bytes += _ROW_BYTES * rows + sum(len(row[3]) + len(row[4]) for row in batch.messages)

    def _write_topology(self, batch: Batch) -> None:
        added, removed = _split(batch.exchanges)
        self._many("INSERT OR REPLACE INTO exchanges VALUES (?, ?)", added)
        self._many("DELETE FROM exchanges WHERE name = ?", removed)
        added, removed = _split(batch.queues)
        self._many("INSERT OR REPLACE INTO queues VALUES (?, ?, ?, ?)", added)
        self._many("DELETE FROM queues WHERE name = ?", removed)
        bound = [binding for binding, there in batch.bindings.items() if there]
        unbound = [binding for binding, there in batch.bindings.items() if not there]
        self._many("INSERT OR REPLACE INTO bindings VALUES (?, ?, ?, ?)", bound)
        self._many(
            "DELETE FROM bindings WHERE source = ? AND key = ? AND destination = ? AND to_queue = ?", unbound
        )

    def _many(self, statement: str, rows: Sequence[Row]) -> None:
        if rows:
            self._connection.executemany(statement, rows)

    def _undone(self, error: sqlite3.Error) -> JournalUnwritable:
        if self._connection.in_transaction:  # some errors have rolled back already
            self._connection.execute("ROLLBACK")
        return JournalUnwritable(str(error))


def _split(changes: Mapping[str, Row | None]) -> tuple[list[Row], list[Row]]:
    added = [row for row in changes.values() if row is not None]
    return added, [(name,) for name, row in changes.items() if row is None]


def encoded(definition: Mapping[str, Any] | Iterable[str]) -> str:
    """A definition or a list of keys as a column holds it; lone surrogates survive."""
    return json.dumps(definition)

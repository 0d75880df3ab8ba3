"""One process per SQLite file: a second one is refused, with the reason."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import IO

from queue_service.store.database import StoreUnavailable


class DatabaseInUse(Exception):
    """Another process serves this SQLite file."""


class SingleProcess:
    """Holds the lock file beside a SQLite database; the system gives it back when the process ends."""

    def __init__(self, database_file: str) -> None:
        self._path = Path(database_file + ".lock")
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock. Raises DatabaseInUse, or StoreUnavailable when there can be no such file."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("a+")
        except OSError as error:
            raise StoreUnavailable(f"cannot write {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise DatabaseInUse(
                f"{self._path.with_suffix('')} is served by another process (pid {holder}). A SQLite file "
                "serves one process: stop that one, choose another file (TASKBUS_DATABASE_URL), or use "
                "PostgreSQL."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "SingleProcess":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

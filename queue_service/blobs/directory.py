"""Blobs as files below one directory: how they lie there, and how a write becomes visible as a whole.

A blob is one file: a line of JSON that says what it is, then its bytes as they came. So what belongs
together cannot come apart, and a rename makes it visible. Everything here blocks; see ``local`` for the rest.
"""

import errno
import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from queue_service.blobs.store import BlobsUnavailable, checked_key

_SUFFIX: Final = ".blob"
"""No key holds a dot, so that a blob is never in the way of a folder."""
_MAX_HEAD: Final = 8192
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700


class DiskFull(BlobsUnavailable):
    """The disk has less room than the blob needs and the reserve demands."""

    def __init__(self) -> None:
        super().__init__("the disk is full")


class WrongLength(ValueError):
    """The upload has more or fewer bytes than announced."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a blob beside its bytes."""

    size: int
    """Bytes."""
    content_type: str
    content_encoding: str
    """Empty without one."""
    etag: str
    """Another for each upload; without quotes."""

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


class Incoming:
    """A blob that is being written, invisible until :meth:`commit`. A late thread finds it closed."""

    def __init__(self, directory: "Directory", key: str, head: Head, part: Path, file: IO[bytes]) -> None:
        self._directory = directory
        self._key = key
        self._head = head
        self._part = part
        self._file = file
        self._lock = threading.Lock()
        self._left = head.size

    def write(self, data: bytes | bytearray) -> None:
        """Append. Raises DiskFull, WrongLength; ValueError after the end."""
        with self._lock:
            if len(data) > self._left:
                raise WrongLength(f"{len(data) - self._left} bytes more than announced")
            self._directory.require_room(len(data))
            try:
                self._file.write(data)
            except OSError as error:
                raise _told(error) from error
            self._left -= len(data)

    def commit(self) -> None:
        """Make the blob visible and lasting in place of an earlier one. Raises DiskFull, WrongLength."""
        with self._lock:
            if self._left:
                raise WrongLength(f"{self._left} bytes less than announced")
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise _told(error) from error
            self._directory.publish(self._part, self._key)
            self._file.close()

    def discard(self) -> None:
        """Forget what was written; nothing to do after a commit."""
        with self._lock:
            if self._file.closed:
                return
            with suppress(FileNotFoundError):
                self._part.unlink()
            with suppress(OSError):  # what was buffered may find no room
                self._file.close()


class Stored:
    """An open blob. It stays readable while it is replaced or deleted."""

    def __init__(self, head: Head, file: IO[bytes], start: int) -> None:
        self.head = head
        self._file = file
        self._start = start
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from ``offset`` on, as many as there are up to ``length``."""
        with self._lock:
            return os.pread(self._file.fileno(), length, self._start + offset)

    def close(self) -> None:
        with self._lock:
            self._file.close()


class Directory:
    """The files. ``reserve``: bytes that stay free on the disk, whatever is uploaded."""

    def __init__(self, path: Path, *, reserve: int = 0) -> None:
        self._blobs = path / "blobs"
        self._parts = path / "incoming"
        self._reserve = reserve

    def prepare(self) -> None:
        """Make the directory; what begins a blob does it, too. Raises OSError."""
        for folder in (self._blobs, self._parts):
            folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)

    def require_room(self, length: int) -> None:
        """Raises DiskFull unless ``length`` bytes fit and leave the reserve."""
        disk = os.statvfs(self._parts)
        if disk.f_bavail * disk.f_frsize - length < self._reserve:
            raise DiskFull

    def begin(self, key: str, head: Head, *, others: int = 0) -> Incoming:
        """A new blob to write, beside ``others`` bytes that are on their way. Raises DiskFull, InvalidKey."""
        checked_key(key)
        part = self._parts / secrets.token_hex(16)
        try:
            self.prepare()
            self.require_room(head.size + others)
            file = open(part, "xb", opener=_private)  # noqa: SIM115 - Incoming closes it
        except OSError as error:
            raise _told(error) from error
        incoming = Incoming(self, key, head, part, file)
        try:
            # Tells the sweep, also of other processes, that somebody still writes here.
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(head.line())
        except OSError as error:
            incoming.discard()
            raise _told(error) from error
        return incoming

    def publish(self, part: Path, key: str) -> None:
        """Give a complete file its name, lasting."""
        target = self._path(key)
        with self._folders(fcntl.LOCK_SH):
            made = [folder for folder in target.parents if not folder.exists()]
            target.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            part.rename(target)
        for folder in {target.parent, *(folder.parent for folder in made)}:
            _sync(folder)

    def open(self, key: str) -> Stored | None:
        """The blob, to be closed by the caller; None when there is none. Raises InvalidKey."""
        try:
            file = open(self._path(key), "rb", buffering=0)  # noqa: SIM115 - the caller closes it
        except FileNotFoundError:
            return None
        line = os.pread(file.fileno(), _MAX_HEAD, 0).partition(b"\n")[0]
        try:
            return Stored(Head(**json.loads(line)), file, len(line) + 1)
        except (ValueError, TypeError) as error:
            file.close()
            raise ValueError(f"{file.name} is no blob of this program") from error

    def size(self, key: str) -> int | None:
        """Its length in bytes; None when there is none. Raises InvalidKey."""
        stored = self.open(key)
        if stored is None:
            return None
        stored.close()
        return stored.head.size

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the blobs that exist, and folders that are empty then. Raises InvalidKey."""
        paths = [self._path(key) for key in keys]
        for path in paths:
            with suppress(FileNotFoundError):
                path.unlink()
        if not self._blobs.exists():
            return
        with self._folders(fcntl.LOCK_EX):
            for path in paths:
                self._remove_empty(path.parents)

    def sweep(self, before: datetime) -> int:
        """Delete what crashes left: last written before this time, and no longer held by any process."""
        swept = 0
        for part in self._parts.glob("*"):
            with suppress(FileNotFoundError, BlockingIOError), open(part, "rb") as file:
                if os.fstat(file.fileno()).st_mtime < before.timestamp():
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()
                    swept += 1
        return swept

    def _remove_empty(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if folder == self._blobs:
                break
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:  # not empty
                break

    @contextmanager
    def _folders(self, operation: int) -> Iterator[None]:
        """Exclusive to take empty folders away, shared to make them and put a file in; for all processes."""
        descriptor = os.open(self._blobs, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, operation)
            yield
        finally:
            os.close(descriptor)

    def _path(self, key: str) -> Path:
        return self._blobs / (checked_key(key) + _SUFFIX)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _PRIVATE_FILE)


def _sync(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # deleted meanwhile, with what it held
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _told(error: OSError) -> Exception:
    return DiskFull() if error.errno in (errno.ENOSPC, errno.EDQUOT) else error

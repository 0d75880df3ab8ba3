"""What a command wrote, kept until it is uploaded."""

import gzip
import tempfile
from types import TracebackType
from typing import Final, Self

from taskbus.transfer import OpenFile

LIMIT: Final = 256 * 1024 * 1024
"""Bytes of text; what comes after them is not kept."""

_LEVEL: Final = 1
"""Of compression: the log is written while other runs wait for the same processor."""


class RunLog:
    """The log of one run, compressed on the way; use it as a context manager.

    Its file has no name: nothing of it is left, also when the worker is killed.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._text = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=_LEVEL, mtime=0)
        self._left = limit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._text.close()
        self._file.close()

    def write(self, line: str) -> None:
        """Add one line. Raises OSError when the disk is full."""
        if self._left <= 0:
            return
        content = line.encode(errors="replace") + b"\n"
        self._left -= len(content)
        self._text.write(content)
        if self._left <= 0:
            self._text.write(b"[taskbus] the log ends here: it has reached its limit\n")

    def note(self, text: str) -> None:
        """Add what the worker has to say, even beyond the limit."""
        self._text.write(f"[taskbus] {text}\n".encode(errors="replace"))

    def finish(self) -> OpenFile:
        """The file, complete; nothing can be added any more."""
        self._text.close()
        self._file.flush()
        return self._file

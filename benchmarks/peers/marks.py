"""What jobs leave behind when they run: their number and the time, in a pipe that the comparison reads.

A job does nothing else. The pipe has a name, so that any process of any worker can write into it.
"""

import asyncio
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

VARIABLE: Final = "PEER_MARKS"
_RECORD: Final = struct.Struct("<qd")
_SIZE: Final = 65536 // _RECORD.size * _RECORD.size
_open: list[int] = []


def mark(number: int) -> None:
    """Say that the job has run now. A record is shorter than what a pipe takes in one piece."""
    if not _open:
        _open.append(os.open(os.environ[VARIABLE], os.O_WRONLY))
    os.write(_open[0], _RECORD.pack(number, time.monotonic()))


class Marks:
    """The reading end: when each job ran first."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ran: dict[int, float] = {}
        self._wanted: tuple[frozenset[int], asyncio.Future[None]] | None = None
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    async def of(self, numbers: range, seconds: float) -> dict[int, float]:
        """When these jobs ran, once all have. Raises TimeoutError."""
        missing = frozenset(numbers) - self._ran.keys()
        if missing:
            self._wanted = missing, asyncio.get_running_loop().create_future()
            async with asyncio.timeout(seconds):
                await self._wanted[1]
        return {number: self._ran.pop(number) for number in numbers}

    def _read(self) -> None:
        data = os.read(self._descriptor, _SIZE)
        for number, at in _RECORD.iter_unpack(data):
            self._ran.setdefault(number, at)
        if self._wanted is not None:
            missing, all_there = self._wanted
            if not all_there.done() and missing <= self._ran.keys():
                all_there.set_result(None)


@contextmanager
def marks() -> Iterator[tuple[Marks, str]]:
    """A pipe, and its name for :data:`VARIABLE` of workers."""
    with tempfile.TemporaryDirectory(prefix="taskbus-peers-") as folder:
        name = str(Path(folder, "marks"))
        os.mkfifo(name)
        # Open for both, so that it does not end when the last worker does.
        descriptor = os.open(name, os.O_RDWR | os.O_NONBLOCK)
        try:
            yield Marks(descriptor), name
        finally:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

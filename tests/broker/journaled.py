"""Brokers with a journal in processes of their own, one after the other, to be killed.

``python -m tests.broker.journaled`` reads a line ``MODE FILE`` for each, forks it, and tells its process id
and URL, then its exit status. So the packages are imported once. The logs are emptied far more often than
usual.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from events.broker import Broker, journal_file
from events.broker.journal_file import Synchronous
from tests.broker.peer import PATIENCE

PR_SET_PDEATHSIG: Final = 1


class Journaled:
    """One such broker, from outside."""

    def __init__(self, pid: int, url: str) -> None:
        self._pid = pid
        self.url = url

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)


class Journaling:
    """The process that forks them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @asynccontextmanager
    async def broker(self, file: Path, synchronous: Synchronous = "NORMAL") -> AsyncIterator[Journaled]:
        """A broker that listens; in the end it is killed, and its end awaited."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{synchronous} {file}\n".encode())
        pid, url = (await self._line()).split()
        broker = Journaled(int(pid), url)
        try:
            yield broker
        finally:
            broker.kill()
            assert await self._line() == str(-signal.SIGKILL)

    async def _line(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def journaling() -> AsyncIterator[Journaling]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, stdin=pipe, stdout=pipe)
    try:
        yield Journaling(process)
    finally:
        process.kill()
        await process.wait()


async def _serve(synchronous: Synchronous, file: str) -> None:
    async with Broker(journal=Path(file), synchronous=synchronous) as broker:
        print(os.getpid(), broker.url, flush=True)
        await asyncio.Event().wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _main() -> None:
    _die_with_parent()
    journal_file.LOG_BYTES = 300_000
    for line in sys.stdin:
        synchronous, _, file = line.strip().partition(" ")
        pid = os.fork()
        if not pid:
            _die_with_parent()
            asyncio.run(_serve("FULL" if synchronous == "FULL" else "NORMAL", file))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _main()

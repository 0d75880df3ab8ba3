"""One command in a process group of its own, with its output as lines, which never outlives its worker."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Final, Self

from taskbus.clock import Clock, within
from taskbus.guard import Guard

LINE_LIMIT: Final = 65_536
"""Bytes; a longer line comes in pieces."""

_GATE: Final = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "sh")
"""Waits for a line before it becomes the command; if the worker dies before it writes one, it just ends."""


class CommandProcess:
    """A running command. Made by :meth:`start`, and to be ended by :meth:`end` in every case."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        output: asyncio.StreamReader,
        pipe: asyncio.BaseTransport,
        guard: Guard,
    ) -> None:
        self._process = process
        self._output = output
        self._pipe = pipe
        self._guard = guard

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], guard: Guard, folder: Path
    ) -> Self:
        """Start ``command`` in ``folder`` with exactly this environment, no input, and both outputs as one.

        A command that does not exist is a message in the output and exit status 127, as in a shell. Raises
        OSError when no process can be made.
        """
        output, output_end = _pipe()
        with output_end:
            reader = asyncio.StreamReader(limit=LINE_LIMIT)
            pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), output
            )
            try:
                gate_end, gate = _pipe()
                with gate_end, gate:
                    process = await asyncio.create_subprocess_exec(
                        *_GATE,
                        *command,
                        stdin=gate_end,
                        stdout=output_end,
                        stderr=output_end,
                        env=environment,
                        cwd=folder,
                        start_new_session=True,
                    )
                    guard.watch(process.pid)
                    gate.write(b"\n")
            except BaseException:
                pipe.close()
                raise
        return cls(process, reader, pipe, guard)

    async def wait(self) -> int:
        """The exit status; negative for the signal that ended the command."""
        return await self._process.wait()

    async def lines(self) -> AsyncIterator[str]:
        """The output line by line until nobody can write any more; bytes that are not UTF-8 are replaced."""
        rest = b""
        while chunk := await self._output.read(LINE_LIMIT):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")
            if len(rest) >= LINE_LIMIT:
                yield rest.decode(errors="replace")
                rest = b""
        if rest:
            yield rest.decode(errors="replace")

    async def end(self, clock: Clock, grace: float) -> None:
        """Leave nothing of the group running: SIGTERM, and SIGKILL when ``grace`` seconds did not suffice."""
        try:
            if self._process.returncode is None:
                self._signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    await within(clock, grace, self._process.wait())
        finally:
            self._signal(signal.SIGKILL)
            self._guard.forget(self._process.pid)
        await self._process.wait()

    def close(self) -> None:
        """Stop reading the output."""
        self._pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _pipe() -> tuple[FileIO, FileIO]:
    """Where to read and where to write.

    Ours, for with asyncio's a process does not end while anything it started holds them.
    """
    read, write = os.pipe()
    return FileIO(read, "rb"), FileIO(write, "wb")

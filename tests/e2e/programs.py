"""Real ``python -m taskbus …`` processes: their output to wait for, and nothing left of them in the end."""

import asyncio
import ctypes
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

START_SECONDS: Final = 30.0
"""For a program to say that it is ready; two cores may be shared with other suites."""

MAX_LINE: Final = 1024 * 1024
"""Bytes; a log line with a traceback is long."""

PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Program:
    """A running process. Its output, both streams as one, is in ``lines`` as it comes."""

    def __init__(self, process: asyncio.subprocess.Process, command: str) -> None:
        self.process = process
        self.lines: list[str] = []
        self._command = command
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    async def line(self, *words: str, since: int = 0, timeout: float = START_SECONDS) -> str:
        """The first line from number ``since`` on with all these words, be it there already or to come.

        Raises AssertionError with the output when there is none in time, or the process ends without it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    for line in self.lines[since:]:
                        if all(word in line for word in words):
                            return line
                    if self._reading.done():
                        break
                    self._changed.clear()
                    await self._changed.wait()
        raise AssertionError(f"{self} said nothing with {words}, only:\n{self.output}")

    async def exit(self, timeout: float = START_SECONDS) -> int:
        """The exit status, once the process has ended and all its output is read."""
        try:
            async with asyncio.timeout(timeout):
                status = await self.process.wait()
                await asyncio.wait({self._reading})
                return status
        except TimeoutError:
            raise AssertionError(f"{self} did not end within {timeout:g} s:\n{self.output}") from None

    async def kill(self) -> None:
        """End this one process by SIGKILL; what it has started is left to itself."""
        self.process.kill()
        await self.process.wait()

    def terminate(self) -> None:
        self.process.terminate()

    async def close(self) -> None:
        """Leave nothing: neither the process nor what it has started in its session."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self._reading.cancel()
        await asyncio.wait({self._reading})

    async def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            while line := await self.process.stdout.readline():
                self.lines.append(line.decode().rstrip())
                self._changed.set()
        finally:
            self._changed.set()

    def __str__(self) -> str:
        return f"{self._command} (process {self.process.pid})"


class Server(Program):
    """A server that listens; its URLs are what it has printed."""

    root_url = ""
    amqp_url = ""

    async def ready(self) -> None:
        """Wait until it has told its URLs."""
        await self.line("taskbus task create --root-url")
        found = re.search(r"HTTP API +(\S+)", self.output)
        assert found is not None, self.output
        self.root_url = found[1]
        if built_in := re.search(r"AMQP .*:(\d+)/ .*built in", self.output):
            self.amqp_url = f"amqp://guest:guest@127.0.0.1:{built_in[1]}/"


P = TypeVar("P", bound=Program)


class Programs:
    """Starts the commands of ``taskbus`` in one folder; use it as a context manager.

    Settings are given as keywords: ``database_url=…`` is ``TASKBUS_DATABASE_URL``. Ports are free ones unless
    said otherwise, and of our own environment's settings none is passed on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Program] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in reversed(self._started):
            await program.close()

    async def serve(self, *arguments: str, **settings: object) -> Server:
        """``taskbus serve``, listening."""
        server = await self._start(Server, "serve", *arguments, **settings)
        await server.ready()
        return server

    async def api(self, **settings: object) -> Server:
        """``taskbus api``, listening."""
        server = await self._start(Server, "api", **settings)
        await server.ready()
        return server

    async def loops(self, **settings: object) -> Program:
        """``taskbus loops``, at work."""
        program = await self.run("loops", **settings)
        await program.line("background work runs")
        return program

    async def worker(self, root_url: str, task_queue_id: str, *arguments: str) -> Program:
        """``taskbus worker``, about to ask for work."""
        program = await self.run("worker", "--queue", task_queue_id, *arguments, root_url=root_url)
        await program.line("takes tasks of", task_queue_id)
        return program

    async def run(self, *arguments: str, **settings: object) -> Program:
        """Any command, just started."""
        return await self._start(Program, *arguments, **settings)

    async def _start(self, kind: type[P], *arguments: str, **settings: object) -> P:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKBUS_")}
        ours = {"port": 0, "amqp_port": 0, "log_format": "json", **settings}
        environment |= {f"TASKBUS_{name.upper()}": str(value) for name, value in ours.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "taskbus",
            *arguments,
            cwd=self.folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=MAX_LINE,
            start_new_session=True,
            preexec_fn=_die_with_the_tests,
        )
        program = kind(process, "taskbus " + " ".join(arguments))
        self._started.append(program)
        return program


def _die_with_the_tests() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

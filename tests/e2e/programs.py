"""Real ``python -m taskbus …`` processes: their output to wait for, and nothing left of them in the end."""

import asyncio
import ctypes
import os
import re
import signal
import sys
from collections.abc import Awaitable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from taskbus import Credentials

REPOSITORY: Final = Path(__file__).parent.parent.parent
START_SECONDS: Final = 30.0
"""For a program to say that it is ready; two cores may be shared with other suites."""

LAST_WORDS_SECONDS: Final = 1.0

ROOT: Final = Credentials("static/taskbus/root", "the-tests-know-this-access-token-of-root-1234")
"""The client that may do everything on every server of these tests."""

MAX_LINE: Final = 1024 * 1024
"""Bytes; a log line with a traceback is long."""

PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Program:
    """A running process. Its output, both streams as one, is in ``lines`` as it comes."""

    def __init__(
        self, command: str, process: asyncio.subprocess.Process, output: asyncio.StreamReader
    ) -> None:
        self.process = process
        self.lines: list[str] = []
        self._command = command
        self._output = output
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
        """The exit status, once the process has ended and its output is read."""
        try:
            async with asyncio.timeout(timeout):
                status = await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"{self} did not end within {timeout:g} s:\n{self.output}") from None
        # Processes that it has left behind may hold the other end for ever.
        await asyncio.wait({self._reading}, timeout=LAST_WORDS_SECONDS)
        return status

    async def kill(self) -> None:
        """End this one process by SIGKILL; what it has started is left to itself."""
        self.process.kill()
        await self.process.wait()

    def terminate(self) -> None:
        self.process.terminate()

    async def children(self, count: int) -> list["Watched"]:
        """The processes that it has started, once there are ``count`` of them."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        async with asyncio.timeout(START_SECONDS):
            # The kernel's list announces nothing, and is no file on a disk.
            while len(pids := listed.read_text().split()) != count:  # noqa: ASYNC110, ASYNC240
                await asyncio.sleep(0.02)
        return [Watched(int(pid)) for pid in pids]

    async def close(self) -> None:
        """Leave nothing: neither the process nor what it has started in its session."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self._reading.cancel()
        await asyncio.wait({self._reading})

    async def _read(self) -> None:
        try:
            while line := await self._output.readline():
                self._said(line.decode().rstrip())
                self._changed.set()
        finally:
            self._changed.set()

    def _said(self, line: str) -> None:
        self.lines.append(line)

    def __str__(self) -> str:
        return f"{self._command} (process {self.process.pid})"


class Watched:
    """A process that somebody else has started. Make it while the process is known to live."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def kill(self) -> None:
        signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    async def ended(self, timeout: float) -> bool:
        """Wait for its end; whether it came in time."""
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._descriptor, end.set)
        try:
            async with asyncio.timeout(timeout):
                await end.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._descriptor)
        return True


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

    Settings are given as keywords: ``database_url=…`` is ``TASKBUS_DATABASE_URL``. Ports are free ones and
    the root client is :data:`ROOT` unless said otherwise. Our own environment's settings are not passed on.
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
        return await _once(server, server.ready())

    async def api(self, **settings: object) -> Server:
        """``taskbus api``, listening."""
        server = await self._start(Server, "api", **settings)
        return await _once(server, server.ready())

    async def loops(self, **settings: object) -> Program:
        """``taskbus loops``, at work."""
        program = await self.run("loops", **settings)
        return await _once(program, program.line("background work runs"))

    async def worker(
        self,
        root_url: str,
        task_queue_id: str,
        *arguments: str,
        credentials: Credentials = ROOT,
    ) -> Program:
        """``taskbus worker``, about to ask for work."""
        program = await self.run(
            "worker", "--queue", task_queue_id, *arguments, credentials=credentials, root_url=root_url
        )
        await program.line("takes tasks of", task_queue_id)
        return program

    async def run(
        self, *arguments: str, credentials: Credentials | None = None, **settings: object
    ) -> Program:
        """Any command, just started; ``credentials`` are in its environment."""
        return await self._start(Program, *arguments, credentials=credentials, **settings)

    async def module(self, kind: type[P], name: str, *arguments: str) -> P:
        """``python -m name``, just started: a program of these tests."""
        return await self._start(kind, *arguments, module=name)

    async def _start(
        self,
        kind: type[P],
        *arguments: str,
        module: str = "taskbus",
        credentials: Credentials | None = None,
        **settings: object,
    ) -> P:
        private = ("TASKBUS_", "TASKCLUSTER_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(private)}
        root = {"root_client_id": ROOT.client_id, "root_access_token": ROOT.access_token}
        ours = {"port": 0, "amqp_port": 0, "log_format": "json", **root, **settings}
        environment |= {f"TASKBUS_{name.upper()}": str(value) for name, value in ours.items()}
        environment |= {} if credentials is None else credentials.to_env()
        environment |= {} if module == "taskbus" else {"PYTHONPATH": str(REPOSITORY)}
        output, output_end = await _output_pipe()
        with output_end:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *arguments,
                cwd=self.folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output_end,
                stderr=output_end,
                start_new_session=True,
                preexec_fn=_die_with_the_tests,
            )
        program = kind(" ".join((module, *arguments)), process, output)
        self._started.append(program)
        return program


async def _once(program: P, ready: Awaitable[object]) -> P:
    """The program, once it is ready; nothing is left of one that does not get there."""
    try:
        await ready
    except BaseException:
        await program.close()
        raise
    return program


async def _output_pipe() -> tuple[asyncio.StreamReader, FileIO]:
    """Ours: with asyncio's, a process does not end while something that it has left behind holds it."""
    read, write = os.pipe()
    reader = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), FileIO(read, "rb")
    )
    return reader, FileIO(write, "wb")


def _die_with_the_tests() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

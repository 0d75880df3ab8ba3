"""The service as it is deployed: its processes, and how each is started, killed, frozen and stopped."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from tests.chaos.record import Said
from tests.e2e.programs import Program, Programs
from tests.servers.processes import free_port

CLAIM_TIMEOUT: Final = 3.0
RELAY_LEASE: Final = 2.0
SETTINGS: Final[dict[str, Any]] = {
    "claim_timeout": CLAIM_TIMEOUT,
    "relay_lease": RELAY_LEASE,
    "long_poll": 5,
    "no_auth": True,
}
STARTS: Final = 20
RESTART_SECONDS: Final = 0.3
"""What a supervisor waits before it starts a process again."""
WORKERS: Final = 2
HANDS: Final = 8
"""Runs that a worker works on at once."""
QUEUE: Final = "chaos/work"
DATABASE: Final = "taskbus.sqlite"


class Start(Protocol):
    """Starts a process with further settings, and waits until it is ready, unless it will never be."""

    async def __call__(self, settings: dict[str, Any], *, ready: bool = True) -> Program: ...


class WorkerProgram(Program):
    """A worker; its lines are its record."""

    tell: Callable[[Said], None]

    def _said(self, line: str) -> None:
        if line.startswith("{"):
            self.tell(Said.from_json(line))
        else:
            super()._said(line)


@dataclass
class Member:
    """A process of the deployment, started again whenever a fault ends it. A fault at a time has it."""

    name: str
    start_program: Start
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    programs: list[Program] = field(default_factory=list)

    @property
    def program(self) -> Program:
        return self.programs[-1]

    @property
    def output(self) -> list[str]:
        """What all its processes have said."""
        return [line for program in self.programs for line in program.lines]

    async def start(self) -> None:
        """Start it until it runs: the database may be away. Raises AssertionError in the end."""
        for attempt in range(STARTS):
            try:
                self.programs.append(await self.start_program({}))
                return
            except AssertionError:
                if attempt == STARTS - 1:
                    raise
            await asyncio.sleep(RESTART_SECONDS)

    async def start_doomed(self, seconds: float, **settings: Any) -> int:
        """Start it to end by itself, within these seconds; the exit status."""
        self.programs.append(await self.start_program(settings, ready=False))
        try:
            return await self.program.exit(seconds)
        except AssertionError:
            await self.kill()
            return 0

    async def kill(self) -> None:
        await self.program.kill()

    async def stop(self) -> int:
        """By SIGTERM; the exit status."""
        with suppress(ProcessLookupError):
            self.program.terminate()
        return await self.program.exit()

    async def freeze(self, seconds: float) -> None:
        """By SIGSTOP, this process and no other."""
        os.kill(self.program.process.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(self.program.process.pid, signal.SIGCONT)


class Deployment:
    """The processes of one topology, and workers. ``tell`` hears what the workers say.

    ``split``: two ``taskbus api`` and two ``taskbus loops``; ``serve``: one ``taskbus serve --processes 2``;
    ``sqlite``: one ``taskbus serve`` on a file in ``folder``, in place of the ``database_url``.
    """

    def __init__(
        self,
        topology: str,
        folder: Path,
        database_url: str,
        amqp_url: str,
        tell: Callable[[Said], None],
        *,
        on_small_disk: bool = False,
    ) -> None:
        self.topology = topology
        self.folder = folder
        self.on_small_disk = on_small_disk
        self._database_url = f"sqlite:///{folder / DATABASE}" if topology == "sqlite" else database_url
        self._amqp_url = amqp_url
        self._tell = tell
        self._programs = Programs(folder)
        self._workers = 0
        self.servers: dict[str, Member] = {}
        self.root_urls: list[str] = []
        match topology:
            case "split":
                for number in range(2):
                    self._add_server(f"api-{number}", "api")
                for number in range(2):
                    self._add_server(f"loops-{number}", "loops")
            case "serve":
                self._add_server("serve", "serve", "--processes", "2")
            case "sqlite":
                self._add_server("serve", "serve")
        self.workers = {
            f"worker-{number}": Member(f"worker-{number}", self._worker_start(number))
            for number in range(WORKERS)
        }

    async def __aenter__(self) -> "Deployment":
        await self._programs.__aenter__()
        try:
            await asyncio.gather(*(member.start() for member in self.servers.values()))
            await asyncio.gather(*(member.start() for member in self.workers.values()))
        except BaseException:
            await self._programs.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._programs.__aexit__(None, None, None)

    @property
    def publishers(self) -> list[Member]:
        """Processes with a relay."""
        return [member for name, member in self.servers.items() if not name.startswith("api")]

    @property
    def members(self) -> dict[str, Member]:
        return self.servers | self.workers

    def take_logs(self) -> dict[str, str]:
        """What each process has said since the last time this was asked."""
        logs = {name: "\n".join(member.output) for name, member in self.members.items()}
        for member in self.members.values():
            for program in member.programs:
                program.lines.clear()
        return logs

    def _add_server(self, name: str, command: str, *arguments: str) -> None:
        port = free_port()
        usual = SETTINGS | {"port": port, "database_url": self._database_url, "amqp_url": self._amqp_url}
        usual |= {"artifacts_directory": self.folder / "artifacts"}

        async def start(settings: dict[str, Any], *, ready: bool = True) -> Program:
            known = {**usual, **settings}
            if not ready:
                return await self._programs.run(command, *arguments, **known)
            match command:
                case "api":
                    return await self._programs.api(**known)
                case "loops":
                    return await self._programs.loops(**known)
                case _:
                    return await self._programs.serve(*arguments, **known)

        self.servers[name] = Member(name, start)
        if command != "loops":
            self.root_urls.append(f"http://127.0.0.1:{port}")

    def _worker_start(self, number: int) -> Start:
        async def start(settings: dict[str, Any], *, ready: bool = True) -> Program:
            self._workers += 1
            url = self.root_urls[number % len(self.root_urls)]
            program = await self._programs.module(
                WorkerProgram, "tests.chaos.worker", "--root-url", url, "--queue", QUEUE,
                "--worker-id", f"worker-{self._workers}", "--hands", str(HANDS),
            )  # fmt: skip
            program.tell = self._tell
            await program.line("takes tasks")
            return program

        return start

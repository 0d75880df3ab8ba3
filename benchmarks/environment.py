"""The services under load: the server as its users run it, each with a fresh database and a broker.

PostgreSQL writes through to the disk (fsync) and has its default settings, RabbitMQ too, as in
a company that has just installed them. SQLite and the built-in broker are what ``taskbus serve`` starts by
itself.
"""

import asyncio
import os
import signal
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import asyncpg
import psutil
from sqlalchemy.engine import make_url

from benchmarks.machine import Program, listening_program
from events.address import Address
from tests.servers import postgres, rabbitmq
from tests.servers.processes import free_port

POSTGRES: Final = "PostgreSQL + RabbitMQ"
PROCESSES: Final = "PostgreSQL + RabbitMQ, --processes 2"
SQLITE: Final = "SQLite + built-in broker"
FLOOR: Final = "constant answer (HTTP only)"

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0
LOOK_AGAIN_SECONDS: Final = 0.01


class DidNotStart(Exception):
    """A server ended or said nothing; the text shows the end of its log."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running server, and ways to look at it from outside."""

    variant: str
    port: int
    amqp_url: str
    programs: tuple[Program, ...]
    """The server, and what serves it; their processor time belongs to a task's cost."""
    outbox_empty: Callable[[], Awaitable[bool]]

    async def drained(self) -> None:
        """Return once the outbox is empty: the broker has confirmed every message that was committed."""
        while not await self.outbox_empty():  # noqa: ASYNC110 (the server announces it to nobody)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time used so far, by program."""
        return {program.name: program.cpu_seconds() for program in self.programs}


class Environment:
    """PostgreSQL and RabbitMQ for all benchmarks of a run, started when first asked for."""

    def __init__(self) -> None:
        self._held = ExitStack()

    def close(self) -> None:
        self._held.close()

    @cached_property
    def postgres_url(self) -> str:
        return self._held.enter_context(postgres(fsync=True))

    @cached_property
    def amqp_url(self) -> str:
        return self._held.enter_context(rabbitmq())

    @asynccontextmanager
    async def service(
        self, variant: str, further: Mapping[str, str] = MappingProxyType({})
    ) -> AsyncIterator[Service]:
        """A server with an empty database and these further settings, ready to answer."""
        start = {
            POSTGRES: self._on_postgres,
            PROCESSES: partial(self._on_postgres, processes=2),
            SQLITE: self._on_sqlite,
            FLOOR: self._floor,
        }[variant]
        async with start(further) as service:
            yield service

    @asynccontextmanager
    async def _on_postgres(self, further: Mapping[str, str], processes: int = 1) -> AsyncIterator[Service]:
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(fresh_database(self.postgres_url))
            settings = {"TASKBUS_DATABASE_URL": url, "TASKBUS_AMQP_URL": self.amqp_url, **further}
            await _migrate(settings)
            watch = await asyncpg.connect(url)
            stack.push_async_callback(watch.close)

            async def outbox_empty() -> bool:
                return not await watch.fetchval("SELECT EXISTS (SELECT FROM outbox)")

            port, server = await stack.enter_async_context(_taskbus(settings, processes))
            programs = (
                server,
                *listening_program("database", make_url(url).port or 5432),
                *listening_program("broker", Address.parse(self.amqp_url).port),
            )
            yield Service(POSTGRES, port, self.amqp_url, programs, outbox_empty)

    @asynccontextmanager
    async def _on_sqlite(self, further: Mapping[str, str]) -> AsyncIterator[Service]:
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taskbus-bench-"))
            file, amqp_port = Path(folder, "taskbus.sqlite"), free_port()
            settings = {
                "TASKBUS_DATABASE_URL": f"sqlite:///{file}",
                "TASKBUS_AMQP_URL": "",
                "TASKBUS_AMQP_PORT": str(amqp_port),
                **further,
            }
            port, server = await stack.enter_async_context(_taskbus(settings))
            watch = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)
            stack.callback(watch.close)

            async def outbox_empty() -> bool:
                return not watch.execute("SELECT EXISTS (SELECT 1 FROM outbox)").fetchone()[0]

            yield Service(SQLITE, port, f"amqp://guest:guest@127.0.0.1:{amqp_port}/", (server,), outbox_empty)

    @asynccontextmanager
    async def _floor(self, further: Mapping[str, str]) -> AsyncIterator[Service]:
        async def nothing_waits() -> bool:
            return True

        port = free_port()
        async with process(
            [sys.executable, "-m", "benchmarks.floor", str(port)], {}, announcement=b"serves"
        ) as server:
            yield Service(FLOOR, port, "", (server,), nothing_waits)


@asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[str]:
    """A fresh database on a PostgreSQL server, dropped at the end."""
    name = f"taskbus_bench_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        try:
            yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


async def _migrate(settings: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "taskbus", "migrate"],
        env=os.environ | dict(settings),
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait() != 0:
        raise DidNotStart("taskbus migrate failed; its reason stands above")


@asynccontextmanager
async def _taskbus(settings: Mapping[str, str], processes: int = 1) -> AsyncIterator[tuple[int, Program]]:
    """``taskbus serve`` with these settings, on a free port."""
    port = free_port()
    ours = {"TASKBUS_PORT": str(port), "TASKBUS_LOG_LEVEL": "WARNING", "TASKBUS_NO_AUTH": "1"}
    environment = {**ours, **settings}
    command = [sys.executable, "-m", "taskbus", "serve", "--processes", str(processes)]
    async with process(command, environment, announcement=b"HTTP API") as server:
        yield port, server


@asynccontextmanager
async def process(
    command: list[str], settings: Mapping[str, str], *, announcement: bytes
) -> AsyncIterator[Program]:
    """A process that says on its standard output when it is ready; what it complains about is shown."""
    started = await asyncio.create_subprocess_exec(
        *command, env=os.environ | dict(settings), stdout=asyncio.subprocess.PIPE
    )
    assert started.stdout is not None
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                while announcement not in (line := await started.stdout.readline()):
                    if not line:
                        raise DidNotStart(f"{' '.join(command[1:])} ended; its reason stands above")
        except TimeoutError:
            raise DidNotStart(f"{' '.join(command[1:])} was not ready in {START_SECONDS:g} s") from None
        yield Program("server", psutil.Process(started.pid))
    finally:
        await _stop(started)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

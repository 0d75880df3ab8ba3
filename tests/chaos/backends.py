"""A private PostgreSQL and a private RabbitMQ that may be killed, stopped and started again on their data."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Final

from tests.servers.local import Prepared, prepared_postgres, prepared_rabbitmq
from tests.servers.probes import NotUsable
from tests.servers.programs import packaged_postgres, rabbitmq_script, system_postgres

STARTS: Final = 20
"""How often a server that was killed is started, at most: PostgreSQL waits for the end of its children."""
PAUSE: Final = 0.2

MEMORY: Final = ("set_vm_memory_high_watermark", "0.00001", "0.4")
DISK: Final = ("set_disk_free_limit", "100000GB", "50MB")
"""Alarms of RabbitMQ: the command, the value that raises it and the one that ends it."""


class Backend:
    """One server; a fault at a time has it."""

    def __init__(self, name: str, prepared: Prepared) -> None:
        self.name = name
        self.prepared = prepared
        self.turn = asyncio.Lock()
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.prepared.url

    async def start(self) -> None:
        """Start it, and wait until it answers. Raises NotUsable."""
        for attempt in range(STARTS):
            self._process = self._running.enter_context(self.prepared.process())
            try:
                await asyncio.to_thread(self.prepared.place.await_answer, self._process, self.prepared.probe)
                return
            except NotUsable:
                self._running.close()
                if attempt == STARTS - 1:
                    raise
            await asyncio.sleep(PAUSE)

    async def kill(self) -> None:
        """End it by SIGKILL."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)
        self._running.close()

    async def set_alarm(self, alarm: tuple[str, str, str], *, raised: bool) -> None:
        """Of RabbitMQ."""
        command, high, low = alarm
        control = rabbitmq_script().parent / "rabbitmqctl"
        await asyncio.to_thread(self.prepared.administer, [control, command, high if raised else low])

    def stop(self) -> None:
        self._running.close()


@asynccontextmanager
async def running_postgres() -> AsyncIterator[Backend]:
    """It writes through to the disk: without that it forgets what it has acknowledged when killed.

    Raises NotUsable where its programs are missing.
    """
    try:
        programs = system_postgres()
    except NotUsable:
        programs = packaged_postgres()
    with prepared_postgres(programs, fsync=True) as prepared:
        async with _running(Backend("postgres", prepared)) as backend:
            yield backend


@asynccontextmanager
async def running_rabbitmq() -> AsyncIterator[Backend]:
    """Raises NotUsable where its programs are missing."""
    with prepared_rabbitmq(rabbitmq_script()) as prepared:
        async with _running(Backend("rabbitmq", prepared)) as backend:
            yield backend


@asynccontextmanager
async def _running(backend: Backend) -> AsyncIterator[Backend]:
    try:
        await backend.start()
        yield backend
    finally:
        backend.stop()

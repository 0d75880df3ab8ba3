"""Processes that end with the demo, however the demo ends."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Literal, Self, TypeVar

from examples.demo.graph import ROOT
from taskbus.guard import Guard

SETTINGS: Final = ("TASKBUS_", "TASKCLUSTER_")
"""How variables of Taskbus begin, credentials among them."""
STOP_SECONDS: Final = 10.0
LOG_TAIL: Final = 15
"""Lines of a process's log that an error shows."""

T = TypeVar("T")


class DemoFailed(Exception):
    """The demo cannot go on; the text says why."""


@dataclass(frozen=True)
class Child:
    """A running process. ``ended`` is done when it has ended, with its exit status."""

    name: str
    process: asyncio.subprocess.Process
    ended: asyncio.Task[int]
    log: Path

    def __str__(self) -> str:
        return f"{self.name} (process {self.process.pid})"

    def failure(self) -> DemoFailed:
        """The error that this process has ended, with the end of its log."""
        tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:]
        return DemoFailed("\n  ".join([f"{self} ended with status {self.process.returncode}", *tail]))


class Children:
    """Starts processes and ends them; use it as a context manager.

    Each process has a session of its own: Ctrl-C reaches the demo alone, which then ends them in order. If
    the demo is killed, the guard kills them.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._guard = Guard()
        self._running: list[Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for child in reversed(self._running.copy()):
                await self.stop(child)
        finally:
            self._guard.close()

    async def start(
        self,
        name: str,
        *arguments: str,
        settings: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: Literal["log", "pipe", "shared"] = "log",
    ) -> Child:
        """Start ``python -m <arguments>``. Its log is ``<name>.log``.

        ``settings`` are added to our environment, without what of Taskbus may be in it.
        """
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(SETTINGS)}
        log = self._logs / f"{name}.log"
        with log.open("wb") as file:
            outputs: dict[str, IO[bytes] | int | None] = {
                "log": file,
                "pipe": subprocess.PIPE,
                "shared": None,
            }
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *arguments,
                cwd=ROOT,
                env={**inherited, **(settings or {})},
                stdin=stdin,
                stdout=outputs[stdout],
                stderr=file,
                start_new_session=True,
            )
        self._guard.watch(process.pid)
        child = Child(name, process, asyncio.create_task(process.wait()), log)
        self._running.append(child)
        return child

    async def during(self, work: Coroutine[Any, Any, T], limit: float | None, what: str) -> T:
        """The result of ``work``.

        Raises DemoFailed if a process ends before, or if it takes longer than ``limit`` seconds.
        """
        task = asyncio.create_task(work)
        ends: dict[asyncio.Future[Any], Child] = {child.ended: child for child in self._running}
        try:
            await asyncio.wait({task, *ends}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            for ended, child in ends.items():
                if ended.done():
                    raise child.failure()
            raise DemoFailed(f"waited {limit} s in vain for {what}")
        finally:
            task.cancel()

    async def kill(self, child: Child) -> None:
        """End a process with SIGKILL: it cannot do anything about it."""
        with suppress(ProcessLookupError):
            child.process.kill()
        await self._forget(child)

    async def stop(self, child: Child) -> None:
        """End a process in order: SIGTERM, and SIGKILL if it takes too long."""
        with suppress(ProcessLookupError):
            child.process.terminate()
        await asyncio.wait({child.ended}, timeout=STOP_SECONDS)
        await self.kill(child)

    async def _forget(self, child: Child) -> None:
        await child.ended
        self._running.remove(child)
        self._guard.forget(child.process.pid)

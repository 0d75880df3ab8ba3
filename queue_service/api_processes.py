"""Further API processes beside the one that serves: started, watched, restarted and stopped together."""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import structlog

logger = structlog.get_logger(__name__)

LISTEN_FD: Final = "TASKBUS_LISTEN_FD"
"""The listening socket that a parent process hands down."""
PARENT_PID: Final = "TASKBUS_PARENT_PID"
PROCESS_NUMBER: Final = "TASKBUS_PROCESS_NUMBER"
"""Which of the further processes this one is, from 1 on; the same after a restart."""
RESTART_SECONDS: Final = 1.0
STOP_SECONDS: Final = 15.0
_PR_SET_PDEATHSIG: Final = 1


class ApiProcesses:
    """``number`` processes that serve the same listening socket."""

    def __init__(self, number: int, listener: socket.socket, environment: Mapping[str, str]) -> None:
        self._number = number
        self._descriptor = listener.fileno()
        self._environment = {
            **os.environ,
            **environment,
            LISTEN_FD: str(self._descriptor),
            PARENT_PID: str(os.getpid()),
        }
        self._watchers: list[asyncio.Task[None]] = []
        self._processes: set[asyncio.subprocess.Process] = set()
        self._ending = False

    async def __aenter__(self) -> "ApiProcesses":
        self._watchers = [
            asyncio.create_task(self._keep_running(number), name=f"api process {number}")
            for number in range(1, self._number + 1)
        ]
        return self

    def end(self) -> None:
        """Ask all to stop, and start none again; the end of the context waits for them."""
        self._ending = True
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.terminate()

    async def __aexit__(self, *error: object) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _keep_running(self, number: int) -> None:
        environment = {**self._environment, PROCESS_NUMBER: str(number)}
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "taskbus", "api", env=environment, pass_fds=(self._descriptor,)
            )
            self._processes.add(process)
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                await _stop(process)
                raise
            finally:
                self._processes.discard(process)
            if self._ending:
                return
            logger.error("an API process ended; another one is started", pid=process.pid, status=status)
            await asyncio.sleep(RESTART_SECONDS)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        logger.warning("an API process does not stop; it is killed", pid=process.pid)
        process.kill()
        await process.wait()


def process_number() -> int:
    """0 in a process that was started by somebody else than :class:`ApiProcesses`."""
    return int(os.environ.get(PROCESS_NUMBER, "0")) if LISTEN_FD in os.environ else 0


def inherited_listener() -> socket.socket | None:
    """The socket of the parent process, when this is a further API process.

    It ends with its parent: without that, a killed parent would leave processes that hold the port.
    """
    descriptor = os.environ.get(LISTEN_FD)
    if descriptor is None:
        return None
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(os.environ[PARENT_PID]):  # it was killed while this process was starting
            os.kill(os.getpid(), signal.SIGTERM)
    return socket.socket(fileno=int(descriptor))

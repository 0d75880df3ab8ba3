"""The handler behind ``taskbus worker --attach``: a command that is run once for every item.

It finds the item as JSON on its standard input and its id in TASKBUS_TASK_ID. What it writes to the standard
output is the answer: JSON, or else text. Another exit status than 0 is an error with the end of what it wrote
to the standard error output.
"""

import asyncio
import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self

from pydantic_core import to_json

from schemas.attempts import MAX_OUTPUT
from schemas.times import format_time
from taskbus.attached_connection import AttachedItem
from taskbus.clock import Clock, SystemClock
from taskbus.errors import TaskFailed
from taskbus.guard import Guard
from taskbus.process import CommandProcess
from taskbus.shell import OUTPUT_SECONDS, TERMINATION_SECONDS

ERROR_LINES: Final = 50
"""Of the standard error output, told when the command fails."""
_WITH_FILES: Final = ("/bin/sh", "-c", 'i=$1 o=$2; shift 2; exec "$@" <"$i" >"$o"', "sh")
"""Becomes the command, with its input and output in files: what it leaves running holds neither open."""


class ItemCommand:
    """Runs ``command`` for an item; use it as a context manager."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
    ) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)
        self._clock: Clock = clock or SystemClock()
        self._guard = Guard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.close()

    async def __call__(self, item: AttachedItem) -> Any:
        """The output of the command. Raises TaskFailed for a command that fails, or whose output is too long.

        Cancelled, it ends the command and all that this has started.
        """
        with TemporaryDirectory(prefix="taskbus-item-", ignore_cleanup_errors=True) as folder:
            given, answer = Path(folder, "item.json"), Path(folder, "output")
            _write(given, item)
            status, errors = await self._run((*_WITH_FILES, str(given), str(answer), *self._command), item)
            if status != 0:
                ending = f"ended by signal {-status}" if status < 0 else f"exited with status {status}"
                raise TaskFailed("\n".join((f"the command {ending}", *errors)))
            return _answer(answer)

    async def _run(self, command: Sequence[str], item: AttachedItem) -> tuple[int, Sequence[str]]:
        """The exit status, and the last lines of the standard error output."""
        environment = {
            **self._environment,
            "TASKBUS_TASK_ID": item.task_id,
            "TASKBUS_RUN_ID": str(item.run_id),
        }
        process = await CommandProcess.start(command, environment, self._guard, Path.cwd())
        errors: deque[str] = deque(maxlen=ERROR_LINES)
        reading = asyncio.create_task(_read(process, errors))
        try:
            status = await process.wait()
        finally:
            try:
                await process.end(self._clock, TERMINATION_SECONDS)
                await asyncio.wait({reading}, timeout=OUTPUT_SECONDS)
            finally:
                reading.cancel()
                process.close()
        return status, errors


async def _read(process: CommandProcess, lines: deque[str]) -> None:
    async for line in process.lines():
        lines.append(line)


def _write(file: Path, item: AttachedItem) -> None:
    """As the frame that brought it."""
    members = {
        "task_id": item.task_id,
        "run_id": item.run_id,
        "task_name": item.name,
        "data": item.data,
        "attrs": item.attrs,
        "deadline": format_time(item.deadline),
    }
    file.write_bytes(to_json(members))


def _answer(file: Path) -> Any:
    if (size := file.stat().st_size) > MAX_OUTPUT:
        raise TaskFailed(f"the command wrote {size} bytes; the limit is {MAX_OUTPUT}")
    output = file.read_bytes()
    try:
        return json.loads(output) if output.strip() else None
    except ValueError:
        return output.decode(errors="replace").removesuffix("\n")

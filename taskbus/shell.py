"""The handler behind ``taskbus worker``: tasks that run a command.

Payload::

    {"command": ["make", "test"],     or one string, run by sh -c
     "env": {"CI": "1"},              added to the worker's environment
     "maxRunTime": 600,               seconds; without it the task's deadline is the limit
     "artifacts": [{"name": "public/report.html", "path": "out/report.html"},
                   {"name": "public/logs", "path": "logs", "type": "directory"}]}

A task completes when its command exits with 0 and the artifacts are there, and fails otherwise. The command
has its own process group, no input, and in its environment TASK_ID, RUN_ID, TASKBUS_ROOT_URL and
TASKCLUSTER_ROOT_URL; no other variable of these two families is passed on, since they may hold the worker's
credentials. A task that is traced finds TRACEPARENT there, to go on with its trace.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from schemas import tracing
from schemas.base import INTEGRAL, Request, Text
from taskbus.clock import Clock, SystemClock, within
from taskbus.errors import TaskException, TaskFailed, describe
from taskbus.guard import Guard
from taskbus.process import CommandProcess
from taskbus.run_artifacts import PayloadArtifacts, RunArtifacts
from taskbus.run_log import RunLog
from taskbus.runs import ClaimedRun

logger = logging.getLogger(__name__)

TERMINATION_SECONDS: Final = 3.0
"""Between SIGTERM and SIGKILL."""
OUTPUT_SECONDS: Final = 2.0
"""How long the rest of the output may take once the process group is gone."""

_PRIVATE: Final = ("TASKBUS_", "TASKCLUSTER_", tracing.VARIABLE)

Output = Callable[[ClaimedRun, str], None]
"""Takes one line of a command's output, without its end."""


def _arguments(value: object) -> object:
    if isinstance(value, str):
        value = ["sh", "-c", value] if value else []
    if not isinstance(value, list | tuple) or not value or not all(isinstance(part, str) for part in value):
        raise ValueError("expected a string, or a list of strings, that is not empty")
    if not value[0] or any("\0" in part for part in value):
        raise ValueError("expected a program to begin with, and no NUL characters")
    return value


def _variables(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not name or "=" in name or "\0" in name or "\0" in text:
            raise ValueError(f"expected names without = and no NUL characters, got {name!r}")
    return value


class CommandPayload(Request):
    """What a task must say to be run by ``taskbus worker``."""

    command: Annotated[tuple[str, ...], BeforeValidator(_arguments)]
    env: Annotated[dict[Text, Text], AfterValidator(_variables)] = Field(default_factory=dict)
    max_run_time: Annotated[int, Field(ge=1), INTEGRAL] | None = None
    artifacts: PayloadArtifacts = ()


def log_output(run: ClaimedRun, line: str) -> None:
    """Log one line of output with the run it comes from."""
    logger.info("%r | %s", run, line, extra={"task_id": run.task_id, "run_id": run.run_id})


class CommandHandler:
    """A handler for a Worker that runs each task's command; use it as a context manager.

    ``root_url`` is what commands get in their environment, and ``environment`` what they inherit. With
    ``artifacts`` the log of each run is uploaded, and what its payload names. Commands run in the folder of
    this process, or with ``folders`` each in a new folder in that one, which is removed after the run.
    """

    def __init__(
        self,
        root_url: str,
        *,
        artifacts: RunArtifacts | None = None,
        folders: Path | None = None,
        output: Output = log_output,
        environment: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
    ) -> None:
        self._inherited = {
            name: value for name, value in environment.items() if not name.startswith(_PRIVATE)
        }
        self._root_url = root_url
        self._artifacts = artifacts
        self._folders = folders
        self._output = output
        self._clock: Clock = clock or SystemClock()
        self._guard = Guard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.close()

    async def __call__(self, run: ClaimedRun) -> None:
        """Run the command of this task to its end, and upload what it leaves behind.

        Raises TaskException for a payload that makes no sense or a machine that cannot start it, and
        TaskFailed for a command that exits with another status than 0 or takes longer than it may, or whose
        artifacts are not there.
        """
        with RunLog() as log, self._folder(run) as folder:
            try:
                payload = _read(run)
                artifacts = payload.artifacts
                await self._execute(run, payload, folder, log)
            except (TaskFailed, TaskException) as error:
                log.note(str(error))
                failure: TaskFailed | TaskException | None = error
                if isinstance(error, TaskException):
                    artifacts = ()
            else:
                failure = None
            problems = []
            if self._artifacts is not None:
                problems = await self._artifacts.upload(run, artifacts, folder, log)
        if failure is not None:
            raise failure
        if problems:
            raise TaskFailed("; ".join(problems))

    @contextmanager
    def _folder(self, run: ClaimedRun) -> Iterator[Path]:
        if self._folders is None:
            yield Path.cwd()
            return
        with TemporaryDirectory(
            prefix=f"{run.task_id}-{run.run_id}-", dir=self._folders, ignore_cleanup_errors=True
        ) as name:
            yield Path(name)

    async def _execute(self, run: ClaimedRun, payload: CommandPayload, folder: Path, log: RunLog) -> None:
        process = await self._start(run, payload, folder)
        copying = asyncio.create_task(self._copy_output(run, process, log))
        try:
            status = await self._exit_status(process, payload.max_run_time)
        finally:
            try:
                await process.end(self._clock, TERMINATION_SECONDS)
                await asyncio.wait({copying}, timeout=OUTPUT_SECONDS)
            finally:
                copying.cancel()
                process.close()
        if status < 0:
            raise TaskFailed(f"the command was ended by signal {-status}")
        if status > 0:
            raise TaskFailed(f"the command exited with status {status}")

    async def _start(self, run: ClaimedRun, payload: CommandPayload, folder: Path) -> CommandProcess:
        environment = {
            **self._inherited,
            **payload.env,
            "TASK_ID": run.task_id,
            "RUN_ID": str(run.run_id),
            "TASKBUS_ROOT_URL": self._root_url,
            "TASKCLUSTER_ROOT_URL": self._root_url,
        }
        if (traceparent := tracing.current() or run.traceparent) is not None:
            environment[tracing.VARIABLE] = traceparent
        try:
            return await CommandProcess.start(payload.command, environment, self._guard, folder)
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise TaskException("malformed-payload", "command and env are too long to run") from None
            raise TaskException("resource-unavailable", f"no process can be started: {error}") from error

    async def _exit_status(self, process: CommandProcess, max_run_time: int | None) -> int:
        if max_run_time is None:
            return await process.wait()
        try:
            return await within(self._clock, max_run_time, process.wait())
        except TimeoutError:
            raise TaskFailed(f"the command ran longer than its maxRunTime of {max_run_time} s") from None

    async def _copy_output(self, run: ClaimedRun, process: CommandProcess, log: RunLog) -> None:
        async for line in process.lines():
            try:
                self._output(run, line)
                log.write(line)
            except Exception:  # nobody would read on, and the command would wait for a reader for ever
                logger.exception("a line of %r was lost", run)


def _read(run: ClaimedRun) -> CommandPayload:
    try:
        return CommandPayload.model_validate(run.payload)
    except ValidationError as error:
        raise TaskException("malformed-payload", f"payload: {describe(error)}") from None

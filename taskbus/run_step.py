"""A step of a typed job, as handlers write it; whoever has the run tells it in his own way."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from schemas.jobs import StepReport
from taskbus.endings import EndedByHandler
from taskbus.error_texts import text_of
from taskbus.errors import TaskbusError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class StepReporter(Protocol):
    """Tells the steps of a run."""

    cursor: Any
    """Where the step under way got to."""

    @property
    def completed_steps(self) -> tuple[str, ...]:
        """The steps that earlier runs have done."""
        ...

    async def step(self, name: str, report: StepReport) -> None:
        """Tell of a step. Raises ApiError."""
        ...

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work that the event loop does for another thread."""
        ...


class RunStep:
    """A step of a job: ``async with run.step("Extract")``, or ``with`` in a handler that is a plain function.

    It is RUNNING within, and DONE behind, or ERROR when an error leaves it. ``completed``: an earlier run has
    done it, so that there is nothing to do; then nothing is told. A step that begins while an error is on its
    way, in ``finally``, does not put its own error in the place of that one (T-7).
    """

    def __init__(self, reporter: StepReporter, name: str) -> None:
        self._reporter = reporter
        self.name = name
        self.completed = name in reporter.completed_steps
        self._first: BaseException | None = None

    async def save(self, cursor: Any) -> None:
        """Keep where the step got to: JSON of 64 KiB or less, for the next run of a resumable job."""
        await self._tell("RUNNING", cursor=cursor)
        self._reporter.cursor = cursor

    def save_now(self, cursor: Any) -> None:
        """The same for plain functions."""
        self._reporter.wait(self.save(cursor))

    async def __aenter__(self) -> Self:
        self._first = sys.exc_info()[1]
        if not self.completed:
            await self._tell("RUNNING")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.completed or isinstance(error, EndedByHandler | asyncio.CancelledError):
            return False  # what becomes of the run tells what becomes of the step
        if error is None:
            await self._tell("DONE")
            self._reporter.cursor = None
            return False
        try:
            await self._tell("ERROR", error=text_of(error))
        except TaskbusError as refusal:
            logger.warning("that step %s failed is not told: %s", self.name, refusal)
        if self._first is None:
            return False
        logger.warning("step %s failed after another error", self.name, exc_info=error)
        return True

    def __enter__(self) -> Self:
        self._first = sys.exc_info()[1]
        if not self.completed:
            self._reporter.wait(self._tell("RUNNING"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._reporter.wait(self.__aexit__(kind, error, trace))

    async def _tell(self, state: Literal["RUNNING", "DONE", "ERROR"], **members: Any) -> None:
        await self._reporter.step(self.name, StepReport.trusted(state=state, **members))

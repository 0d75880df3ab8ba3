"""The project's promise as one assertion: what was answered stays, and every change was told, in order."""

import asyncio
from collections.abc import Sequence

from schemas.task import TaskStatus
from tests.e2e.history import problems
from tests.e2e.load import Load
from tests.e2e.observer import Observer


async def assert_kept(load: Load, observer: Observer, working: asyncio.Task[Sequence[TaskStatus]]) -> None:
    """Wait for the end of the load, ``working``, and of its messages; then nothing may be missing."""
    statuses = await working
    lost = load.lost(statuses)
    assert not lost, "acknowledged and forgotten:\n" + "\n".join(lost)
    await observer.until(lambda: not problems(observer.heard, statuses, load.dependencies))
    found = problems(observer.heard, statuses, load.dependencies)
    assert not found, "\n".join(found)

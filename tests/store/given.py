"""Rows that a test starts from, and short ways to look at what is stored."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from queue_service.core.task import Change, Task
from queue_service.store import tasks
from queue_service.store.database import Database, Tx
from tests.core.samples import definition

T = TypeVar("T")


async def store(database: Database, *given: Task) -> None:
    """Put tasks into the database as they are, as if they had been created in their state."""

    async def script(tx: Tx) -> None:
        await tasks.create(tx, [(Change(None, task), definition(task.task_id)) for task in given])

    await database.write(script)


async def read(database: Database, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """What a reading function of the store finds."""
    async with database.read() as connection:
        return await function(connection, *arguments)

"""The states of one task as they come, from the events of the bus or by asking the server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from events.bindings import TaskCompleted, TaskException, TaskFailed, TaskPending, TaskRunning
from events.listener import Listener
from schemas.task import TaskStatus
from taskbus.cli.console import wrong_input
from taskbus.client import Queue

POLL_SECONDS: Final = 1.0
CHECK_SECONDS: Final = 30.0
"""How long to trust that no event means no change: an outage of the broker may have swallowed one."""
READY_SECONDS: Final = 10.0

RESOLVED: Final = ("completed", "failed", "exception")


@asynccontextmanager
async def states_of(
    task_id: str, queue: Queue, amqp_url: str | None
) -> AsyncIterator[AsyncIterator[TaskStatus]]:
    """The states of a task until it is resolved, each once.

    With ``amqp_url`` they come as events, of which none is missed if this is entered before the task is
    created; without it the server is asked every second. Raises BrokerUnavailable when there is no broker.
    """
    if amqp_url is None:
        yield until_resolved(lambda: queue.status(task_id), asyncio.sleep)
        return
    arrived: asyncio.Queue[TaskStatus] = asyncio.Queue()

    async def hear(event: Any) -> None:
        arrived.put_nowait(event.status)

    async def next_state() -> TaskStatus:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await arrived.get()
        except TimeoutError:
            return await queue.status(task_id)

    with wrong_input():
        listener = Listener(amqp_url, name="taskbus task create --wait")
    kinds = (TaskPending, TaskRunning, TaskCompleted, TaskFailed, TaskException)
    listener.on(*(kind(task_id=task_id) for kind in kinds))(hear)
    async with listener:
        await listener.ready(READY_SECONDS)
        yield until_resolved(next_state)


async def until_resolved(
    next_state: Callable[[], Awaitable[TaskStatus]],
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> AsyncIterator[TaskStatus]:
    """The states that ``next_state`` tells, without repetitions, with pauses if there is a ``sleep``."""
    last = None
    while True:
        status = await next_state()
        mark = (len(status.runs), status.state)
        if mark != last:
            last = mark
            yield status
        if status.state in RESOLVED:
            return
        if sleep is not None:
            await sleep(POLL_SECONDS)

"""Create a task, and be told when a worker has completed it.

Needs a service and a worker, ``taskbus serve`` and ``taskbus worker --queue demo/local``, and credentials
in the environment: ``eval "$(taskbus signin)"``.
"""

import asyncio
import os

from events import Listener, TaskCompleted, TaskException, TaskFailed
from schemas.messages import TaskCompletedMessage, TaskExceptionMessage, TaskFailedMessage
from taskbus import Queue, command_task, slugid

AMQP_URL = os.environ.get("TASKBUS_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")

Ended = TaskCompletedMessage | TaskFailedMessage | TaskExceptionMessage


async def main(root_url: str | None = None, amqp_url: str = AMQP_URL) -> str:
    """The state in which a new task ends."""
    task_id = slugid()  # chosen here, so that we can listen before the task exists
    state: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with Queue(root_url) as queue, Listener(amqp_url) as listener:

        @listener.on(*(kind(task_id=task_id) for kind in (TaskCompleted, TaskFailed, TaskException)))
        async def run_ended(event: Ended) -> None:
            # A run that was lost is tried again: then the task is pending, not at its end.
            if event.status.state != "pending" and not state.done():
                state.set_result(event.status.state)

        await listener.ready()
        await queue.create_task(task_id, command_task(["echo", "hello"], queue="demo/local"))
        print(f"task {task_id} waits for a worker", flush=True)
        return await state


if __name__ == "__main__":
    print(asyncio.run(main()))

"""A scheduler: when a task with the route ``examples.build`` completes, it creates one that tests it.

To see it: ``taskbus task create --queue demo/local --route examples.build -- echo building``
"""

import asyncio
import os
import uuid
from contextlib import suppress

import slugid

from events import Listener, TaskCompleted
from schemas.messages import TaskCompletedMessage
from taskbus import Conflict, Queue, command_task

AMQP_URL = os.environ.get("TASKBUS_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")


def schedule_tests(listener: Listener, queue: Queue) -> None:
    # A queue with a name is durable: builds that complete while we are away wait in it.
    @listener.on(TaskCompleted.route("examples.build"), queue="examples-scheduler")
    async def build_completed(build: TaskCompletedMessage) -> None:
        test = command_task(["echo", "testing"], queue="demo/local", routes=["examples.test"])
        with suppress(Conflict):  # it exists: the same build gives the same id, and messages may repeat
            await queue.create_task(id_of_test(build.status.task_id), test)


def id_of_test(build_id: str) -> str:
    return str(slugid.encode(uuid.UUID(bytes=uuid.uuid5(slugid.decode(build_id), "test").bytes, version=4)))


async def main() -> None:
    async with Queue() as queue, Listener(AMQP_URL) as listener:
        schedule_tests(listener, queue)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

"""Two stages, the second starts on the message of the first: ``python -m examples.pipeline orders.csv``.

Needs ``taskbus serve`` and, once, a role for the tasks of its trigger:
``taskbus role create 'trigger-id:demo/*' --scope 'queue:create-task:*' --scope 'queue:scheduler-id:*'``.

Neither stage knows of the other; what is loaded by another program is published, too.
"""

import asyncio
import sys

from events import TaskCompleted
from taskbus.jobs import Job, JobOptions, Run, Taskbus, Worker

worker = Worker()


class Load(Job):
    file: str
    options = JobOptions(queue="demo/load")


class Publish(Job):
    loaded: str
    options = JobOptions(queue="demo/publish")


@worker.handle(Load)
async def load(job: Load, run: Run) -> None:
    print(f"loaded {job.file}")


@worker.handle(Publish)
async def publish(job: Publish, run: Run) -> None:
    print(f"published what task {job.loaded} has loaded")
    worker.stop()


async def main(bus: Taskbus, file: str) -> None:
    bus.on_event(
        TaskCompleted(task_queue_id="demo/load"),
        args={"loaded": "${trigger.message.status.taskId}"},
        name="demo/publish",
    )(Publish)
    async with bus:
        await bus.apply_triggers()
        await asyncio.sleep(1)  # the queue of a new trigger takes a moment
        await bus.insert(Load(file=file))
        await worker.run(bus)


if __name__ == "__main__":
    asyncio.run(main(Taskbus.from_env(), sys.argv[1]))

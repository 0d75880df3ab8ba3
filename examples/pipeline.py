"""Two stages, the second starts on the message of the first: ``python -m examples.pipeline``.
Needs ``taskbus serve`` and, once, the role that nightly_report.py tells."""

import asyncio

from events import TaskCompleted
from taskbus.jobs import Job, JobOptions, Run, Taskbus, Worker

worker = Worker()


class Load(Job):
    file: str
    options = JobOptions(queue="demo/load")


class Publish(Job):
    loaded: str
    options = JobOptions(queue="demo/publish")


@worker.handle(Publish)
async def publish(job: Publish, run: Run) -> None:
    print(f"published what task {job.loaded} has loaded")
    worker.stop()


async def main(bus: Taskbus, file: str) -> None:
    worker.handle(Load)(lambda job, run: print(f"loaded {job.file}"))
    loaded, args = TaskCompleted(task_queue_id="demo/load"), {"loaded": "${trigger.message.status.taskId}"}
    bus.on_event(loaded, args=args, name="demo/publish")(Publish)
    async with bus:
        await bus.apply_triggers()
        await asyncio.sleep(1)  # the queue of a new trigger takes a moment
        await bus.insert(Load(file=file))
        await worker.run(bus)


if __name__ == "__main__":
    asyncio.run(main(Taskbus.from_env(), "orders.csv"))

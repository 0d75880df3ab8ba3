"""Typed jobs in the process of a running queue: their API, and their events as they are kept."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from pydantic import SecretStr

from queue_service.api.app import Application
from queue_service.features.feature import Parts
from queue_service.features.jobs import event_store
from queue_service.features.jobs.event_store import JobEvent
from queue_service.features.jobs.feature import ALIAS, JOBS, JOBS_API
from queue_service.settings import Settings
from tests.api.asgi import Reply, request
from tests.api.neighbour import Neighbour
from tests.api.running_queue import NOTHING, RunningQueue

Json = dict[str, Any]

QUEUE: Final = "jobs/etl"
FILE_ETL: Final[Json] = {
    "description": "Loads a CSV file into a table.",
    "paramsSchema": {
        "type": "object",
        "properties": {"fileId": {"type": "string"}, "rows": {"type": "integer"}},
        "required": ["fileId"],
    },
    "steps": [{"name": "Extract"}, {"name": "Transform"}, {"name": "Load"}],
    "taskQueueId": QUEUE,
}
PARAMS: Final[Json] = {"fileId": "orders.csv"}
FIXED: Final[Json] = {"kind": "fixed", "delay": "10s", "jitter": 0}


class RunningJobs(Neighbour):
    """The jobs of one process, and their client."""

    def __init__(self, queue: RunningQueue, application: Application) -> None:
        super().__init__(queue, JOBS_API, application)
        self.queue = queue
        self.application = application

    async def register(self, name: str = "FILE_ETL", **members: Any) -> Json:
        """Register a type, which must succeed."""
        reply = await self.call("PUT", f"/types/{name}", {**FILE_ETL, **members})
        assert reply.status in (200, 201), reply.body
        return dict(reply.json())

    async def submit(self, **members: Any) -> str:
        """Submit a job, which must be new; its id."""
        reply = await self.call("POST", "/jobs", {"type": "FILE_ETL", "params": PARAMS, **members})
        assert reply.status == 201, reply.body
        return str(reply.json()["jobId"])

    async def submitted(self, **definition: Any) -> str:
        """A job of a type with this definition; its id."""
        await self.register(**definition)
        return await self.submit()

    async def claim(self, worker: str = "worker-1", *, task_queue_id: str = QUEUE) -> Json:
        """The one run that a worker is given."""
        body = {"workerGroup": "eu-central", "workerId": worker, "tasks": 1}
        (claimed,) = (await self.queue.post(f"/claim-work/{task_queue_id}", body))["tasks"]
        return dict(claimed)

    async def running(self, **definition: Any) -> str:
        """A job of a type with this definition whose first run a worker has; its id."""
        job_id = await self.submitted(**definition)
        await self.claim()
        return job_id

    async def job(self, job_id: str) -> Json:
        return await self.get(f"/jobs/{job_id}")

    async def state(self, job_id: str) -> str:
        return str((await self.job(job_id))["state"])

    async def steps(self, job_id: str) -> dict[str, str]:
        """The states of the steps by their names."""
        return {step["name"]: step["state"] for step in (await self.job(job_id))["steps"]}

    async def step(self, job_id: str, name: str, state: str, *, run_id: int = 0, **members: Any) -> Reply:
        target = f"/jobs/{job_id}/runs/{run_id}/steps/{name.replace(' ', '%20')}"
        return await self.call("PUT", target, {"state": state, **members})

    async def progress(self, job_id: str, *, run_id: int = 0, **members: Any) -> Reply:
        return await self.call("POST", f"/jobs/{job_id}/runs/{run_id}/progress", members)

    async def cancel(self, job_id: str, mode: str = "now", **members: Any) -> Json:
        return await self.post(f"/jobs/{job_id}/cancel", {"mode": mode, **members})

    async def report(self, job_id: str, verb: str, body: object = NOTHING, *, run_id: int = 0) -> Reply:
        """What a worker reports to the queue."""
        return await self.queue.call("POST", f"/task/{job_id}/runs/{run_id}/{verb}", body)

    async def kept(self, job_id: str) -> list[JobEvent]:
        """The events of the job, which have no gaps."""
        async with self.queue.database.read() as connection:
            found = await event_store.after(connection, job_id, 0, 2000)
        assert [event.sequence for event in found] == list(range(1, len(found) + 1))
        return found

    async def told(self, job_id: str) -> list[str]:
        """The events of the job in short: what, and which state."""
        return [short(event) for event in await self.kept(job_id)]

    async def states(self, job_id: str) -> list[str]:
        """The same without what is told of steps."""
        return [told for told in await self.told(job_id) if not told.startswith("step ")]

    async def alias(self, method: str, target: str, body: object = NOTHING) -> Reply:
        """A call below ``/api/jobs``."""
        pieces = [] if body is NOTHING else [json.dumps(body).encode()]
        headers = {} if body is NOTHING else {"Content-Type": "application/json"}
        return await request(self.application, method, ALIAS + target, headers=headers, body=pieces)

    async def messages(self) -> list[tuple[str, str, Json]]:
        """What was told of jobs since the last look: exchange, routing key, body."""
        prefix = "exchange/taskbus-jobs/v1/"
        return [
            (message.exchange.removeprefix(prefix), message.routing_key, message.body)
            for message in await self.queue.messages()
            if message.exchange.startswith(prefix)
        ]


def short(event: JobEvent) -> str:
    value = event.value
    name = f" {value['name']}" if event.event == "step" else ""
    return f"{event.event}{name} {value.get('state', '')}".strip()


@asynccontextmanager
async def running_jobs(queue: RunningQueue) -> AsyncIterator[RunningJobs]:
    """Jobs as the service starts them."""
    settings = Settings(no_auth=True, root_access_token=SecretStr(""), secret_key=SecretStr("k" * 40))
    parts = Parts(
        queue.database, queue.clock, settings, "test", queue=queue.api, gate=queue.permit, amqp_url=None
    )
    async with JOBS.open(parts) as running:
        application = Application(
            [JOBS_API], running.handlers, queue.clock, queue.permit, "1.2.3", paths=running.paths
        )
        yield RunningJobs(queue, application)

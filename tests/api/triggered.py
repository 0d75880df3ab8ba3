"""Triggers in the process of a running queue: their API and their clock, without a broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from pydantic import SecretStr

from queue_service.api.app import Application
from queue_service.core.access import Role
from queue_service.features.feature import Parts
from queue_service.features.firing.sandbox import Sandbox
from queue_service.features.firing.task_maker import TaskMaker
from queue_service.features.triggers.clock import Clock
from queue_service.features.triggers.feature import TRIGGERS, TRIGGERS_API
from queue_service.features.triggers.firing import TriggerFiring
from queue_service.operations import first_start, roles
from queue_service.settings import Settings
from schemas.ids import slugid
from schemas.times import EPOCH
from tests.api.neighbour import Neighbour
from tests.api.running_queue import RunningQueue

Json = dict[str, Any]

GROUP: Final = "reports"
PATH: Final = f"/{GROUP}/nightly"
TASK: Final[Json] = {
    "provisionerId": "taskbus-ci",
    "workerType": "b-linux-medium",
    "schedulerId": "releng-level-3",
    "priority": "low",
    "payload": {"command": ["make", "nightly"]},
    "metadata": {
        "name": "Nightly report",
        "description": "What happened during the day.",
        "owner": "releng@example.com",
        "source": "https://hg.example.com/releng",
    },
}
ROLE_SCOPES: Final = (
    "queue:create-task:low:taskbus-ci/b-linux-medium",
    "queue:create-task:project:none",
    "queue:scheduler-id:releng-level-3",
)
"""What the tasks of the triggers need."""
EVERY_MINUTE: Final[Json] = {"interval": {"duration": "1m"}}


def trigger(**members: Any) -> Json:
    """The definition of a trigger."""
    return {"task": TASK, **members}


class RunningTriggers(Neighbour):
    """The triggers of one process, and their client."""

    def __init__(self, queue: RunningQueue, application: Application, settings: Settings) -> None:
        super().__init__(queue, TRIGGERS_API, application)
        self.queue = queue
        self.sandbox = Sandbox()
        maker = TaskMaker(queue.database, settings.limits(), self.sandbox, unrestricted=settings.no_auth)
        self.firing = TriggerFiring(queue.database, maker)
        self.clock = Clock(queue.database, self.firing, slugid)

    async def create(self, trigger_id: str = "nightly", **members: Any) -> Json:
        """Create a trigger, which must succeed."""
        return await self.put(f"/{GROUP}/{trigger_id}", trigger(**members))

    async def fire(self, payload: Json | None = None, trigger_id: str = "nightly") -> Json:
        """Fire a trigger by its API, which must succeed."""
        return await self.post(f"/{GROUP}/{trigger_id}/fire", {"payload": payload or {}})

    async def fires(self, trigger_id: str = "nightly") -> list[Json]:
        return list((await self.get(f"/{GROUP}/{trigger_id}/fires"))["fires"])

    async def tick(self, **by: float) -> list[Json]:
        """Let so much time pass, and fire what is due then; the firings there are now."""
        self.queue.clock.advance(**by)
        await self.clock.run_once()
        return await self.fires()

    async def end(self, verb: str = "completed") -> str:
        """Claim the next task and end it; its id."""
        (claim,) = await self.queue.claim()
        task_id = str(claim["status"]["taskId"])
        await self.queue.post(f"/task/{task_id}/runs/{claim['runId']}/{verb}")
        await self.queue.settle()
        return task_id

    async def refused(self, method: str, target: str, body: object) -> tuple[int, str, str]:
        """Status, code and text of a refusal."""
        reply = await self.call(method, target, body)
        return reply.status, reply.json()["code"], reply.json()["message"].partition("\n\n---")[0]

    async def grant(self, *scopes: str, trigger_id: str = "nightly") -> None:
        """Give the role of a trigger these scopes."""
        role = Role(f"trigger-id:{GROUP}/{trigger_id}", scopes, "", EPOCH, EPOCH)
        await self.queue.database.write(lambda tx: first_start.begin(tx, None))
        await self.queue.database.write(lambda tx: roles.create(tx, role, lambda _: None))


@asynccontextmanager
async def running_triggers(queue: RunningQueue, *, no_auth: bool = True) -> AsyncIterator[RunningTriggers]:
    """Triggers as the service starts them."""
    settings = Settings(no_auth=no_auth, root_access_token=SecretStr(""))
    parts = Parts(
        queue.database, queue.clock, settings, "test", queue=queue.api, gate=queue.permit, amqp_url=None
    )
    async with TRIGGERS.open(parts) as running:
        application = Application([TRIGGERS_API], running.handlers, queue.clock, queue.permit, "1.2.3")
        triggers = RunningTriggers(queue, application, settings)
        yield triggers
        await triggers.sandbox.close()

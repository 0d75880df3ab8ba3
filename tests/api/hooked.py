"""Hooks in the process of a running queue: their API, their clock and what messages do, without a broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from pydantic import SecretStr

from queue_service.api.app import Application
from queue_service.core.access import Role
from queue_service.features.feature import Parts
from queue_service.features.firing.sandbox import Sandbox
from queue_service.features.firing.task_maker import TaskMaker
from queue_service.features.hooks.clockwork import Clockwork
from queue_service.features.hooks.feature import HOOKS, HOOKS_API
from queue_service.features.hooks.firing import Firing
from queue_service.features.hooks.on_message import MessageHandler
from queue_service.operations import first_start, roles
from queue_service.settings import Settings
from schemas.ids import slugid
from schemas.times import EPOCH
from tests.api.neighbour import Neighbour
from tests.api.running_queue import RunningQueue

Json = dict[str, Any]

GROUP: Final = "project-releng"
METADATA: Final[Json] = {
    "name": "Nightly builds",
    "description": "Builds what was pushed during the day.",
    "owner": "releng@example.com",
}
TASK: Final[Json] = {
    "provisionerId": "taskbus-ci",
    "workerType": "b-linux-medium",
    "schedulerId": "releng-level-3",
    "priority": "low",
    "payload": {"command": ["make", "nightly"], "maxRunTime": 3600},
    "metadata": {**METADATA, "source": "https://hg.example.com/releng"},
}
ROLE_SCOPES: Final = (
    "queue:create-task:low:taskbus-ci/b-linux-medium",
    "queue:create-task:project:none",
    "queue:scheduler-id:releng-level-3",
)
"""What the tasks of the hooks need."""


def hook(**members: Any) -> Json:
    """The definition of a hook."""
    return {"metadata": METADATA, "task": TASK, **members}


class RunningHooks(Neighbour):
    """The hooks of one process, and their client."""

    def __init__(self, queue: RunningQueue, application: Application, settings: Settings) -> None:
        super().__init__(queue, HOOKS_API, application)
        self.queue = queue
        self.sandbox = Sandbox()
        maker = TaskMaker(queue.database, settings.limits(), self.sandbox, unrestricted=settings.no_auth)
        self.firing = Firing(queue.database, maker)
        self.messages = MessageHandler(queue.database, self.firing, self.sandbox)
        self.clockwork = Clockwork(queue.database, self.firing, slugid)

    async def create(self, hook_id: str = "nightly", **members: Any) -> Json:
        """Create a hook, which must succeed."""
        return await self.put(f"/hooks/{GROUP}/{hook_id}", hook(**members))

    async def trigger(self, payload: Json | None = None, hook_id: str = "nightly") -> Json:
        """Fire a hook by its API, which must succeed."""
        return await self.post(f"/hooks/{GROUP}/{hook_id}/trigger", payload or {})

    async def fires(self, hook_id: str = "nightly") -> list[Json]:
        return list((await self.get(f"/hooks/{GROUP}/{hook_id}/last-fires"))["lastFires"])

    async def grant(self, *scopes: str, hook_id: str = "nightly") -> None:
        """Give the role of a hook these scopes."""
        role = Role(f"hook-id:{GROUP}/{hook_id}", scopes, "", EPOCH, EPOCH)
        await self.queue.database.write(lambda tx: first_start.begin(tx, None))
        await self.queue.database.write(lambda tx: roles.create(tx, role, lambda _: None))


@asynccontextmanager
async def running_hooks(queue: RunningQueue, *, no_auth: bool) -> AsyncIterator[RunningHooks]:
    """Hooks as the service starts them."""
    settings = Settings(no_auth=no_auth, root_access_token=SecretStr(""))
    parts = Parts(
        queue.database, queue.clock, settings, "test", queue=queue.api, gate=queue.permit, amqp_url=None
    )
    async with HOOKS.open(parts) as running:
        application = Application([HOOKS_API], running.handlers, queue.clock, queue.permit, "1.2.3")
        hooks = RunningHooks(queue, application, settings)
        yield hooks
        await hooks.sandbox.close()

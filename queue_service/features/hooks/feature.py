"""Hooks as a feature of the service: its API, its clock and its queues."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from queue_service.api.endpoint import Api, Section
from queue_service.api.monitoring import MONITORING
from queue_service.features.feature import Feature, Parts, Running
from queue_service.features.firing.sandbox import Sandbox
from queue_service.features.firing.task_maker import TaskMaker
from queue_service.features.hooks import store
from queue_service.features.hooks.api import HooksApi
from queue_service.features.hooks.clockwork import Clockwork
from queue_service.features.hooks.endpoints import HOOKS_ENDPOINTS
from queue_service.features.hooks.examples import EXAMPLES
from queue_service.features.hooks.firing import Firing
from queue_service.features.hooks.on_message import MessageHandler
from queue_service.features.hooks.queues import HookQueues
from queue_service.store.database import Tx
from schemas.ids import slugid

KEPT: Final = timedelta(days=365)
"""How long it is known that a hook has fired."""
HOOKS_API: Final = Api(
    "hooks",
    "Hooks",
    "Creates tasks from templates: by a call, by messages of the broker, or by the clock.",
    [Section(HooksApi, HOOKS_ENDPOINTS), MONITORING],
    examples=EXAMPLES,
)


@asynccontextmanager
async def _open(parts: Parts) -> AsyncIterator[Running]:
    sandbox = Sandbox()
    settings = parts.settings
    maker = TaskMaker(parts.database, settings.limits(), sandbox, unrestricted=settings.no_auth)
    firing = Firing(parts.database, maker)
    denied = settings.denied_exchanges
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sandbox.close)
        if parts.amqp_url is not None:
            queues = HookQueues(
                parts.database, parts.amqp_url, MessageHandler(parts.database, firing, sandbox)
            )
            queues.start()
            stack.push_async_callback(queues.stop)
        yield Running(
            handlers=[HooksApi(parts.database, firing, sandbox, slugid, denied=denied)],
            loops=[Clockwork(parts.database, firing, slugid).loop],
        )


async def _forget_old_fires(tx: Tx, before: datetime, limit: int) -> int:
    return await store.delete_old_fires(tx, before - KEPT, limit)


HOOKS: Final = Feature("hooks", _open, apis=[HOOKS_API], sweeps=[_forget_old_fires])

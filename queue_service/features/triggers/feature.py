"""Triggers as a feature of the service: their API, their clock and their queues."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from queue_service.api.endpoint import Api, Section
from queue_service.api.monitoring import MONITORING
from queue_service.features.feature import Feature, Parts, Running
from queue_service.features.firing.queues import MessageQueues
from queue_service.features.firing.sandbox import Sandbox
from queue_service.features.firing.task_maker import TaskMaker
from queue_service.features.triggers.api import TriggersApi
from queue_service.features.triggers.clock import Clock
from queue_service.features.triggers.definitions import follow
from queue_service.features.triggers.endpoints import TRIGGERS_ENDPOINTS
from queue_service.features.triggers.examples import EXAMPLES
from queue_service.features.triggers.firing import TriggerFiring
from queue_service.features.triggers.on_message import MessageHandler
from queue_service.features.triggers.queue_rows import ListeningTriggers
from schemas.ids import slugid

TRIGGERS_API: Final = Api(
    "triggers",
    "Triggers",
    "Creates tasks by itself: by the clock, over gapless ranges of time, or by messages of the broker.",
    [Section(TriggersApi, TRIGGERS_ENDPOINTS), MONITORING],
    examples=EXAMPLES,
)


@asynccontextmanager
async def _open(parts: Parts) -> AsyncIterator[Running]:
    sandbox = Sandbox()
    settings = parts.settings
    maker = TaskMaker(parts.database, settings.limits(), sandbox, unrestricted=settings.no_auth)
    firing = TriggerFiring(parts.database, maker)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sandbox.close)
        if parts.amqp_url is not None:
            handler = MessageHandler(parts.database, firing, slugid)
            queues = MessageQueues(parts.database, parts.amqp_url, ListeningTriggers(), handler)
            queues.start()
            stack.push_async_callback(queues.stop)
        yield Running(
            handlers=[TriggersApi(parts.database, firing, sandbox, slugid, random.random)],
            loops=[Clock(parts.database, firing, slugid).loop],
        )


TRIGGERS: Final = Feature("triggers", _open, apis=[TRIGGERS_API], followers=[follow])

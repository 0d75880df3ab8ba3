"""Attached workers as a feature of the service: its socket, its API, and what ends waiting in vain."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from random import random
from typing import Final

from queue_service.api.bodies import Room
from queue_service.api.endpoint import Api, Section
from queue_service.api.monitoring import MONITORING
from queue_service.api.pipeline import Pipeline
from queue_service.features.feature import Feature, Parts, Running
from queue_service.features.jobs.secrets import Secrets
from queue_service.features.worker_socket import operations, store
from queue_service.features.worker_socket.api import WorkApi
from queue_service.features.worker_socket.endpoints import WORK_ENDPOINTS
from queue_service.features.worker_socket.examples import EXAMPLES
from queue_service.features.worker_socket.gateway import Gateway
from queue_service.features.worker_socket.items import terms_of
from queue_service.features.worker_socket.outcomes import Outcomes
from queue_service.features.worker_socket.socket import WorkerSocket
from queue_service.loops.loop import Loop
from queue_service.store import tasks
from queue_service.store.database import Database
from schemas.ids import slugid

HELD_EVERY: Final = timedelta(seconds=1)
LOOKED_AT: Final = 2000
WORK_API: Final = Api(
    "work",
    "Attached work",
    "Items of work for workers that attach by a WebSocket, at `/api/work/v1/queue`.",
    [Section(WorkApi, WORK_ENDPOINTS), MONITORING],
    examples=EXAMPLES,
)
_LIST: Final = [endpoint for endpoint in WORK_ENDPOINTS if endpoint.name == "listWork"]


@asynccontextmanager
async def _open(parts: Parts) -> AsyncIterator[Running]:
    holds = Loop("held work", parts.clock, Holds(parts.database).run_once, batch=LOOKED_AT, idle=HELD_EVERY)
    if parts.gate is None:
        yield Running(loops=[holds])
        return
    gateway = Gateway(parts.database, slugid(), Secrets(parts.settings), jitter=random)
    waiting = Outcomes(parts.database)
    api = WorkApi(parts.database, parts.clock, parts.settings.limits(), gateway, waiting)
    socket = WorkerSocket(gateway, parts.gate, parts.clock, slugid, open=parts.settings.no_auth)
    alias = Pipeline("/work", [Section(WorkApi, _LIST)], {WorkApi: api}, parts.clock, parts.gate, Room())
    gateway.start()
    try:
        yield Running(
            handlers=[api],
            paths={"/api/work/v1/queue": socket, "/work/queue": socket, "/work/list": alias},
            loops=[holds],
            wind_down=partial(gateway.drain, parts.settings.drain_seconds),
        )
    finally:
        await gateway.stop()
        await waiting.close()
        await api.close()


class Holds:
    """Ends items that no worker took in time, whether or not a gateway is there (WH-3)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run_once(self) -> int:
        """Give up what was held too long; how many items that was. Raises StoreUnavailable."""
        now = self._database.clock.now()
        async with self._database.read() as connection:
            waiting = await store.all_waiting(connection, LOOKED_AT)
            defined = await tasks.definitions(connection, [task.task_id for task in waiting])
        over = [
            task.task_id
            for task in waiting
            if task.task_id in defined
            and task.runs[-1].scheduled + terms_of(defined[task.task_id]).hold <= now
        ]
        if not over:
            return 0
        return await self._database.write(lambda tx: operations.give_up_held(tx, over))


WORKER_SOCKET: Final = Feature("worker socket", _open, apis=[WORK_API])

"""The handlers of the work API (A.10)."""

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from queue_service.api.creation import creation_of
from queue_service.api.endpoint import Answer, Call
from queue_service.api.errors import schema_violations
from queue_service.clock import Clock
from queue_service.core.errors import QueueError
from queue_service.core.limits import Limits
from queue_service.core.task import Task
from queue_service.features.worker_socket import items, outcomes, store
from queue_service.features.worker_socket.connection import Connection
from queue_service.features.worker_socket.gateway import Gateway
from queue_service.features.worker_socket.outcomes import Outcomes
from queue_service.operations import tasks as task_operations
from queue_service.operations.batching import Batcher
from queue_service.operations.tasks import Creation
from queue_service.store import tasks
from queue_service.store.database import Database
from schemas.ids import slugid
from schemas.work import (
    AttachedWorker,
    AttachedWorkers,
    CreateWorkRequest,
    HeldItem,
    HeldWork,
    WorkInFlight,
    WorkItem,
    WorkResponse,
)

LISTED = 10_000


class WorkApi:
    """Handlers with what they need."""

    def __init__(
        self, database: Database, clock: Clock, limits: Limits, gateway: Gateway, waiting: Outcomes
    ) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._gateway = gateway
        self._waiting = waiting
        self.creations = Batcher[Creation, Task](self._create)

    async def create_work(self, call: Call[CreateWorkRequest]) -> Answer:
        work, now = call.body, self._clock.now()
        call.require(name=work.name)
        try:
            created = await self._created(work.task_id, now)
            request = items.task_of(work, created, self._limits.max_deadline)
        except ValidationError as error:
            raise schema_violations(error) from None

        def granted(**_: Any) -> None:
            """The scope for the name is all that an item needs."""

        creation = creation_of(work.task_id or slugid(), request, granted, now, self._limits)
        task = await self.creations.submit(creation, weight=call.size)
        seconds = int(call.query.get("wait", "0"))
        if not seconds:
            return Answer(201, WorkResponse.trusted(status=task.status()))
        ended = await self._waiting.wait(task.task_id, seconds=seconds, gone=call.disconnected)
        if ended is None:
            async with self._database.read() as connection:
                task = (await tasks.get(connection, [task.task_id])).get(task.task_id, task)
            return Answer(202, WorkResponse.trusted(status=task.status()))
        output = await outcomes.output_of(self._database, ended, work.name)
        return Answer(200, WorkResponse.trusted(status=ended.status(), output=output))

    async def _created(self, task_id: str | None, now: datetime) -> datetime:
        """When the item was created first: a repeat of the call stands for the same item (G-4)."""
        if task_id is None:
            return now
        async with self._database.read() as connection:
            known = (await tasks.definitions(connection, [task_id])).get(task_id)
        return now if known is None else known.created

    async def list_work(self, call: Call[None]) -> Any:
        """Of all gateways; progress and data are known of this process's own connections."""
        async with self._database.read() as connection:
            found = await store.in_flight(connection, LISTED)
            defined = await tasks.definitions(connection, [task.task_id for task in found])
        known = {
            item.task_id: item
            for one in self._gateway.connections.values()
            for item in one.in_flight.values()
        }
        listed = []
        for task in found:
            run = task.runs[-1]
            if run.taken_until is None or task.task_id not in defined:
                continue
            terms, item = items.terms_of(defined[task.task_id]), known.get(task.task_id)
            entry = WorkInFlight.trusted(
                task=WorkItem.trusted(
                    task_id=task.task_id,
                    task_name=terms.name,
                    data=terms.data,
                    attrs=items.attrs_of(task.tags),
                ),
                worker=run.worker_id or "",
                retry_counter=task.retries_left,
                deadline=run.taken_until,
                progress=None if item is None else item.progress,
            )
            listed.append(entry.to_wire())
        return listed

    async def held_work(self, call: Call[None]) -> HeldWork:
        async with self._database.read() as connection:
            found = await store.all_waiting(connection, LISTED)
            defined = await tasks.definitions(connection, [task.task_id for task in found])
        return HeldWork.trusted(
            items=tuple(
                HeldItem.trusted(
                    task_id=task.task_id,
                    name=items.terms_of(defined[task.task_id]).name,
                    attrs=items.attrs_of(task.tags),
                    held_until=task.runs[-1].scheduled + items.terms_of(defined[task.task_id]).hold,
                )
                for task in found
                if task.task_id in defined
            )
        )

    async def attached_workers(self, call: Call[None]) -> AttachedWorkers:
        return AttachedWorkers.trusted(
            workers=tuple(_shown(self._gateway, one) for one in self._gateway.connections.values())
        )

    async def close(self) -> None:
        await self.creations.close()

    async def _create(self, creations: Any) -> list[Task | QueueError]:
        margin = self._limits.group_expiry_margin
        return await self._database.write(
            lambda tx: task_operations.create(tx, creations, group_expiry_margin=margin)
        )


def _shown(gateway: Gateway, connection: Connection) -> AttachedWorker:
    return AttachedWorker.trusted(
        worker_group=gateway.name,
        worker_id=connection.worker_id,
        protocol=connection.protocol,
        capacity=connection.capacity,
        in_flight=len(connection.in_flight),
        draining=connection.draining,
        attached=connection.attached,
        tasks=tuple(one.to_wire() for one in connection.described),
    )

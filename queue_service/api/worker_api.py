"""The handlers of the calls about task queues and workers (``queue-behaviour.md`` 7.4).

What this process has seen and not written yet is written before anybody is told of it.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from queue_service.api.endpoint import Call
from queue_service.api.paging import Page, page_of
from queue_service.clock import Clock
from queue_service.core.errors import InputError
from queue_service.core.workers import (
    WorkerKey,
    provisioner_not_found,
    task_queue_not_found,
    worker_not_found,
)
from queue_service.operations import workers as operations
from queue_service.operations.sightings import Sightings
from queue_service.operations.tasks import shown
from queue_service.store import backlog, tasks, workers
from queue_service.store.backlog import Place
from queue_service.store.database import Database
from queue_service.store.statements import Connection
from schemas.ids import WORKER_TYPE_PATTERN
from schemas.workers import (
    ClaimedTask,
    ListClaimedTasksResponse,
    ListPendingTasksResponse,
    ListProvisionersResponse,
    ListTaskQueuesResponse,
    ListWorkersResponse,
    ListWorkerTypesResponse,
    PendingTask,
    PendingTasksResponse,
    ProvisionerResponse,
    QuarantineWorkerRequest,
    TaskQueueCountsResponse,
    TaskQueueResponse,
    UpdateWorkerRequest,
    WorkerResponse,
    WorkerTypeResponse,
)

PlainCall = Call[None]

_WORKER_TYPE: Final = re.compile(WORKER_TYPE_PATTERN)


class WorkerApi:
    """Handlers with what they need: the database, and the sightings that are not in it yet."""

    def __init__(self, database: Database, clock: Clock, sightings: Sightings) -> None:
        self._database = database
        self._clock = clock
        self._sightings = sightings

    # ---- task queues ----------------------------------------------------------------------------------

    async def list_provisioners(self, call: PlainCall) -> ListProvisionersResponse:
        page = page_of(call.query)
        async with self._up_to_date() as connection:
            found = await workers.list_provisioners(connection, self._clock.now(), page.after, page.wanted)
        _, token = page.cut([provisioner.provisioner_id for provisioner in found])
        return ListProvisionersResponse.trusted(
            provisioners=tuple(found[: page.limit]), continuation_token=token
        )

    async def get_provisioner(self, call: PlainCall) -> ProvisionerResponse:
        provisioner_id = call.params["provisionerId"]
        async with self._up_to_date() as connection:
            found = await workers.get_provisioner(connection, provisioner_id, self._clock.now())
        if found is None:
            raise provisioner_not_found(provisioner_id)
        return found

    async def list_task_queues(self, call: PlainCall) -> ListTaskQueuesResponse:
        page = page_of(call.query)
        async with self._up_to_date() as connection:
            found = await workers.list_queues(connection, self._clock.now(), page.after, page.wanted)
        _, token = page.cut([queue.task_queue_id for queue in found])
        return ListTaskQueuesResponse.trusted(
            task_queues=tuple(queue.to_response() for queue in found[: page.limit]), continuation_token=token
        )

    async def get_task_queue(self, call: PlainCall) -> TaskQueueResponse:
        task_queue_id = call.params["taskQueueId"]
        async with self._up_to_date() as connection:
            found = await workers.get_queue(connection, task_queue_id, self._clock.now())
        if found is None:
            raise task_queue_not_found(task_queue_id)
        return found.to_response()

    async def list_worker_types(self, call: PlainCall) -> ListWorkerTypesResponse:
        page, provisioner_id = page_of(call.query), call.params["provisionerId"]
        async with self._up_to_date() as connection:
            found = await workers.list_queues_of(
                connection, provisioner_id, self._clock.now(), page.after, page.wanted
            )
        _, token = page.cut([queue.task_queue_id for queue in found])
        return ListWorkerTypesResponse.trusted(
            worker_types=tuple(queue.to_worker_type() for queue in found[: page.limit]),
            continuation_token=token,
        )

    async def get_worker_type(self, call: PlainCall) -> WorkerTypeResponse:
        task_queue_id = _task_queue_id(call)
        async with self._up_to_date() as connection:
            found = await workers.get_queue(connection, task_queue_id, self._clock.now())
        if found is None:
            raise task_queue_not_found(task_queue_id)
        return found.to_worker_type()

    # ---- what waits and what is claimed ---------------------------------------------------------------

    async def pending_tasks(self, call: PlainCall) -> PendingTasksResponse:
        task_queue_id = call.params["taskQueueId"]
        async with self._database.read() as connection:
            pending = await backlog.count_pending(connection, task_queue_id, self._clock.now())
        provisioner_id, _, worker_type = task_queue_id.partition("/")
        return PendingTasksResponse.trusted(
            task_queue_id=task_queue_id,
            provisioner_id=provisioner_id,
            worker_type=worker_type,
            pending_tasks=pending,
        )

    async def task_queue_counts(self, call: PlainCall) -> TaskQueueCountsResponse:
        task_queue_id = call.params["taskQueueId"]
        now = self._clock.now()
        async with self._database.read() as connection:
            pending = await backlog.count_pending(connection, task_queue_id, now)
            claimed = await backlog.count_claimed(connection, task_queue_id, now)
        provisioner_id, _, worker_type = task_queue_id.partition("/")
        return TaskQueueCountsResponse.trusted(
            task_queue_id=task_queue_id,
            provisioner_id=provisioner_id,
            worker_type=worker_type,
            pending_tasks=pending,
            claimed_tasks=claimed,
        )

    async def list_pending_tasks(self, call: PlainCall) -> ListPendingTasksResponse:
        page, task_queue_id = page_of(call.query), call.params["taskQueueId"]
        async with self._database.read() as connection:
            found = await backlog.list_pending(
                connection, task_queue_id, self._clock.now(), _place(page), page.wanted
            )
            entries = await _pending(connection, [place.task_id for place in found[: page.limit]])
        return ListPendingTasksResponse.trusted(
            tasks=entries, continuation_token=page.cut([_key(place) for place in found])[1]
        )

    async def list_claimed_tasks(self, call: PlainCall) -> ListClaimedTasksResponse:
        page, task_queue_id = page_of(call.query), call.params["taskQueueId"]
        async with self._database.read() as connection:
            found = await backlog.list_claimed(
                connection, task_queue_id, self._clock.now(), _place(page), page.wanted
            )
            entries = await _claimed(connection, [place.task_id for place in found[: page.limit]])
        return ListClaimedTasksResponse.trusted(
            tasks=entries, continuation_token=page.cut([_key(place) for place in found])[1]
        )

    # ---- workers --------------------------------------------------------------------------------------

    async def list_workers(self, call: PlainCall) -> ListWorkersResponse:
        """The filter comes after the page is cut: a page may be short, and has a token all the same."""
        page, now = page_of(call.query), self._clock.now()
        async with self._up_to_date() as connection:
            found = await workers.list_workers(
                connection, _task_queue_id(call), now, _worker_after(page), page.wanted
            )
        _, token = page.cut([f"{worker.key.worker_group}/{worker.key.worker_id}" for worker in found])
        asked = call.query.get("quarantined")
        return ListWorkersResponse.trusted(
            workers=tuple(
                worker.to_entry(now)
                for worker in found[: page.limit]
                if asked is None or worker.quarantined(now) == (asked == "true")
            ),
            continuation_token=token,
        )

    async def get_worker(self, call: PlainCall) -> WorkerResponse:
        key, now = _worker_key(call), self._clock.now()
        async with self._up_to_date() as connection:
            queue = await workers.get_queue(connection, key.task_queue_id, now)
            worker = await workers.get(connection, key)
        if queue is None or worker is None or not worker.shown(now):
            raise worker_not_found(key)
        return worker.to_response()

    async def quarantine_worker(self, call: Call[QuarantineWorkerRequest]) -> WorkerResponse:
        key, body, client_id = _worker_key(call), call.body, call.permit.client_id
        await self._sightings.flush()
        worker = await self._database.write(
            lambda tx: operations.quarantine(tx, key, body.quarantine_until, body.quarantine_info, client_id)
        )
        return worker.to_response()

    async def declare_worker(self, call: Call[UpdateWorkerRequest]) -> WorkerResponse:
        key, expires = _worker_key(call), call.body.expires
        call.require(properties=list(call.payload))
        if _WORKER_TYPE.fullmatch(call.params["workerType"]) is None:
            raise InputError(f"No task queue can have a `workerType` but one of `{WORKER_TYPE_PATTERN}`.")
        await self._sightings.flush()
        worker = await self._database.write(lambda tx: operations.declare(tx, key, expires))
        return worker.to_response()

    # ---- parts ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _up_to_date(self) -> AsyncIterator[Connection]:
        """A connection for reading what this process, too, has seen."""
        await self._sightings.flush()
        async with self._database.read() as connection:
            yield connection


def _task_queue_id(call: Call[Any]) -> str:
    return f"{call.params['provisionerId']}/{call.params['workerType']}"


def _worker_key(call: Call[Any]) -> WorkerKey:
    return WorkerKey(_task_queue_id(call), call.params["workerGroup"], call.params["workerId"])


def _key(place: Place) -> str:
    return f"{place.order}/{place.task_id}"


def _place(page: Page) -> Place:
    """The place in a token of ours. Raises InputError for another one."""
    order, _, task_id = page.after.partition("/")
    if not page.after:
        return Place(-1, "")
    if not (order.isascii() and order.isdigit() and len(order) < 19 and task_id):
        raise _foreign_token()
    return Place(int(order), task_id)


def _worker_after(page: Page) -> tuple[str, str]:
    """Group and id in a token of ours. Raises InputError for another one."""
    worker_group, _, worker_id = page.after.partition("/")
    if page.after and not (worker_group and worker_id):
        raise _foreign_token()
    return worker_group, worker_id


def _foreign_token() -> InputError:
    return InputError("`continuationToken` is not one that this list has given out.")


async def _pending(connection: Connection, task_ids: list[str]) -> tuple[PendingTask, ...]:
    """Entries of tasks that wait, in this order; one that was claimed meanwhile is left out."""
    found = await tasks.get(connection, task_ids)
    defined = await tasks.definitions(connection, task_ids)
    waiting = (found[task_id] for task_id in task_ids if task_id in found and task_id in defined)
    return tuple(
        PendingTask.trusted(
            task_id=task.task_id,
            run_id=task.runs[-1].run_id,
            task=shown(defined[task.task_id], task),
            inserted=task.runs[-1].scheduled,
        )
        for task in waiting
        if task.state == "pending"
    )


async def _claimed(connection: Connection, task_ids: list[str]) -> tuple[ClaimedTask, ...]:
    """Entries of tasks that workers have, in this order; one that was resolved meanwhile is left out."""
    found = await tasks.get(connection, task_ids)
    defined = await tasks.definitions(connection, task_ids)
    running = (found[task_id] for task_id in task_ids if task_id in found and task_id in defined)
    return tuple(
        ClaimedTask.trusted(
            task_id=task.task_id,
            run_id=task.runs[-1].run_id,
            worker_group=task.runs[-1].worker_group,
            worker_id=task.runs[-1].worker_id,
            claimed=task.runs[-1].started,
            task=shown(defined[task.task_id], task),
        )
        for task in running
        if task.state == "running"
    )

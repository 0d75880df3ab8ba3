"""The handlers of the calls that find tasks, to list or to delete them (``seed-systems.md`` O-1, O-4)."""

from collections.abc import Sequence
from typing import Final

from queue_service.api.endpoint import Call
from queue_service.api.paging import page_of, token_of
from queue_service.core.errors import InputError, QueueError
from queue_service.core.task import Task
from queue_service.operations import deletion
from queue_service.operations.batching import Batcher
from queue_service.operations.deletion import Deletion
from queue_service.operations.tasks import allow, shown
from queue_service.store import search, tasks
from queue_service.store.database import Database
from queue_service.store.search import Order, Place
from schemas.queue import TaskStatusResponse
from schemas.search import (
    DeleteTasksRequest,
    DeleteTasksResponse,
    SearchTasksRequest,
    SearchTasksResponse,
    TaskFilter,
)
from schemas.task import TaskDefinitionAndStatus

MAX_DELETED: Final = 10_000
"""Tasks that one call deletes."""
CHUNK: Final = 500
"""Tasks deleted in one transaction."""
MAX_PAGES: Final = 40
"""Pages of rows that one call looks at."""


class SearchApi:
    """Handlers with what they need."""

    def __init__(self, database: Database) -> None:
        self._database = database
        lanes = 1 if database.is_sqlite else 2
        self._deletions = Batcher[Deletion, Task](self._run_deletions, lanes=lanes)

    async def close(self) -> None:
        """Finish the transactions under way."""
        await self._deletions.close()

    async def search_tasks(self, call: Call[SearchTasksRequest]) -> SearchTasksResponse:
        body, page, by = call.body, page_of(call.query), Order.of(call.body)
        call.require(taskQueueIds=_queues(body))
        async with self._database.read() as connection:
            found = await search.find(connection, body, _place(page.after, by), page.limit, by=by)
            current = await tasks.get(connection, found.task_ids)
            defined = await tasks.definitions(connection, found.task_ids)
        return SearchTasksResponse.trusted(
            tasks=tuple(
                TaskDefinitionAndStatus.trusted(
                    status=current[task_id].status(), task=shown(defined[task_id], current[task_id])
                )
                for task_id in found.task_ids
                if task_id in current and task_id in defined
            ),
            continuation_token=_token(found.rest, by),
        )

    async def delete_task(self, call: Call[None]) -> TaskStatusResponse:
        task = await self._deletions.submit(Deletion(call.params["taskId"], call.require_for))
        return TaskStatusResponse.trusted(status=task.status())

    async def delete_tasks(self, call: Call[DeleteTasksRequest]) -> DeleteTasksResponse:
        body, by = call.body, Order()
        call.require(taskQueueIds=_queues(body))
        place = _place(page_of(call.query).after, by)
        deleted = skipped = 0
        for _ in range(MAX_PAGES):
            async with self._database.read() as connection:
                found = await search.find(connection, body, place, min(CHUNK, MAX_DELETED - deleted), by=by)
            outcomes = await self._run_deletions([Deletion(task_id, allow) for task_id in found.task_ids])
            deleted += sum(isinstance(outcome, Task) for outcome in outcomes)
            skipped += sum(getattr(outcome, "code", "") == "RequestConflict" for outcome in outcomes)
            place = found.rest
            if place is None or deleted == MAX_DELETED:
                break
        return DeleteTasksResponse.trusted(
            deleted=deleted, skipped=skipped, continuation_token=_token(place, by)
        )

    async def _run_deletions(self, wanted: Sequence[Deletion]) -> list[Task | QueueError]:
        return await self._database.write(lambda tx: deletion.delete(tx, wanted)) if wanted else []


def _queues(asked: TaskFilter) -> tuple[str, ...]:
    """The task queues that the caller must have the scope for: all of them, unless the filter names some."""
    return asked.task_queue_ids or ("*",)


def _token(place: Place | None, by: Order) -> str | None:
    if place is None:
        return None
    return token_of(f"{place.since}/{place.task_id}" if by.by_time else place.task_id)


def _place(key: str, by: Order) -> Place | None:
    """Where a page begins. Raises InputError for a token of another order."""
    if not key:
        return None
    since, slash, task_id = key.partition("/")
    if by.by_time != bool(slash) or not (since.isdigit() if slash else True):
        raise InputError("`continuationToken` is not one that this service has given out for this order.")
    return Place(int(since), task_id) if slash else Place(0, key)

"""The queue's calls that find tasks by what is known of them, to list or to delete them.

Rules: ``seed-systems.md`` O-1, O-4, O-5. They are Taskbus' extension of the API.
"""

from collections.abc import AsyncIterator, Awaitable

from schemas.queue import TaskStatusResponse
from schemas.search import (
    DeleteTasksRequest,
    DeleteTasksResponse,
    SearchTasksRequest,
    SearchTasksResponse,
)
from schemas.task import TaskDefinitionAndStatus, TaskStatus
from taskbus.service import ServiceClient, pages


class SearchCalls(ServiceClient):
    """A filter says what must hold for a task, all of it: ``SearchTasksRequest(states=("failed",))``."""

    async def search_tasks(
        self, asked: SearchTasksRequest, *, page_size: int | None = None
    ) -> AsyncIterator[TaskDefinitionAndStatus]:
        """The tasks that fit, all pages of them."""

        def fetch(token: str | None) -> Awaitable[SearchTasksResponse]:
            return self.search_tasks_page(asked, limit=page_size, continuation_token=token)

        async for page in pages(fetch):
            for entry in page.tasks:
                yield entry

    async def search_tasks_page(
        self,
        asked: SearchTasksRequest,
        *,
        limit: int | None = None,
        continuation_token: str | None = None,
    ) -> SearchTasksResponse:
        """One page of at most ``limit`` (1 to 1000) tasks; it may be empty and have a token for the next."""
        query = {"limit": limit, "continuationToken": continuation_token}
        return await self._post(SearchTasksResponse, "tasks", "list", body=asked.to_json(), query=query)

    async def delete_task(self, task_id: str) -> TaskStatus:
        """Delete a task with its runs and artifacts; its last state.

        One that has not ended is cancelled first. Raises Conflict for a task that runs.
        """
        content = await self._call("DELETE", "task", task_id)
        return self._read(TaskStatusResponse, content).status

    async def delete_tasks(self, asked: DeleteTasksRequest) -> DeleteTasksResponse:
        """Delete the tasks that fit, or all; how many were deleted, and how many skipped as they run.

        The call is repeated until there are no more.
        """
        deleted = skipped = 0
        body = asked.to_json()

        def fetch(token: str | None) -> Awaitable[DeleteTasksResponse]:
            return self._post(
                DeleteTasksResponse, "tasks", "delete", body=body, query={"continuationToken": token}
            )

        async for page in pages(fetch):
            deleted, skipped = deleted + page.deleted, skipped + page.skipped
        return DeleteTasksResponse(deleted=deleted, skipped=skipped)

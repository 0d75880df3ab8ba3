"""The index's HTTP API as methods: tasks found by names that their creators chose."""

from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from datetime import datetime
from typing import Any

from schemas.artifacts import GetArtifactResponse
from schemas.index import (
    IndexedTaskResponse,
    InsertTaskRequest,
    ListNamespacesResponse,
    ListTasksAtIndexRequest,
    ListTasksResponse,
    Namespace,
)
from taskbus.artifacts import SEE_OTHER
from taskbus.service import ServiceClient, pages


class Index(ServiceClient):
    """A client of the index. An index path is words with dots between: ``project.build.main.latest``.

    A task with the route ``index.<path>`` is found at that path once it has completed.
    """

    service = "index"

    async def find_task(self, index_path: str) -> IndexedTaskResponse:
        """The task at a path. Raises NotFound."""
        return await self._get(IndexedTaskResponse, "task", index_path)

    async def find_tasks_at_index(self, index_paths: Iterable[str]) -> dict[str, IndexedTaskResponse]:
        """The tasks at many paths, by path; paths without a task are left out."""
        body = ListTasksAtIndexRequest(indexes=tuple(index_paths)).to_json()

        def fetch(token: str | None) -> Awaitable[ListTasksResponse]:
            query = {"continuationToken": token}
            return self._post(ListTasksResponse, "tasks", "indexes", body=body, query=query)

        return {task.namespace: task async for page in pages(fetch) for task in page.tasks}

    async def list_tasks(
        self, namespace: str = "", *, page_size: int | None = None
    ) -> AsyncIterator[IndexedTaskResponse]:
        """The tasks right in a namespace, not those further below."""

        def fetch(token: str | None) -> Awaitable[ListTasksResponse]:
            query = {"limit": page_size, "continuationToken": token}
            return self._get(ListTasksResponse, "tasks", namespace, query=query)

        async for page in pages(fetch):
            for task in page.tasks:
                yield task

    async def list_namespaces(
        self, namespace: str = "", *, page_size: int | None = None
    ) -> AsyncIterator[Namespace]:
        """The namespaces right in a namespace; at the root if none is named."""

        def fetch(token: str | None) -> Awaitable[ListNamespacesResponse]:
            query = {"limit": page_size, "continuationToken": token}
            return self._get(ListNamespacesResponse, "namespaces", namespace, query=query)

        async for page in pages(fetch):
            for found in page.namespaces:
                yield found

    async def insert_task(
        self,
        index_path: str,
        task_id: str,
        *,
        expires: datetime,
        rank: float = 0,
        data: Mapping[str, Any] | None = None,
    ) -> IndexedTaskResponse:
        """Let a task be found at a path, unless one of a higher rank is there; the answer is who is there."""
        body = InsertTaskRequest(task_id=task_id, rank=rank, data=dict(data or {}), expires=expires)
        return await self._put(IndexedTaskResponse, "task", index_path, body=body.to_json())

    async def delete_task(self, index_path: str) -> None:
        """Let no task be found at a path; nothing happens if there is none."""
        await self._call("DELETE", "task", index_path)

    async def find_artifact_from_task(self, index_path: str, name: str) -> GetArtifactResponse:
        """Where to get an artifact of the task at a path, of its latest run. Raises NotFound."""
        path = ("task", index_path, "artifacts", name)
        return self._read(GetArtifactResponse, await self._call("GET", *path, accept=[SEE_OTHER]))

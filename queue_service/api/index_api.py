"""The handlers of the index: tasks found by the paths that their creators chose."""

from collections.abc import Sequence
from dataclasses import replace

from queue_service.api.artifact_api import ArtifactApi
from queue_service.api.endpoint import Answer, Call
from queue_service.api.paging import page_of
from queue_service.clock import Clock
from queue_service.core.errors import ResourceNotFound
from queue_service.core.index import IndexedTask, NamespaceEntry, is_path, split
from queue_service.operations import index as operations
from queue_service.store import index
from queue_service.store.database import Database, Tx
from schemas.index import (
    IndexedTaskResponse,
    InsertTaskRequest,
    ListNamespacesResponse,
    ListTasksAtIndexRequest,
    ListTasksResponse,
    Namespace,
)


class IndexApi:
    """Handlers with what they need. A list of the root has no ``namespace`` in its URL."""

    def __init__(self, database: Database, clock: Clock, artifacts: ArtifactApi) -> None:
        self._database = database
        self._clock = clock
        self._artifacts = artifacts

    async def find_task(self, call: Call[None]) -> IndexedTaskResponse:
        return _response(await self._find(call.params["indexPath"]))

    async def find_tasks_at_index(self, call: Call[ListTasksAtIndexRequest]) -> ListTasksResponse:
        call.require(indexPaths=call.body.indexes)
        page = page_of(call.query)
        paths = [path for path in dict.fromkeys(call.body.indexes) if is_path(path)]
        async with self._database.read() as connection:
            found = await index.find(
                connection, paths, self._clock.now(), after=page.after, wanted=page.wanted
            )
        kept, token = page.cut([entry.path for entry in found])
        return _tasks(found[: len(kept)], token)

    async def list_tasks(self, call: Call[None]) -> ListTasksResponse:
        namespace = _authorized_namespace(call)
        page = page_of(call.query)
        async with self._database.read() as connection:
            found = await index.tasks_in(connection, namespace, self._clock.now(), page.after, page.wanted)
        kept, token = page.cut([entry.name for entry in found])
        return _tasks(found[: len(kept)], token)

    async def list_namespaces(self, call: Call[None]) -> ListNamespacesResponse:
        namespace = _authorized_namespace(call)
        page = page_of(call.query)
        async with self._database.read() as connection:
            found = await index.namespaces_in(
                connection, namespace, self._clock.now(), page.after, page.wanted
            )
        kept, token = page.cut([entry.name for entry in found])
        return ListNamespacesResponse.trusted(
            namespaces=tuple(_namespace(entry) for entry in found[: len(kept)]), continuation_token=token
        )

    async def insert_task(self, call: Call[InsertTaskRequest]) -> IndexedTaskResponse:
        path, body = call.params["namespace"], call.body
        entry = IndexedTask(*split(path), body.task_id, body.rank, body.data, body.expires)

        async def script(tx: Tx) -> IndexedTask:
            await operations.insert(tx, [entry])
            found = await index.find(tx.connection, [path], tx.now)
            return found[0] if found else entry

        return _response(await self._database.write(script))

    async def delete_task(self, call: Call[None]) -> None:
        path = call.params["namespace"]
        await self._database.write(lambda tx: index.remove(tx, path))

    async def find_artifact_from_task(self, call: Call[None]) -> Answer:
        """As getLatestArtifact of the task; a caller without the scope does not learn what is indexed."""
        call.require(names=[call.params["name"]])
        found = await self._find(call.params["indexPath"])
        return await self._artifacts.get_latest_artifact(
            replace(call, params={**call.params, "taskId": found.task_id})
        )

    async def _find(self, path: str) -> IndexedTask:
        async with self._database.read() as connection:
            found = await index.find(connection, [path], self._clock.now())
        if not found:
            raise ResourceNotFound(f"There is no indexed task at `{path}`.")
        return found[0]


def _authorized_namespace(call: Call[None]) -> str:
    """The namespace that is listed, which is empty for the root."""
    namespace = call.params.get("namespace", "")
    call.require(namespace=namespace)
    return namespace


def _response(entry: IndexedTask) -> IndexedTaskResponse:
    return IndexedTaskResponse.trusted(
        namespace=entry.path,
        task_id=entry.task_id,
        rank=entry.rank,
        data=entry.data,
        expires=entry.expires,
    )


def _tasks(found: Sequence[IndexedTask], token: str | None) -> ListTasksResponse:
    return ListTasksResponse.trusted(tasks=tuple(map(_response, found)), continuation_token=token)


def _namespace(entry: NamespaceEntry) -> Namespace:
    return Namespace.trusted(namespace=entry.path, name=entry.name, expires=entry.expires)

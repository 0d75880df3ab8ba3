"""The table of the index's endpoints: names, routes and scopes are those of the published clients."""

from typing import Final

from queue_service.api.endpoint import Endpoint
from queue_service.api.index_api import IndexApi
from schemas import index as shapes

_PAGED: Final = ("continuationToken", "limit")

INDEX_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="findTask",
        method="get",
        route="/task/<indexPath>",
        category="Index Service",
        title="Find the task at an index path",
        description="The task of the highest rank that was indexed at this path and has not expired.",
        handler=IndexApi.find_task,
        scopes="index:find-task:<indexPath>",
        output=shapes.IndexedTaskResponse,
    ),
    Endpoint(
        name="findTasksAtIndex",
        method="post",
        route="/tasks/indexes",
        category="Index Service",
        title="Find the tasks at many index paths",
        description="The tasks at these paths; a path without a task is left out of the answer.",
        handler=IndexApi.find_tasks_at_index,
        scopes={"AllOf": [{"each": "index:find-task:<indexPath>", "for": "indexPath", "in": "indexPaths"}]},
        deferred=True,
        query=_PAGED,
        input=shapes.ListTasksAtIndexRequest,
        output=shapes.ListTasksResponse,
        stability="experimental",
    ),
    Endpoint(
        name="listNamespaces",
        method="get",
        route="/namespaces/<namespace>",
        category="Index Service",
        title="List the namespaces in a namespace",
        description=(
            "The namespaces directly below this one, by name. Leave the namespace out of the URL for those "
            "at the root. A namespace outlives the last task in it by a day at most."
        ),
        handler=IndexApi.list_namespaces,
        scopes="index:list-namespaces:<namespace>",
        deferred=True,
        query=_PAGED,
        output=shapes.ListNamespacesResponse,
        optional="namespace",
    ),
    Endpoint(
        name="listTasks",
        method="get",
        route="/tasks/<namespace>",
        category="Index Service",
        title="List the tasks in a namespace",
        description=(
            "The tasks directly in this namespace, by name. It is meant for people who look around: a "
            "program knows the path that it wants."
        ),
        handler=IndexApi.list_tasks,
        scopes="index:list-tasks:<namespace>",
        deferred=True,
        query=_PAGED,
        output=shapes.ListTasksResponse,
        optional="namespace",
    ),
    Endpoint(
        name="insertTask",
        method="put",
        route="/task/<namespace>",
        category="Index Service",
        title="Put a task into the index",
        description=(
            "Indexes a task at this path. When a task of higher rank is there already it stays, and is the "
            "answer. Tasks with routes `index.<path>` are indexed by themselves when they complete."
        ),
        handler=IndexApi.insert_task,
        scopes="index:insert-task:<namespace>",
        input=shapes.InsertTaskRequest,
        output=shapes.IndexedTaskResponse,
    ),
    Endpoint(
        name="deleteTask",
        method="delete",
        route="/task/<namespace>",
        category="Index Service",
        title="Take a task out of the index",
        description=(
            "Forgets what is indexed at this path; the task itself is untouched, and so are the namespaces "
            "above. What had a lower rank does not come back."
        ),
        handler=IndexApi.delete_task,
        scopes="index:delete-task:<namespace>",
    ),
    Endpoint(
        name="findArtifactFromTask",
        method="get",
        route="/task/<indexPath>/artifacts/<name>",
        category="Index Service",
        title="Get an artifact of the task at an index path",
        description=(
            "Answers as `getLatestArtifact` of the queue does for the task that is indexed at this path. "
            "Another task may be there at the next call: for files that belong together, find the task first."
        ),
        handler=IndexApi.find_artifact_from_task,
        refuses=(410, 424),
        scopes={"AllOf": [{"each": "queue:get-artifact:<name>", "for": "name", "in": "names"}]},
        deferred=True,
        multi_segment="name",
        redirects=True,
    ),
)
"""Every endpoint of the index; the handlers are methods of :class:`IndexApi`."""

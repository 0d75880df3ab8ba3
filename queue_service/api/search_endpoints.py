"""The table of the calls that find tasks, to list or to delete them: our extension of the queue's API."""

from typing import Any, Final

from queue_service.api.endpoint import Endpoint
from queue_service.api.search_api import SearchApi
from schemas import search as shapes
from schemas.queue import TaskStatusResponse


def _of_queues(verb: str) -> dict[str, Any]:
    each = {"each": f"queue:{verb}-tasks:<taskQueueId>", "for": "taskQueueId", "in": "taskQueueIds"}
    return {"AllOf": [each]}


SEARCH_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="searchTasks",
        method="post",
        route="/tasks/list",
        category="Search",
        title="List tasks by what is known of them",
        description=(
            "Definition and status of the tasks for which everything in the body holds, by id or by the time "
            "at which they got into their state, in pages. Rows are looked at in that order, 5,000 for a "
            "page at most: a page may be short, or empty, while there is a token. Fastest are `taskIds`, and "
            "`states` in the order of time. The scope is asked for each task queue that the filter names, "
            "and for `*` when it names none."
        ),
        handler=SearchApi.search_tasks,
        scopes=_of_queues("list"),
        deferred=True,
        query=("continuationToken", "limit"),
        input=shapes.SearchTasksRequest,
        output=shapes.SearchTasksResponse,
        stability="experimental",
    ),
    Endpoint(
        name="deleteTask",
        method="delete",
        route="/task/<taskId>",
        category="Search",
        title="Delete a task",
        description=(
            "Forgets the task, its runs and its definition, and answers its last status; its artifacts are "
            "marked for deletion. A task that has not ended is cancelled first, so that its end is told; a "
            "running one is refused (`TaskRunning`)."
        ),
        handler=SearchApi.delete_task,
        scopes={
            "AnyOf": [
                "queue:delete-task:<schedulerId>/<taskGroupId>/<taskId>",
                "queue:delete-task-in-project:<projectId>",
            ]
        },
        deferred=True,
        output=TaskStatusResponse,
        stability="experimental",
    ),
    Endpoint(
        name="deleteTasks",
        method="post",
        route="/tasks/delete",
        category="Search",
        title="Delete tasks by what is known of them",
        description=(
            "Deletes the tasks that fit the filter, or every task with `all: true`, as deleteTask does; "
            "running ones are skipped and counted. At most 10,000 in a call; with the token of the answer "
            "another call goes on. They go in transactions of 500. The scope is asked for each task queue "
            "that the filter names, and for `*` when it names none."
        ),
        handler=SearchApi.delete_tasks,
        scopes=_of_queues("delete"),
        deferred=True,
        query=("continuationToken",),
        input=shapes.DeleteTasksRequest,
        output=shapes.DeleteTasksResponse,
        stability="experimental",
    ),
)
"""The endpoints that find tasks; the handlers are methods of :class:`SearchApi`."""

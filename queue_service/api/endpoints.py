"""The table of endpoints: one declaration each. Documentation and references are made from it."""

from typing import Any, Final

from queue_service.api.endpoint import Endpoint
from queue_service.api.queue import QueueApi
from schemas import attempts
from schemas import queue as shapes
from schemas.task import TaskDefinition

_PAGED: Final = ("continuationToken", "limit")


def _scheduler_scopes(verb: str) -> dict[str, Any]:
    return {
        "AnyOf": [
            f"queue:{verb}-task:<schedulerId>/<taskGroupId>/<taskId>",
            f"queue:{verb}-task-in-project:<projectId>",
            {"AllOf": [f"queue:{verb}-task", "assume:scheduler-id:<schedulerId>/<taskGroupId>"]},
        ]
    }


CREATE_TASK_SCOPES: Final[dict[str, Any]] = {
    "AllOf": [
        {"each": "<scope>", "for": "scope", "in": "scopes"},
        {"each": "queue:route:<route>", "for": "route", "in": "routes"},
        "queue:create-task:project:<projectId>",
        "queue:scheduler-id:<schedulerId>",
        {
            "AnyOf": [
                {
                    "each": "queue:create-task:<priority>:<provisionerId>/<workerType>",
                    "for": "priority",
                    "in": "priorities",
                }
            ]
        },
    ]
}


def _tasks() -> list[Endpoint]:
    return [
        Endpoint(
            name="createTask",
            method="put",
            route="/task/<taskId>",
            category="Tasks",
            title="Create a task",
            description=(
                "Creates the task and, unless it waits for dependencies, its first run, pending at once. "
                "The caller chooses the id, so that the call can be repeated: an equal definition "
                "answers as the first time, another one is refused."
            ),
            handler=QueueApi.create_task,
            scopes=CREATE_TASK_SCOPES,
            deferred=True,
            input=shapes.CreateTaskRequest,
            output=shapes.TaskStatusResponse,
        ),
        Endpoint(
            name="task",
            method="get",
            route="/task/<taskId>",
            category="Tasks",
            title="Get a task's definition",
            description="The definition with all defaults filled. Its priority is the current one.",
            handler=QueueApi.task,
            scopes="queue:get-task:<taskId>",
            output=TaskDefinition,
        ),
        Endpoint(
            name="tasks",
            method="post",
            route="/tasks",
            category="Tasks",
            title="Get many definitions",
            description="The definitions of those of the listed tasks that exist, in pages.",
            handler=QueueApi.tasks,
            scopes={"AllOf": [{"each": "queue:get-task:<taskId>", "for": "taskId", "in": "taskIds"}]},
            deferred=True,
            query=_PAGED,
            input=shapes.TasksRequest,
            output=shapes.TasksResponse,
            stability="experimental",
        ),
        Endpoint(
            name="status",
            method="get",
            route="/task/<taskId>/status",
            category="Tasks",
            title="Get a task's status",
            description="State, retries left and all runs of a task.",
            handler=QueueApi.status,
            scopes="queue:status:<taskId>",
            output=shapes.TaskStatusResponse,
        ),
        Endpoint(
            name="statuses",
            method="post",
            route="/tasks/status",
            category="Tasks",
            title="Get many statuses",
            description="The statuses of those of the listed tasks that exist, in pages.",
            handler=QueueApi.statuses,
            scopes={"AllOf": [{"each": "queue:status:<taskId>", "for": "taskId", "in": "taskIds"}]},
            deferred=True,
            query=_PAGED,
            input=shapes.TasksRequest,
            output=shapes.TasksStatusesResponse,
            stability="experimental",
        ),
        Endpoint(
            name="listDependentTasks",
            method="get",
            route="/task/<taskId>/dependents",
            category="Tasks",
            title="List the tasks that depend on a task",
            description="Every task that lists this one as a dependency, satisfied or not, by id.",
            handler=QueueApi.list_dependent_tasks,
            scopes="queue:list-dependent-tasks:<taskId>",
            query=_PAGED,
            output=shapes.ListDependentTasksResponse,
        ),
        Endpoint(
            name="scheduleTask",
            method="post",
            route="/task/<taskId>/schedule",
            category="Tasks",
            title="Schedule a task",
            description="Makes the first run pending, whatever the dependencies are; releases a held task.",
            handler=QueueApi.schedule_task,
            scopes=_scheduler_scopes("schedule"),
            deferred=True,
            output=shapes.TaskStatusResponse,
        ),
        Endpoint(
            name="rerunTask",
            method="post",
            route="/task/<taskId>/rerun",
            category="Tasks",
            title="Run a task again",
            description=(
                "Adds a pending run to a resolved task and restores its retries. A delayed run becomes "
                "available at once. A task that is pending or running is left alone; a task with 50 runs is "
                "refused."
            ),
            handler=QueueApi.rerun_task,
            scopes=_scheduler_scopes("rerun"),
            deferred=True,
            output=shapes.TaskStatusResponse,
        ),
        Endpoint(
            name="cancelTask",
            method="post",
            route="/task/<taskId>/cancel",
            category="Tasks",
            title="Cancel a task",
            description="Resolves the task as exception/canceled; a resolved task is left alone.",
            handler=QueueApi.cancel_task,
            scopes=_scheduler_scopes("cancel"),
            deferred=True,
            output=shapes.TaskStatusResponse,
        ),
        Endpoint(
            name="changeTaskPriority",
            method="post",
            route="/task/<taskId>/priority",
            category="Tasks",
            title="Change a task's priority",
            description="For a task that was never resolved; a waiting run keeps its age.",
            handler=QueueApi.change_task_priority,
            scopes={
                "AnyOf": [
                    "queue:change-task-priority:<taskId>",
                    "queue:change-task-priority-in-queue:<taskQueueId>",
                ]
            },
            deferred=True,
            input=shapes.ChangeTaskPriorityRequest,
            output=shapes.TaskStatusResponse,
            stability="experimental",
        ),
    ]


def _groups() -> list[Endpoint]:
    return [
        Endpoint(
            name="cancelTaskGroup",
            method="post",
            route="/task-group/<taskGroupId>/cancel",
            category="Tasks",
            title="Cancel a task group",
            description="Cancels every unresolved task of a sealed group.",
            handler=QueueApi.cancel_task_group,
            scopes="queue:cancel-task-group:<schedulerId>/<taskGroupId>",
            deferred=True,
            output=shapes.CancelTaskGroupResponse,
            stability="experimental",
        ),
        Endpoint(
            name="sealTaskGroup",
            method="post",
            route="/task-group/<taskGroupId>/seal",
            category="Task Groups",
            title="Seal a task group",
            description="No task can be added any more; existing tasks are not affected.",
            handler=QueueApi.seal_task_group,
            scopes="queue:seal-task-group:<schedulerId>/<taskGroupId>",
            deferred=True,
            output=shapes.TaskGroupResponse,
            stability="experimental",
        ),
        Endpoint(
            name="listTaskGroup",
            method="get",
            route="/task-group/<taskGroupId>/list",
            category="Task Groups",
            title="List the tasks of a group",
            description="Definition and status of every task of the group, by id, in pages.",
            handler=QueueApi.list_task_group,
            scopes="queue:list-task-group:<taskGroupId>",
            query=_PAGED,
            output=shapes.ListTaskGroupResponse,
        ),
        Endpoint(
            name="getTaskGroup",
            method="get",
            route="/task-group/<taskGroupId>",
            category="Task Groups",
            title="Get a task group",
            description="The group's scheduler, expiry and, once sealed, when it was sealed.",
            handler=QueueApi.get_task_group,
            scopes="queue:list-task-group:<taskGroupId>",
            output=shapes.TaskGroupResponse,
        ),
        Endpoint(
            name="changeTaskGroupPriority",
            method="post",
            route="/task-group/<taskGroupId>/priority",
            category="Task-Groups",
            title="Change the priority of a group's tasks",
            description="Applies to the tasks that were never resolved and whose deadline has not passed.",
            handler=QueueApi.change_task_group_priority,
            scopes="queue:change-task-group-priority:<schedulerId>/<taskGroupId>",
            deferred=True,
            input=shapes.ChangeTaskPriorityRequest,
            output=shapes.TaskGroupPriorityChangeResponse,
            stability="experimental",
        ),
    ]


def _work() -> list[Endpoint]:
    run = "/task/<taskId>/runs/<runId>"
    resolve = "queue:resolve-task:<taskId>/<runId>"
    return [
        Endpoint(
            name="claimWork",
            method="post",
            route="/claim-work/<taskQueueId>",
            category="Worker Interface",
            title="Claim work",
            description=(
                "Up to `tasks` pending runs of a task queue, the most urgent and oldest first. When there "
                "are none the call waits up to 20 s for one and then answers an empty list. Each run is "
                "held until `takenUntil` and comes with credentials for it."
            ),
            handler=QueueApi.claim_work,
            scopes={"AllOf": ["queue:claim-work:<taskQueueId>", "queue:worker-id:<workerGroup>/<workerId>"]},
            deferred=True,
            input=shapes.ClaimWorkRequest,
            output=shapes.ClaimWorkResponse,
            multi_segment="taskQueueId",
        ),
        Endpoint(
            name="claimTask",
            method="post",
            route=f"{run}/claim",
            category="Worker Interface",
            title="Claim one run",
            description="Takes the named run, if it is pending. Use claimWork in workers.",
            handler=QueueApi.claim_task,
            scopes={
                "AllOf": [
                    "queue:claim-task:<provisionerId>/<workerType>",
                    "queue:worker-id:<workerGroup>/<workerId>",
                ]
            },
            deferred=True,
            input=shapes.TaskClaimRequest,
            output=shapes.TaskClaimResponse,
            stability="deprecated",
        ),
        Endpoint(
            name="reclaimTask",
            method="post",
            route=f"{run}/reclaim",
            category="Worker Interface",
            title="Hold a run longer",
            description="Renews the claim of a running run: a new `takenUntil` and new credentials.",
            handler=QueueApi.reclaim_task,
            scopes="queue:reclaim-task:<taskId>/<runId>",
            output=shapes.TaskReclaimResponse,
        ),
        Endpoint(
            name="reportCompleted",
            method="post",
            route=f"{run}/completed",
            category="Worker Interface",
            title="Report a run completed",
            description=(
                "Resolves a running run as completed. Repeating the call is harmless. `output` of the body "
                "is kept as the result of the task."
            ),
            handler=QueueApi.report_completed,
            scopes=resolve,
            may_take=attempts.CompletionReport,
            output=shapes.TaskStatusResponse,
        ),
        Endpoint(
            name="reportFailed",
            method="post",
            route=f"{run}/failed",
            category="Worker Interface",
            title="Report a run failed",
            description=(
                "Resolves a running run as failed: it ran, and its result is bad. A task with attempts left "
                "(`maxAttempts`) is tried again by its `retryPolicy`, any other has failed. What the body "
                "tells of the error is kept with the attempt."
            ),
            handler=QueueApi.report_failed,
            scopes=resolve,
            may_take=attempts.FailureReport,
            output=shapes.TaskStatusResponse,
        ),
        Endpoint(
            name="reportException",
            method="post",
            route=f"{run}/exception",
            category="Worker Interface",
            title="Report that a run could not be done",
            description=(
                "Resolves a running run as exception. `worker-shutdown` and `intermittent-task` are "
                "retried while the task has retries left; the other reasons are final."
            ),
            handler=QueueApi.report_exception,
            scopes=resolve,
            input=shapes.TaskExceptionRequest,
            output=shapes.TaskStatusResponse,
        ),
    ]


QUEUE_ENDPOINTS: Final[tuple[Endpoint, ...]] = (*_tasks(), *_groups(), *_work())
"""The endpoints about tasks; the handlers are methods of :class:`QueueApi`."""

"""The table of the endpoints that control task queues: extensions of ours."""

from typing import Final

from queue_service.api.controls_api import ControlsApi
from queue_service.api.endpoint import Endpoint
from schemas import task_queues as shapes

_CATEGORY: Final = "Task Queue Control"
_NAMED: Final = "/task-queues/<taskQueues>"
_QUEUE: Final = "/task-queues/<taskQueueId>"

CONTROL_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="pauseTaskQueues",
        method="post",
        route=f"{_NAMED}/pause",
        category=_CATEGORY,
        title="Pause a task queue",
        description=(
            "From the answer on, no run of the task queue is handed out. Workers keep what they have, tasks "
            "can be created, and deadlines keep running. `*` stands for all present task queues. One that "
            "is paused keeps the time of its first pause."
        ),
        handler=ControlsApi.pause_task_queues,
        scopes="queue:pause-task-queue:<taskQueues>",
        output=shapes.TaskQueueStatesResponse,
        multi_segment="taskQueues",
        refuses=(404,),
    ),
    Endpoint(
        name="resumeTaskQueues",
        method="post",
        route=f"{_NAMED}/resume",
        category=_CATEGORY,
        title="Resume a task queue",
        description="Runs are handed out again. `*` stands for all present task queues.",
        handler=ControlsApi.resume_task_queues,
        scopes="queue:resume-task-queue:<taskQueues>",
        output=shapes.TaskQueueStatesResponse,
        multi_segment="taskQueues",
        refuses=(404,),
    ),
    Endpoint(
        name="taskQueueLoad",
        method="get",
        route=f"{_QUEUE}/load",
        category=_CATEGORY,
        title="See the load of a task queue",
        description=(
            "How many runs wait for a worker, how many for a time, how many workers have, and what holds "
            "the task queue back. One that nobody uses has none of all."
        ),
        handler=ControlsApi.task_queue_load,
        scopes={"AllOf": ["queue:pending-count:<taskQueueId>", "queue:claimed-count:<taskQueueId>"]},
        output=shapes.TaskQueueLoadResponse,
        multi_segment="taskQueueId",
    ),
    Endpoint(
        name="getTaskQueueLimits",
        method="get",
        route=f"{_QUEUE}/limits",
        category=_CATEGORY,
        title="Get the limits of a task queue",
        description="An empty object when it has none.",
        handler=ControlsApi.get_task_queue_limits,
        scopes="queue:get-task-queue:<taskQueueId>",
        output=shapes.TaskQueueLimits,
        multi_segment="taskQueueId",
    ),
    Endpoint(
        name="setTaskQueueLimits",
        method="put",
        route=f"{_QUEUE}/limits",
        category=_CATEGORY,
        title="Set the limits of a task queue",
        description=(
            "How many of its runs may be under way at once, how many may start in a time, and which part "
            "of the claims is served by age alone. They replace the ones before and hold for runs that wait "
            "already; what is running is left alone. The task queue is known from here on."
        ),
        handler=ControlsApi.set_task_queue_limits,
        scopes="queue:set-task-queue-limits:<taskQueueId>",
        input=shapes.TaskQueueLimits,
        output=shapes.TaskQueueLimits,
        multi_segment="taskQueueId",
    ),
    Endpoint(
        name="removeTaskQueueLimits",
        method="delete",
        route=f"{_QUEUE}/limits",
        category=_CATEGORY,
        title="Remove the limits of a task queue",
        description="Nothing happens when it has none.",
        handler=ControlsApi.remove_task_queue_limits,
        scopes="queue:set-task-queue-limits:<taskQueueId>",
        multi_segment="taskQueueId",
    ),
)
"""Every endpoint of category Task Queue Control; the handlers are methods of :class:`ControlsApi`."""

"""The table of the calls that do many things at once: our extension of the queue's API."""

from typing import Final

from queue_service.api.bulk_api import BulkApi
from queue_service.api.endpoint import Endpoint
from queue_service.api.endpoints import CREATE_TASK_SCOPES
from schemas import bulk as shapes
from schemas.queue import ClaimWorkResponse

MAX_VALUES: Final = 250_000
"""Members and items of a body: 250 for each task of the largest bulk."""

BULK_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="createTasks",
        method="post",
        route="/tasks/bulk",
        category="Bulk",
        title="Create many tasks",
        description=(
            "Creates 1 to 1,000 tasks in one transaction, all or none. All are checked before anything is "
            "written; a refusal names every task that is wrong, the first 50 of them with the reason. The "
            "answer tells for each task, in the order in which they were sent, whether it was created: "
            "false is a repeat, as of createTask. With `uniqueSkippedAsDuplicate` the task is unique, and "
            "`taskId` is the one that exists; of equal tasks in one bulk the first wins. With the mode "
            "`fast` the answer is a count, and any repeat or duplicate refuses the whole bulk. The scopes "
            "are those of createTask for each task."
        ),
        handler=BulkApi.create_tasks,
        scopes=CREATE_TASK_SCOPES,
        deferred=True,
        input=shapes.CreateTasksRequest,
        output=shapes.CreateTasksResponse,
        stability="experimental",
        refuses=(409,),
        max_values=MAX_VALUES,
    ),
    Endpoint(
        name="claimBulk",
        method="post",
        route="/claim-bulk/<taskQueueId>",
        category="Bulk",
        title="Claim many runs",
        description=(
            "As claimWork, up to 1,000 runs at a time. It does not wait when there are none, unless `wait` "
            "says how long: 20 s at most."
        ),
        handler=BulkApi.claim_bulk,
        scopes={"AllOf": ["queue:claim-work:<taskQueueId>", "queue:worker-id:<workerGroup>/<workerId>"]},
        deferred=True,
        input=shapes.ClaimBulkRequest,
        output=ClaimWorkResponse,
        stability="experimental",
        multi_segment="taskQueueId",
    ),
    Endpoint(
        name="reportRuns",
        method="post",
        route="/runs/report",
        category="Bulk",
        title="Report many runs",
        description=(
            "Reports 1 to 1,000 runs in one transaction, each as its single call does: `completed` with an "
            "`output`, `failed` with `error`, `trace`, `retry` and `retryAt`, `exception` with its `reason`, "
            "`snoozed` for a `delay`, and `cancelled` by the worker. One that is refused does not fail the "
            "others: the answer has the state of the task, or code and text of the refusal, for each report "
            "in the order in which they were sent. A run may be reported with the credentials of its claim, "
            "and with those of the worker that holds it."
        ),
        handler=BulkApi.report_runs,
        scopes={
            "AnyOf": [
                "queue:resolve-task:<taskId>/<runId>",
                {"AllOf": ["queue:claim-work:<taskQueueId>", "queue:worker-id:<workerGroup>/<workerId>"]},
            ]
        },
        deferred=True,
        input=shapes.ReportRunsRequest,
        output=shapes.ReportRunsResponse,
        stability="experimental",
    ),
)
"""The endpoints of bulks; the handlers are methods of :class:`BulkApi`."""

"""The table of endpoints about attempts, which Taskcluster does not have."""

from typing import Final

from queue_service.api.attempt_api import AttemptApi
from queue_service.api.endpoint import Endpoint
from schemas import attempts as shapes
from schemas.queue import TaskStatusResponse

_RUN: Final = "/task/<taskId>/runs/<runId>"
_RESOLVE: Final = "queue:resolve-task:<taskId>/<runId>"

ATTEMPT_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="snoozeRun",
        method="post",
        route=f"{_RUN}/snooze",
        category="Worker Interface",
        title="Put a run off",
        description=(
            "Gives a running run back, to be claimed again, under the same number, after `delay`. It is no "
            "failure, takes no retry and counts as no attempt."
        ),
        handler=AttemptApi.snooze_run,
        scopes=_RESOLVE,
        input=shapes.SnoozeRequest,
        output=TaskStatusResponse,
        stability="experimental",
    ),
    Endpoint(
        name="cancelRun",
        method="post",
        route=f"{_RUN}/cancel",
        category="Worker Interface",
        title="Cancel the task from its run",
        description=(
            "Resolves a running run, and its task, as exception/canceled, whatever attempts and retries "
            "remain. `error` and `trace` are kept with the attempt."
        ),
        handler=AttemptApi.cancel_run,
        scopes=_RESOLVE,
        input=shapes.CancelRunRequest,
        output=TaskStatusResponse,
        stability="experimental",
    ),
    Endpoint(
        name="taskAttempts",
        method="get",
        route="/task/<taskId>/attempts",
        category="Tasks",
        title="See how a task fared",
        description=(
            "Its attempts, the errors of those that failed, until when the next one is delayed, who worked "
            "on it, and its output."
        ),
        handler=AttemptApi.task_attempts,
        scopes="queue:get-task:<taskId>",
        output=shapes.AttemptsResponse,
        stability="experimental",
    ),
)
"""The handlers are methods of :class:`AttemptApi`."""

"""From the body of a createTask to the task that is to be created: its checks in the order of the wire.

Whoever creates tasks goes through here: the call itself, bulks, and features that create on behalf of others.
"""

from collections.abc import Callable
from datetime import datetime

from queue_service.core import definition as definitions
from queue_service.core.limits import Limits
from queue_service.operations.tasks import Creation
from schemas import tracing
from schemas.queue import CreateTaskRequest
from schemas.task import PRIORITIES


def creation_of(
    task_id: str,
    request: CreateTaskRequest,
    require: Callable[..., None],
    now: datetime,
    limits: Limits,
) -> Creation:
    """The task with every default filled (``queue-behaviour.md`` 3.1, 1 to 6).

    ``require`` asks the caller's scopes, given the parameters of createTask's scope expression. Raises
    InputError and InsufficientScopes.
    """
    definition = definitions.complete(task_id, request)
    definitions.check_dependency_count(request, limits)
    require(
        scopes=definition.scopes,
        routes=definition.routes,
        projectId=definition.project_id,
        schedulerId=definition.scheduler_id,
        priorities=PRIORITIES[: PRIORITIES.index(definition.priority) + 1],
        provisionerId=definition.provisioner_id,
        workerType=definition.worker_type,
    )
    definitions.check_times(definition, now, limits)
    definitions.check_scopes(definition)
    definitions.check_limits(definition)
    return Creation(task_id, definition, tracing.current())

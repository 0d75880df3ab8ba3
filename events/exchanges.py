"""The exchanges of all services: what is published where, under which routing key.

Rules: ``queue-behaviour.md`` 10. A feature declares its own in a module beside this one; all are listed in
:data:`EXCHANGES`.
"""

from typing import Final

from pydantic.alias_generators import to_snake

from events.declaration import ABSENT, KIND, MAX_KEY_BYTES, RESERVED, Exchange, Word
from events.hooks import HOOK_EXCHANGES
from events.jobs import JOB_EXCHANGES
from events.kv import KV_EXCHANGES
from events.task_queues import TASK_QUEUE_EXCHANGES
from events.triggers import TRIGGER_EXCHANGES
from events.user_events import EVENTS_EXCHANGES
from events.work import WORK_EXCHANGES
from schemas import messages
from schemas.messages import Message

__all__ = [
    "ABSENT",
    "AUTH_EXCHANGES",
    "EXCHANGES",
    "MAX_KEY_BYTES",
    "QUEUE_EXCHANGES",
    "Exchange",
    "Word",
    "exchange_for",
    "find_exchange",
]


def _task_words(*required: str) -> tuple[Word, ...]:
    """Key of a message about one task; run and worker come from the message, never from ``status``."""

    def of_message(name: str, summary: str, size: int) -> Word:
        return Word(name, summary, size, required=name in required, source=to_snake(name))

    def of_status(name: str, summary: str, size: int) -> Word:
        return Word(name, summary, size, source="status." + to_snake(name))

    return (
        KIND,
        of_status("taskId", "Id of the task.", 22),
        of_message("runId", "Number of the run the message is about.", 3),
        of_message("workerGroup", "Group of the worker that holds or held the run.", 38),
        of_message("workerId", "Id of the worker that holds or held the run.", 38),
        of_status("provisionerId", "First half of the task queue id.", 38),
        of_status("workerType", "Second half of the task queue id.", 38),
        of_status("schedulerId", "Scheduler that manages the task.", 38),
        of_status("taskGroupId", "Group the task belongs to.", 22),
        RESERVED,
    )


_GROUP_WORDS = (
    KIND,
    Word("taskGroupId", "Id of the task group.", 22, source="task_group_id"),
    Word("schedulerId", "Scheduler that manages the group.", 38, source="scheduler_id"),
    RESERVED,
)

_RUN = ("runId",)
_RUN_AND_WORKER = ("runId", "workerGroup", "workerId")
_QUEUE: Final = "exchange/taskcluster-queue/v1/"

QUEUE_EXCHANGES: Final[tuple[Exchange, ...]] = (
    Exchange(
        _QUEUE,
        "task-defined",
        messages.TaskDefinedMessage,
        _task_words(),
        "Task defined",
        "A task exists. It may still wait for its dependencies: the status is the one before scheduling, "
        "so it has no runs. Sent before any other message about the task.",
        routes=True,
    ),
    Exchange(
        _QUEUE,
        "task-pending",
        messages.TaskPendingMessage,
        _task_words(*_RUN),
        "Task pending",
        "A run waits for a worker: the task was scheduled, all it depends on was resolved, or an earlier "
        "run is tried again. Whoever provisions or wakes workers listens here.",
        routes=True,
    ),
    Exchange(
        _QUEUE,
        "task-running",
        messages.TaskRunningMessage,
        _task_words(*_RUN_AND_WORKER),
        "Task running",
        "A worker claimed the run and holds it until `takenUntil`. Renewing the claim sends nothing, so "
        "the worker may hold the run much longer than this message says.",
        routes=True,
    ),
    Exchange(
        _QUEUE,
        "artifact-created",
        messages.ArtifactCreatedMessage,
        _task_words(*_RUN_AND_WORKER),
        "Artifact created",
        "An artifact of a run can be fetched. Artifacts of storage type `s3` are not announced, since "
        "their upload happens out of the queue's sight.",
        routes=True,
    ),
    Exchange(
        _QUEUE,
        "task-completed",
        messages.TaskCompletedMessage,
        _task_words(*_RUN_AND_WORKER),
        "Task completed",
        "The run ended successfully, and with it the task. Tasks that depend on it become pending right "
        "after.",
        routes=True,
    ),
    Exchange(
        _QUEUE,
        "task-failed",
        messages.TaskFailedMessage,
        _task_words(),
        "Task failed",
        "The run ended, and its work was found wanting: a test failed, a compiler refused. The queue does "
        "not try again by itself.",
        routes=True,
    ),
    Exchange(
        _QUEUE,
        "task-exception",
        messages.TaskExceptionMessage,
        _task_words(),
        "Task exception",
        "The run ended for a reason outside its work: it was canceled, its deadline passed, the worker "
        "vanished, shut down or could not make sense of the payload. The run's `reasonResolved` tells "
        "which. If the task is tried again, `task-pending` with the next run follows. Worker words are set"
        " only if a worker had held the run.",
        routes=True,
    ),
    Exchange(
        _QUEUE,
        "task-group-resolved",
        messages.TaskGroupResolvedMessage,
        _GROUP_WORDS,
        "Task group resolved",
        "Every task of the group is resolved. A group that is not sealed can grow, and a task can be "
        "rerun, so the message may come more than once.",
    ),
    Exchange(
        _QUEUE,
        "task-group-sealed",
        messages.TaskGroupSealedMessage,
        _GROUP_WORDS,
        "Task group sealed",
        "No task can be added to the group any more. Sealing again repeats the message.",
    ),
    Exchange(
        _QUEUE,
        "task-priority-changed",
        messages.TaskPriorityChangedMessage,
        _task_words(),
        "Task priority changed",
        "One task got another priority. The message tells the old and the new one.",
        routes=True,
    ),
    Exchange(
        _QUEUE,
        "task-group-priority-changed",
        messages.TaskGroupPriorityChangedMessage,
        _GROUP_WORDS,
        "Task group priority changed",
        "The unresolved tasks of a group got another priority; `tasksAffected` counts them. There is no "
        "message for each of these tasks.",
    ),
)
"""The exchanges of the queue."""

_AUTH: Final = "exchange/taskcluster-auth/v1/"

AUTH_EXCHANGES: Final[tuple[Exchange, ...]] = (
    Exchange(
        _AUTH,
        "client-created",
        messages.ClientCreatedMessage,
        (RESERVED,),
        "Client created",
        "There is a new client.",
    ),
    Exchange(
        _AUTH,
        "client-updated",
        messages.ClientUpdatedMessage,
        (RESERVED,),
        "Client updated",
        "A client has other properties or another access token, or was enabled or disabled.",
    ),
    Exchange(
        _AUTH,
        "client-deleted",
        messages.ClientDeletedMessage,
        (RESERVED,),
        "Client deleted",
        "A client is no more: somebody deleted it, or it expired and was to be deleted then.",
    ),
    Exchange(
        _AUTH,
        "role-created",
        messages.RoleCreatedMessage,
        (RESERVED,),
        "Role created",
        "There is a new role.",
    ),
    Exchange(
        _AUTH,
        "role-updated",
        messages.RoleUpdatedMessage,
        (RESERVED,),
        "Role updated",
        "A role has other scopes or another description.",
    ),
    Exchange(
        _AUTH,
        "role-deleted",
        messages.RoleDeletedMessage,
        (RESERVED,),
        "Role deleted",
        "A role is no more.",
    ),
)
"""The exchanges of the auth service."""

EXCHANGES: Final[tuple[Exchange, ...]] = (
    *QUEUE_EXCHANGES,
    *AUTH_EXCHANGES,
    *TASK_QUEUE_EXCHANGES,
    *HOOK_EXCHANGES,
    *KV_EXCHANGES,
    *TRIGGER_EXCHANGES,
    *WORK_EXCHANGES,
    *EVENTS_EXCHANGES,
    *JOB_EXCHANGES,
)
"""The exchanges of all services."""

_BY_PAYLOAD: Final = {exchange.payload: exchange for exchange in EXCHANGES}
_BY_NAME: Final = {exchange.full_name: exchange for exchange in EXCHANGES}
if not len(_BY_PAYLOAD) == len(_BY_NAME) == len(EXCHANGES):
    raise ValueError("every exchange needs a name and a payload class of its own")


def exchange_for(payload: type[Message]) -> Exchange:
    """The exchange that carries messages of this class. Raises ValueError when there is none."""
    try:
        return _BY_PAYLOAD[payload]
    except KeyError:
        raise ValueError(f"no exchange is declared for {payload.__name__}") from None


def find_exchange(full_name: str) -> Exchange | None:
    """The declaration of the exchange with this name on the broker; None for a foreign exchange."""
    return _BY_NAME.get(full_name)

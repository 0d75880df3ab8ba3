"""Declarations of the exchanges: what is published where, under which routing key.

Rules: ``queue-behaviour.md`` 10. Bindings, keys, the reference and the documentation all follow from the
declarations below. Another service adds its own tuple of :class:`Exchange`, with its own prefix, and is
listed in :data:`EXCHANGES`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from pydantic.alias_generators import to_snake

from schemas import messages
from schemas.messages import Message

MAX_KEY_BYTES: Final = 255
"""A routing key is an AMQP short string."""

ABSENT: Final = "_"
"""The word of an optional value that a message does not have."""


@dataclass(frozen=True, slots=True)
class Word:
    """One entry of a routing key.

    ``source`` is the path of the value in the payload. An optional word whose source the payload does not
    have is always absent.
    """

    name: str
    summary: str
    max_size: int
    required: bool = True
    multiple_words: bool = False
    constant: str | None = None
    source: str = ""

    @property
    def parameter(self) -> str:
        """The name in Python: ``taskId`` is ``task_id``."""
        return to_snake(self.name)


@dataclass(frozen=True)
class Exchange:
    """A durable topic exchange that carries one kind of message.

    ``routes`` is the CC rule: whether a message is also routed as ``route.<route>`` for every route of its
    task. Raises ValueError when the longest possible routing key exceeds 255 bytes, or when a required word
    has no value in the payload.
    """

    prefix: str
    name: str
    payload: type[Message]
    words: tuple[Word, ...]
    title: str
    description: str
    routes: bool = False
    getters: tuple[Callable[[Message], object], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        longest = sum(word.max_size for word in self.words) + len(self.words) - 1
        if longest > MAX_KEY_BYTES:
            raise ValueError(
                f"{self.name}: a routing key may take {longest} bytes, the limit is {MAX_KEY_BYTES}"
            )
        for word in self.words[:-1]:
            if word.multiple_words:
                raise ValueError(f"{self.name}: only the last word may stand for several, not {word.name}")
        object.__setattr__(self, "getters", tuple(self._getter(word) for word in self.words))

    @property
    def full_name(self) -> str:
        """The name on the broker."""
        return self.prefix + self.name

    def word(self, parameter: str) -> Word:
        """The word with this Python name. Raises ValueError, naming the words there are."""
        for word in self.words:
            if word.parameter == parameter:
                return word
        known = ", ".join(word.parameter for word in self.words)
        raise ValueError(f"{parameter}: {self.name} has no such word; expected one of {known}")

    def _getter(self, word: Word) -> Callable[[Message], object]:
        constant = word.constant
        if constant is not None:
            return lambda payload: constant
        if word.source.partition(".")[0] in self.payload.model_fields:
            return attrgetter(word.source)
        if word.required:
            raise ValueError(f"{self.name}: {self.payload.__name__} has no {word.source!r} for {word.name}")
        return lambda payload: None


_KIND = Word("routingKeyKind", "Kind of the key, always `primary`.", 7, constant="primary")
_RESERVED = Word(
    "reserved", "Room for later words; match it with `#`.", 1, required=False, multiple_words=True
)


def _task_words(*required: str) -> tuple[Word, ...]:
    """Key of a message about one task; run and worker come from the message, never from ``status``."""

    def of_message(name: str, summary: str, size: int) -> Word:
        return Word(name, summary, size, required=name in required, source=to_snake(name))

    def of_status(name: str, summary: str, size: int) -> Word:
        return Word(name, summary, size, source="status." + to_snake(name))

    return (
        _KIND,
        of_status("taskId", "Id of the task.", 22),
        of_message("runId", "Number of the run the message is about.", 3),
        of_message("workerGroup", "Group of the worker that holds or held the run.", 38),
        of_message("workerId", "Id of the worker that holds or held the run.", 38),
        of_status("provisionerId", "First half of the task queue id.", 38),
        of_status("workerType", "Second half of the task queue id.", 38),
        of_status("schedulerId", "Scheduler that manages the task.", 38),
        of_status("taskGroupId", "Group the task belongs to.", 22),
        _RESERVED,
    )


_GROUP_WORDS = (
    _KIND,
    Word("taskGroupId", "Id of the task group.", 22, source="task_group_id"),
    Word("schedulerId", "Scheduler that manages the group.", 38, source="scheduler_id"),
    _RESERVED,
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
        (_RESERVED,),
        "Client created",
        "There is a new client.",
    ),
    Exchange(
        _AUTH,
        "client-updated",
        messages.ClientUpdatedMessage,
        (_RESERVED,),
        "Client updated",
        "A client has other properties or another access token, or was enabled or disabled.",
    ),
    Exchange(
        _AUTH,
        "client-deleted",
        messages.ClientDeletedMessage,
        (_RESERVED,),
        "Client deleted",
        "A client is no more: somebody deleted it, or it expired and was to be deleted then.",
    ),
    Exchange(
        _AUTH,
        "role-created",
        messages.RoleCreatedMessage,
        (_RESERVED,),
        "Role created",
        "There is a new role.",
    ),
    Exchange(
        _AUTH,
        "role-updated",
        messages.RoleUpdatedMessage,
        (_RESERVED,),
        "Role updated",
        "A role has other scopes or another description.",
    ),
    Exchange(
        _AUTH,
        "role-deleted",
        messages.RoleDeletedMessage,
        (_RESERVED,),
        "Role deleted",
        "A role is no more.",
    ),
)
"""The exchanges of the auth service."""

EXCHANGES: Final[tuple[Exchange, ...]] = (*QUEUE_EXCHANGES, *AUTH_EXCHANGES)
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

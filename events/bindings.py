"""What a queue wants to hear: one class per exchange, with the words of its routing key as typed filters.

``TaskCompleted(task_queue_id="prov/*")`` asks for the tasks of one provisioner,
``TaskCompleted.route("ci.#")`` for tasks with such a route, and ``bind("exchange/build/normalized", "#")``
for anything on any exchange. The words follow the declarations in ``events.exchanges``; a test compares
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar, cast

from events import keys
from events.exchanges import MAX_KEY_BYTES, Exchange, exchange_for
from events.keys import ANY_WORD, ANY_WORDS
from events.messages import ROUTE_PREFIX
from schemas import events, hooks, jobs, kv, messages, task_queues, triggers, work, worksets
from schemas.messages import Message

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)
P = TypeVar("P", bound=Message)


class Binding(Protocol[M_co]):
    """One binding of a queue to an exchange, whose events are of type ``M_co``."""

    @property
    def exchange(self) -> str:
        """Full name of the exchange."""

    @property
    def routing_key_pattern(self) -> str:
        """Topic pattern; ``*`` is one word, ``#`` any number of them."""

    @property
    def message_type(self) -> type[M_co] | None:
        """Class of the events; None for plain JSON values."""


@dataclass(frozen=True)
class PatternBinding(Generic[M]):
    """A binding with a pattern that was spelled out."""

    exchange: str
    routing_key_pattern: str
    message_type: type[M] | None = None


def bind(exchange: str, pattern: str = ANY_WORDS) -> Binding[Any]:
    """A binding to any exchange, by its full name.

    Its events are plain JSON values, unless the exchange is one of ours. Raises ValueError for a pattern that
    AMQP cannot carry.
    """
    if not exchange:
        raise ValueError(
            "exchange: expected the full name of an exchange; the default one cannot be bound to"
        )
    return PatternBinding(exchange, _checked("pattern", pattern))


def _checked(field: str, pattern: str) -> str:
    if len(pattern.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"{field}: expected at most {MAX_KEY_BYTES} bytes, got {pattern!r}")
    for word in pattern.split("."):
        if word not in (ANY_WORD, ANY_WORDS) and (ANY_WORD in word or ANY_WORDS in word):
            raise ValueError(
                f"{field}: * and # stand for whole words, they cannot be part of one: {pattern!r}"
            )
    return pattern


class _Declared(Generic[P]):
    """A binding to one of our exchanges; its fields are words of the routing key."""

    declared: ClassVar[Exchange]

    def __post_init__(self) -> None:
        keys.pattern(self.declared, **self._words())

    @property
    def exchange(self) -> str:
        return self.declared.full_name

    @property
    def routing_key_pattern(self) -> str:
        return keys.pattern(self.declared, **self._words())

    @property
    def message_type(self) -> type[P]:
        return cast(type[P], self.declared.payload)

    def _words(self) -> dict[str, str | int | None]:
        return dict(vars(self))


def _with_halves(words: dict[str, str | int | None]) -> dict[str, str | int | None]:
    """The words with ``task_queue_id`` taken apart."""
    queue = words.pop("task_queue_id")
    if queue is None:
        return words
    halves = str(queue).split("/")
    if len(halves) != 2:
        raise ValueError(f"task_queue_id: expected provisioner_id/worker_type, got {queue!r}")
    for name, half in zip(("provisioner_id", "worker_type"), halves, strict=True):
        if words[name] not in (None, half):
            raise ValueError(f"{name}: {words[name]!r} contradicts task_queue_id {queue!r}")
        words[name] = half
    return words


@dataclass(frozen=True, kw_only=True)
class TaskBinding(_Declared[P]):
    """Messages about tasks. A filter that is unset lets everything pass; ``"_"`` asks for an absent word.

    ``task_queue_id="prov/type"`` is short for ``provisioner_id="prov", worker_type="type"``; each half may be
    ``*``. Raises ValueError, naming the filter, for a value that no message can have.
    """

    task_id: str | None = None
    run_id: int | str | None = None
    worker_group: str | None = None
    worker_id: str | None = None
    provisioner_id: str | None = None
    worker_type: str | None = None
    task_queue_id: str | None = None
    scheduler_id: str | None = None
    task_group_id: str | None = None
    routing_key_kind: str | None = "primary"

    @classmethod
    def route(cls, route: str) -> Binding[P]:
        """Tasks that carry such a route in ``task.routes``; ``*`` is one word of it, ``#`` any number."""
        if not route:
            raise ValueError("route: expected a route such as 'index.project.*' or 'ci.#', got an empty text")
        pattern = _checked("route", ROUTE_PREFIX + route)
        return PatternBinding(cls.declared.full_name, pattern, cast(type[P], cls.declared.payload))

    def _words(self) -> dict[str, str | int | None]:
        return _with_halves(super()._words())


@dataclass(frozen=True, kw_only=True)
class GroupBinding(_Declared[P]):
    """Messages about task groups. A filter that is unset lets everything pass."""

    task_group_id: str | None = None
    scheduler_id: str | None = None
    routing_key_kind: str | None = "primary"


@dataclass(frozen=True, kw_only=True)
class AccessBinding(_Declared[P]):
    """Messages of services beside the queue. Their routing key says nothing to filter by."""


class TaskDefined(TaskBinding[messages.TaskDefinedMessage]):
    """A task exists."""

    declared = exchange_for(messages.TaskDefinedMessage)


class TaskPending(TaskBinding[messages.TaskPendingMessage]):
    """A run waits for a worker."""

    declared = exchange_for(messages.TaskPendingMessage)


class TaskRunning(TaskBinding[messages.TaskRunningMessage]):
    """A worker claimed a run."""

    declared = exchange_for(messages.TaskRunningMessage)


class ArtifactCreated(TaskBinding[messages.ArtifactCreatedMessage]):
    """An artifact of a run can be fetched."""

    declared = exchange_for(messages.ArtifactCreatedMessage)


class TaskCompleted(TaskBinding[messages.TaskCompletedMessage]):
    """A run, and its task, ended successfully."""

    declared = exchange_for(messages.TaskCompletedMessage)


class TaskFailed(TaskBinding[messages.TaskFailedMessage]):
    """A run ended, and its work was found wanting."""

    declared = exchange_for(messages.TaskFailedMessage)


class TaskException(TaskBinding[messages.TaskExceptionMessage]):
    """A run ended for a reason outside its work."""

    declared = exchange_for(messages.TaskExceptionMessage)


class TaskPriorityChanged(TaskBinding[messages.TaskPriorityChangedMessage]):
    """A task got another priority."""

    declared = exchange_for(messages.TaskPriorityChangedMessage)


class TaskGroupResolved(GroupBinding[messages.TaskGroupResolvedMessage]):
    """Every task of a group is resolved."""

    declared = exchange_for(messages.TaskGroupResolvedMessage)


class TaskGroupSealed(GroupBinding[messages.TaskGroupSealedMessage]):
    """No task can be added to a group any more."""

    declared = exchange_for(messages.TaskGroupSealedMessage)


class TaskGroupPriorityChanged(GroupBinding[messages.TaskGroupPriorityChangedMessage]):
    """The unresolved tasks of a group got another priority."""

    declared = exchange_for(messages.TaskGroupPriorityChangedMessage)


class ClientCreated(AccessBinding[messages.ClientCreatedMessage]):
    """There is a new client."""

    declared = exchange_for(messages.ClientCreatedMessage)


class ClientUpdated(AccessBinding[messages.ClientUpdatedMessage]):
    """A client was changed."""

    declared = exchange_for(messages.ClientUpdatedMessage)


class ClientDeleted(AccessBinding[messages.ClientDeletedMessage]):
    """A client is no more."""

    declared = exchange_for(messages.ClientDeletedMessage)


class RoleCreated(AccessBinding[messages.RoleCreatedMessage]):
    """There is a new role."""

    declared = exchange_for(messages.RoleCreatedMessage)


class RoleUpdated(AccessBinding[messages.RoleUpdatedMessage]):
    """A role was changed."""

    declared = exchange_for(messages.RoleUpdatedMessage)


class RoleDeleted(AccessBinding[messages.RoleDeletedMessage]):
    """A role is no more."""

    declared = exchange_for(messages.RoleDeletedMessage)


class HookCreated(AccessBinding[hooks.HookCreatedMessage]):
    """There is a new hook."""

    declared = exchange_for(hooks.HookCreatedMessage)


class HookUpdated(AccessBinding[hooks.HookUpdatedMessage]):
    """A hook was changed."""

    declared = exchange_for(hooks.HookUpdatedMessage)


class HookDeleted(AccessBinding[hooks.HookDeletedMessage]):
    """A hook is no more."""

    declared = exchange_for(hooks.HookDeletedMessage)


@dataclass(frozen=True, kw_only=True)
class TaskQueueBinding(_Declared[P]):
    """Messages about task queues; ``task_queue_id`` as in :class:`TaskBinding`."""

    provisioner_id: str | None = None
    worker_type: str | None = None
    task_queue_id: str | None = None
    routing_key_kind: str | None = "primary"

    def _words(self) -> dict[str, str | int | None]:
        return _with_halves(super()._words())


class QueuePaused(TaskQueueBinding[task_queues.QueuePausedMessage]):
    """A task queue hands out no work any more."""

    declared = exchange_for(task_queues.QueuePausedMessage)


class QueueResumed(TaskQueueBinding[task_queues.QueueResumedMessage]):
    """A paused task queue hands out work again."""

    declared = exchange_for(task_queues.QueueResumedMessage)


@dataclass(frozen=True, kw_only=True)
class AttachedWorkerBinding(_Declared[P]):
    """Messages about attached workers. A filter that is unset lets everything pass."""

    worker_group: str | None = None
    worker_id: str | None = None
    task_name: str | None = None
    routing_key_kind: str | None = "primary"


class WorkerAttached(AttachedWorkerBinding[work.WorkerAttachedMessage]):
    """A worker attached over a WebSocket."""

    declared = exchange_for(work.WorkerAttachedMessage)


class WorkerDetached(AttachedWorkerBinding[work.WorkerDetachedMessage]):
    """An attached worker is gone."""

    declared = exchange_for(work.WorkerDetachedMessage)


@dataclass(frozen=True, kw_only=True)
class JobBinding(_Declared[P]):
    """Messages about typed jobs. A filter that is unset lets everything pass."""

    job_id: str | None = None
    type: str | None = None
    state: str | None = None
    env_id: str | None = None
    task_group_id: str | None = None
    routing_key_kind: str | None = "primary"


class JobUpdated(JobBinding[jobs.JobUpdatedMessage]):
    """A step of a job changed, or its worker told how far it is."""

    declared = exchange_for(jobs.JobUpdatedMessage)


class JobResolved(JobBinding[jobs.JobResolvedMessage]):
    """A job has ended."""

    declared = exchange_for(jobs.JobResolvedMessage)


@dataclass(frozen=True, kw_only=True)
class NamespaceBinding(_Declared[P]):
    """Messages about namespaces of tenants. In ``namespace`` words may be ``*``, and the last ones ``#``."""

    tenant: str | None = None
    namespace: str | None = None
    routing_key_kind: str | None = "primary"


@dataclass(frozen=True, kw_only=True)
class KvChanged(NamespaceBinding[kv.KvChangedMessage]):
    """A value was put or deleted, or it expired."""

    declared = exchange_for(kv.KvChangedMessage)

    op: str | None = None


class WorksetMemberDead(NamespaceBinding[worksets.WorksetMemberDeadMessage]):
    """A member of a workset was delivered too often."""

    declared = exchange_for(worksets.WorksetMemberDeadMessage)


@dataclass(frozen=True, kw_only=True)
class UserMessage(_Declared[events.UserMessage]):
    """Somebody had something to tell; ``source`` is ``job`` or ``server``."""

    declared = exchange_for(events.UserMessage)

    source: str | None = None
    tag: str | None = None
    job_id: str | None = None
    routing_key_kind: str | None = "primary"
    message_kind: str | None = "user"


@dataclass(frozen=True, kw_only=True)
class TriggerBinding(_Declared[P]):
    """Messages about triggers. A filter that is unset lets everything pass."""

    group: str | None = None
    trigger_id: str | None = None
    routing_key_kind: str | None = "primary"


class TriggerBlocked(TriggerBinding[triggers.TriggerBlockedMessage]):
    """A range of time failed too often; the trigger waits for somebody who resumes it."""

    declared = exchange_for(triggers.TriggerBlockedMessage)


class TriggerExhausted(TriggerBinding[triggers.TriggerExhaustedMessage]):
    """A trigger has fired as often as its limit allows."""

    declared = exchange_for(triggers.TriggerExhaustedMessage)


class TriggerLoop(TriggerBinding[triggers.TriggerLoopMessage]):
    """Triggers have fired each other too often."""

    declared = exchange_for(triggers.TriggerLoopMessage)


AnyBinding = (
    type[TaskBinding[Any]]
    | type[GroupBinding[Any]]
    | type[AccessBinding[Any]]
    | type[AttachedWorkerBinding[Any]]
    | type[JobBinding[Any]]
    | type[NamespaceBinding[Any]]
    | type[TaskQueueBinding[Any]]
    | type[TriggerBinding[Any]]
    | type[UserMessage]
)

BINDINGS: Final[Mapping[str, AnyBinding]] = {
    binding.declared.name: binding
    for binding in (
        TaskDefined,
        TaskPending,
        TaskRunning,
        ArtifactCreated,
        TaskCompleted,
        TaskFailed,
        TaskException,
        TaskGroupResolved,
        TaskGroupSealed,
        TaskPriorityChanged,
        TaskGroupPriorityChanged,
        ClientCreated,
        ClientUpdated,
        ClientDeleted,
        RoleCreated,
        RoleUpdated,
        RoleDeleted,
        QueuePaused,
        QueueResumed,
        HookCreated,
        HookUpdated,
        HookDeleted,
        KvChanged,
        WorksetMemberDead,
        TriggerBlocked,
        TriggerExhausted,
        TriggerLoop,
        WorkerAttached,
        WorkerDetached,
        JobUpdated,
        JobResolved,
        UserMessage,
    )
}
"""The binding classes by the short names of their exchanges, such as ``task-completed``."""

"""The bus: every change of a task, a client or a role as a typed message on an AMQP exchange.

This is what a listener needs. The classes of the messages are in ``schemas.messages``.
"""

from events.bindings import (
    BINDINGS,
    ArtifactCreated,
    Binding,
    ClientCreated,
    ClientDeleted,
    ClientUpdated,
    HookCreated,
    HookDeleted,
    HookUpdated,
    KvChanged,
    RoleCreated,
    RoleDeleted,
    RoleUpdated,
    TaskCompleted,
    TaskDefined,
    TaskException,
    TaskFailed,
    TaskGroupPriorityChanged,
    TaskGroupResolved,
    TaskGroupSealed,
    TaskPending,
    TaskPriorityChanged,
    TaskRunning,
    WorksetMemberDead,
    bind,
)
from events.errors import BrokerUnavailable, EventsError, UndecodableMessage
from events.listener import Listener
from events.messages import Delivery

__all__ = [
    "BINDINGS",
    "ArtifactCreated",
    "Binding",
    "BrokerUnavailable",
    "ClientCreated",
    "ClientDeleted",
    "ClientUpdated",
    "Delivery",
    "EventsError",
    "HookCreated",
    "HookDeleted",
    "HookUpdated",
    "KvChanged",
    "Listener",
    "RoleCreated",
    "RoleDeleted",
    "RoleUpdated",
    "TaskCompleted",
    "TaskDefined",
    "TaskException",
    "TaskFailed",
    "TaskGroupPriorityChanged",
    "TaskGroupResolved",
    "TaskGroupSealed",
    "TaskPending",
    "TaskPriorityChanged",
    "TaskRunning",
    "UndecodableMessage",
    "WorksetMemberDead",
    "bind",
]

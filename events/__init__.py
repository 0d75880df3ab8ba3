"""The bus: every state change of a task as a typed message on an AMQP exchange.

This is what a listener needs. The classes of the messages are in ``schemas.messages``.
"""

from events.bindings import (
    BINDINGS,
    ArtifactCreated,
    Binding,
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
    "Delivery",
    "EventsError",
    "Listener",
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
    "bind",
]

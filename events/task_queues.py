"""The exchanges of task queues (``seed-systems.md`` Q-4). They are ours, not Taskcluster's."""

from typing import Final

from events.declaration import KIND, RESERVED, Exchange, Word
from schemas import task_queues

_QUEUE: Final = "exchange/taskbus-queue/v1/"
_WORDS: Final = (
    KIND,
    Word("provisionerId", "First half of the task queue id.", 38, source="provisioner_id"),
    Word("workerType", "Second half of the task queue id.", 38, source="worker_type"),
    RESERVED,
)

TASK_QUEUE_EXCHANGES: Final[tuple[Exchange, ...]] = (
    Exchange(
        _QUEUE,
        "queue-paused",
        task_queues.QueuePausedMessage,
        _WORDS,
        "Queue paused",
        "A task queue hands out no work any more. What its workers have they may finish, and deadlines "
        "keep running.",
    ),
    Exchange(
        _QUEUE,
        "queue-resumed",
        task_queues.QueueResumedMessage,
        _WORDS,
        "Queue resumed",
        "A paused task queue hands out work again.",
    ),
)
"""What is told of task queues."""

"""The exchanges of attached workers (``seed-systems.md`` A.12)."""

from typing import Final

from events.declaration import KIND, RESERVED, Exchange, Word
from schemas import work

_WORK: Final = "exchange/taskbus-work/v1/"
_WORDS: Final = (
    KIND,
    Word("workerGroup", "The gateway.", 38, source="worker_group"),
    Word("workerId", "The connection.", 38, source="worker_id"),
    Word("taskName", "The first name of work that it takes.", 38, source="task_name"),
    RESERVED,
)

WORK_EXCHANGES: Final[tuple[Exchange, ...]] = (
    Exchange(
        _WORK,
        "worker-attached",
        work.WorkerAttachedMessage,
        _WORDS,
        "Worker attached",
        "A worker attached over a WebSocket. Each connection is another worker, seen for the first time "
        "(`firstSeen`).",
    ),
    Exchange(
        _WORK,
        "worker-detached",
        work.WorkerDetachedMessage,
        _WORDS,
        "Worker detached",
        "A worker is gone; what it had goes to others. `reason` tells why, as far as is known.",
    ),
)
"""What is told of attached workers."""

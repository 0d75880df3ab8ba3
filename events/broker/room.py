"""How much one queue holds, and whether it takes more: one that nobody consumes must not fill the broker."""

import logging
from typing import Final

from events.broker.memory import ENTRY_BYTES
from events.broker.message import Message

logger = logging.getLogger(__name__)

_AGAIN: Final = 0.8
"""A queue that was full takes messages again below this share of its limit."""


class Room:
    """Counts what waits and what is not acknowledged, with what the broker needs to keep it."""

    def __init__(self, queue: str, limit: int) -> None:
        self.held = 0
        self._queue = queue
        self._limit = limit
        self._full = False

    def hold(self, message: Message) -> None:
        self.held += message.size + ENTRY_BYTES

    def release(self, message: Message) -> None:
        self.held -= message.size + ENTRY_BYTES
        if self._full and self.held <= self._limit * _AGAIN:
            self._full = False
            logger.info("the queue takes messages again", extra={"queue": self._queue})

    def lacks(self, message: Message) -> bool:
        """Would the queue hold more than any may?"""
        if not self._full and self.held + message.size + ENTRY_BYTES > self._limit:
            self._full = True
            logger.warning(
                "queue %s is full and refuses messages: consume, purge or delete it, or declare it with "
                "x-max-length",
                self._queue,
                extra={"queue": self._queue, "held_bytes": self.held, "limit_bytes": self._limit},
            )
        return self._full

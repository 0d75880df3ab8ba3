"""What blocks publishers: the bytes that queues hold together, and a journal that cannot be written."""

import logging
from collections.abc import Callable
from typing import Final

from events.broker.message import Message

logger = logging.getLogger(__name__)

_LOW: Final = 0.8
"""Publishers go on below this share of the limit: not at the limit itself, or they would stop and go
forever.
"""
ENTRY_BYTES: Final = 200
"""Measured bytes of a message's place in one queue."""


class Memory:
    """Counts each message once, however many queues hold it, and its place in each of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.assembling = 0
        """Bytes of bodies that came in part, on all connections."""
        self.journal_problem: str | None = None
        self._waiting: dict[Callable[[], None], None] = {}

    @property
    def problem(self) -> str | None:
        """Why publishers have to wait, if they have to."""
        if self.journal_problem is not None:
            return f"the journal cannot be written: {self.journal_problem}"
        return "low on memory: queues are full" if self.held > self.limit else None

    def hold(self, message: Message) -> None:
        """One more queue holds the message."""
        message.holders += 1
        self.held += ENTRY_BYTES
        if message.holders == 1:
            self.held += message.size

    def release(self, message: Message) -> None:
        """One queue fewer holds the message."""
        message.holders -= 1
        self.held -= ENTRY_BYTES
        if message.holders == 0:
            self.held -= message.size
        self._wake()

    def journal_state(self, problem: str | None) -> None:
        """The journal could be written, or could not and why."""
        if problem is not None and self.journal_problem is None:
            logger.error("the broker's journal cannot be written, publishers are blocked: %s", problem)
        self.journal_problem = problem
        self._wake()

    def _wake(self) -> None:
        if self._waiting and self.journal_problem is None and self.held <= self.limit * _LOW:
            waiting, self._waiting = self._waiting, {}
            logger.info("publishers go on", extra={"held_bytes": self.held, "limit_bytes": self.limit})
            for call in waiting:
                call()

    def when_free(self, call: Callable[[], None]) -> None:
        """Call back once, when enough has been released."""
        if not self._waiting and self.journal_problem is None:
            logger.warning(
                "the queues are full, publishers are blocked: consume or purge queues, or raise held_bytes",
                extra={"held_bytes": self.held, "limit_bytes": self.limit},
            )
        self._waiting[call] = None

    def forget(self, call: Callable[[], None]) -> None:
        self._waiting.pop(call, None)

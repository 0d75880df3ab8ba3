"""The bytes that queues hold together, and who waits until there are fewer."""

import logging
from collections.abc import Callable
from typing import Final

from events.broker.message import Message

logger = logging.getLogger(__name__)

_LOW: Final = 0.8
"""Publishers go on below this share of the limit: not at the limit itself, or they would stop and go
forever.
"""


class Memory:
    """Counts each message once, however many queues hold it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._waiting: dict[Callable[[], None], None] = {}

    @property
    def full(self) -> bool:
        return self.held > self.limit

    def hold(self, message: Message) -> None:
        """One more queue holds the message."""
        message.holders += 1
        if message.holders == 1:
            self.held += message.size

    def release(self, message: Message) -> None:
        """One queue fewer holds the message."""
        message.holders -= 1
        if message.holders == 0:
            self.held -= message.size
            if self._waiting and self.held <= self.limit * _LOW:
                waiting, self._waiting = self._waiting, {}
                logger.info("publishers go on", extra={"held_bytes": self.held, "limit_bytes": self.limit})
                for call in waiting:
                    call()

    def when_free(self, call: Callable[[], None]) -> None:
        """Call back once, when enough has been released."""
        if not self._waiting:
            logger.warning(
                "the queues are full, publishers are blocked: consume or purge queues, or raise held_bytes",
                extra={"held_bytes": self.held, "limit_bytes": self.limit},
            )
        self._waiting[call] = None

    def forget(self, call: Callable[[], None]) -> None:
        self._waiting.pop(call, None)

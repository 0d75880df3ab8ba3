"""The refusals of AMQP 0-9-1: a reply code with its reason, on the channel or on the whole connection."""

from enum import IntEnum
from typing import Final


class Reply(IntEnum):
    """Reply codes of the protocol, by the names RabbitMQ puts before the reason."""

    NO_ROUTE = 312
    CONNECTION_FORCED = 320
    ACCESS_REFUSED = 403
    NOT_FOUND = 404
    RESOURCE_LOCKED = 405
    PRECONDITION_FAILED = 406
    FRAME_ERROR = 501
    COMMAND_INVALID = 503
    CHANNEL_ERROR = 504
    UNEXPECTED_FRAME = 505
    RESOURCE_ERROR = 506
    NOT_ALLOWED = 530
    NOT_IMPLEMENTED = 540
    INTERNAL_ERROR = 541


CLOSES_CHANNEL_ONLY: Final = frozenset(
    {Reply.ACCESS_REFUSED, Reply.NOT_FOUND, Reply.RESOURCE_LOCKED, Reply.PRECONDITION_FAILED}
)


class AmqpError(Exception):
    """The broker refuses what a client asked; the code decides whether the channel or the connection
    closes.
    """

    def __init__(self, code: Reply, reason: str) -> None:
        super().__init__(f"{code.name} - {reason}")
        self.code = code

    @property
    def closes_connection(self) -> bool:
        return self.code not in CLOSES_CHANNEL_ONLY

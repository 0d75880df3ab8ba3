"""Bodies and messages of the events service: what users tell on the bus (``seed-systems.md`` D.6)."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, field_validator

from schemas.base import Document, Request, Text
from schemas.ids import Slugid, TaskId
from schemas.messages import Message
from schemas.times import Time

MAX_PAYLOAD: Final = 64 * 1024
"""Bytes of JSON."""
Level = Literal["info", "alert"]
Source = Literal["job", "server"]
Tag = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,37}$", strict=True),
    Field(description="a word that listeners filter by"),
]


class UserMessageRequest(Request):
    """A message to everybody who listens. ``message_id`` is a slugid; who repeats the call repeats it."""

    schema_name = "user-message-request"

    tag: Tag | None = None
    level: Level
    payload: Any
    message_id: Slugid | None = None

    @field_validator("payload")
    @classmethod
    def _something(cls, value: object) -> object:
        if value is None:
            raise ValueError("must be any JSON value but null")
        return value


class UserMessageResponse(Document):
    """The message was recorded and will be sent."""

    schema_name = "user-message-response"

    message_id: Slugid
    sent: Time


class UserMessage(Message):
    """What somebody wanted to be known.

    ``source`` is ``job`` for a message sent with the credentials of a claim, which tell the job and the run;
    else it is ``server``.
    """

    schema_name = "user-message"

    message_id: Slugid
    source: Source
    tag: Tag | None = None
    level: Level
    job_id: TaskId | None = None
    run_id: Annotated[int, Field(ge=0)] | None = None
    client_id: Text
    """Who sent it; empty where nobody needs credentials."""
    payload: Any
    sent: Time

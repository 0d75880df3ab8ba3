"""Messages of users: who they are from, and how they get onto the bus."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic_core import to_json

from queue_service.core.errors import InputTooLarge
from queue_service.store import outbox
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing
from schemas.events import MAX_PAYLOAD, UserMessage, UserMessageRequest
from schemas.ids import SLUGID_PATTERN

_CLAIM: Final = re.compile(rf"task-client/({SLUGID_PATTERN})/([0-9]+)/on/.+")


def message_of(request: UserMessageRequest, client_id: str, new_id: str, now: datetime) -> UserMessage:
    """The message as it is told. Raises InputTooLarge."""
    size = len(to_json(request.payload))
    if size > MAX_PAYLOAD:
        raise InputTooLarge(f"`payload` has {size} bytes of JSON and must have at most {MAX_PAYLOAD}.")
    claim = _CLAIM.fullmatch(client_id)
    return UserMessage.trusted(
        message_id=request.message_id or new_id,
        source="job" if claim else "server",
        tag=request.tag,
        level=request.level,
        job_id=claim[1] if claim else None,
        run_id=int(claim[2]) if claim else None,
        client_id=client_id,
        payload=request.payload,
        sent=now,
    )


async def send(tx: Tx, messages: Sequence[UserMessage]) -> list[None]:
    """Record messages for the bus; those of one client go out in this order."""
    await outbox.record(
        tx, [Outgoing(message, routes=(), order_keys=(f"user:{message.client_id}",)) for message in messages]
    )
    return [None] * len(messages)

"""The events service as methods: what happens, over HTTP, for programs without an account at the broker."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic_core import to_json

from events.bindings import Binding
from events.messages import decode
from schemas.events import UserMessageRequest, UserMessageResponse
from schemas.ids import slugid
from taskbus.errors import EventsMissed
from taskbus.service import ServiceClient
from taskbus.streaming import EventStream

PAIRS_AT_MOST = 100


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """An event with what is known of its message. ``id`` is where to resume after it."""

    event: Any
    """Of the class that its exchange declares, such as ``schemas.messages.TaskCompletedMessage``."""
    exchange: str
    routing_key: str
    cc: tuple[str, ...]
    message_id: str
    id: str


class Events(ServiceClient):
    """Listens to the bus over HTTP::

        async with Events() as events:
            async for found in events.listen(TaskCompleted(task_queue_id="prov/*"), TaskFailed()):
                print(found.event.status.task_id)

    The bindings are those of ``events.Listener``. A connection that is lost is made again, and no event is
    missed or given twice.
    """

    service: ClassVar[str] = "events"

    async def listen(
        self, *bindings: Binding[Any], last_id: str | None = None
    ) -> AsyncGenerator[StreamedEvent, None]:
        """The events that fit one of these bindings, from now on, or those after ``last_id``.

        Raises EventsMissed where the server does not keep all events after the last one any more, ValueError
        for too many bindings, and ApiError when it refuses.
        """
        if not 1 <= len(bindings) <= PAIRS_AT_MOST:
            raise ValueError(f"bindings: expected 1 to {PAIRS_AT_MOST}, got {len(bindings)}")
        query = [("exchange", one.exchange) for one in bindings]
        query += [("routingKey", one.routing_key_pattern) for one in bindings]
        stream = EventStream(
            self._transport,
            (*self._base, "stream"),
            query,
            sign=None if self._credentials is None else self._credentials.authorization,
            last_id=last_id,
        )
        async with aclosing(stream.events()) as received:
            async for one in received:
                if one.kind != "message":
                    if one.data.get("reset"):
                        raise EventsMissed(one.id)
                    continue
                data = one.data
                yield StreamedEvent(
                    event=decode(data["exchange"], to_json(data["payload"])),
                    exchange=data["exchange"],
                    routing_key=data["routingKey"],
                    cc=tuple(data["cc"]),
                    message_id=data["messageId"],
                    id=one.id,
                )

    async def send(
        self,
        payload: Any,
        *,
        level: Literal["info", "alert"] = "info",
        tag: str | None = None,
        message_id: str | None = None,
    ) -> UserMessageResponse:
        """Tell everybody who listens to ``UserMessage``: any JSON of 64 KiB or less, but not null.

        Raises pydantic.ValidationError for a tag that is none.
        """
        members: dict[str, Any] = {"payload": payload, "level": level, "message_id": message_id or slugid()}
        if tag is not None:
            members["tag"] = tag
        request = UserMessageRequest(**members)
        return await self._post(UserMessageResponse, "user", body=request.to_json())

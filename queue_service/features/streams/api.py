"""The handlers of the events service."""

from collections.abc import Callable, Sequence

from queue_service.api.endpoint import Call
from queue_service.api.streaming import Stream, last_event_id
from queue_service.clock import Clock
from queue_service.features.streams import user_messages
from queue_service.features.streams.filters import wanted
from queue_service.features.streams.tail import Tail
from queue_service.operations.batching import Batcher
from queue_service.store.database import Database
from schemas import events as shapes

NO_TAG = "_"


class EventsApi:
    """Handlers with what they need. ``new_id`` makes slugids."""

    def __init__(self, database: Database, clock: Clock, tail: Tail, new_id: Callable[[], str]) -> None:
        self._database = database
        self._clock = clock
        self._tail = tail
        self._new_id = new_id
        self._messages = Batcher[shapes.UserMessage, None](self._send)

    async def close(self) -> None:
        """Finish the transactions under way."""
        await self._messages.close()

    async def stream(self, call: Call[None]) -> Stream:
        bindings = wanted(call.lists.get("exchange", ()), call.lists.get("routingKey", ()))
        call.require(exchanges=sorted({one.exchange for one in bindings}))
        return await self._tail.open(bindings, last_event_id(call.headers, call.query), call.permit.expires)

    async def send(self, call: Call[shapes.UserMessageRequest]) -> shapes.UserMessageResponse:
        call.require(tag=call.body.tag or NO_TAG)
        message = user_messages.message_of(
            call.body, call.permit.client_id, self._new_id(), self._clock.now()
        )
        await self._messages.submit(message, weight=call.size)
        return shapes.UserMessageResponse.trusted(message_id=message.message_id, sent=message.sent)

    async def _send(self, messages: Sequence[shapes.UserMessage]) -> list[None]:
        return await self._database.write(lambda tx: user_messages.send(tx, messages))

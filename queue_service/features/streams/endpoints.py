"""The table of endpoints of events: the stream, and messages of users."""

from typing import Final

from queue_service.api.endpoint import Endpoint
from queue_service.features.streams.api import EventsApi
from schemas import events as shapes

_CATEGORY: Final = "Events"

EVENT_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="streamEvents",
        method="get",
        route="/stream",
        category=_CATEGORY,
        title="Stream events",
        description=(
            "The events of the bus as Server-Sent Events or, after an upgrade, over a WebSocket: those whose "
            "`exchange` and `routingKey` fit one of up to 100 pairs, as a queue bound with them would get. "
            "After a loss of the connection `Last-Event-ID`, or `lastEventId`, continues without a gap."
        ),
        handler=EventsApi.stream,
        scopes={"AllOf": [{"each": "events:listen:<exchange>", "for": "exchange", "in": "exchanges"}]},
        deferred=True,
        query=("lastEventId",),
        lists=("exchange", "routingKey"),
        streams=True,
    ),
    Endpoint(
        name="sendUserMessage",
        method="post",
        route="/user",
        category=_CATEGORY,
        title="Send a user message",
        description=(
            "Tells everybody who listens to `exchange/taskbus-events/v1/user-message`. With the credentials "
            "of a claim the message is about that task. It is recorded when this is answered, and is sent as "
            "soon as the broker is there."
        ),
        handler=EventsApi.send,
        scopes="events:send:<tag>",
        deferred=True,
        input=shapes.UserMessageRequest,
        output=shapes.UserMessageResponse,
    ),
)
"""The handlers are methods of :class:`EventsApi`."""

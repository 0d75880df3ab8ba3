"""The feature: the stream of events with the log behind it, and messages of users."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from queue_service.api.endpoint import Api, Section
from queue_service.api.monitoring import MONITORING
from queue_service.features.feature import Feature, Parts, Running
from queue_service.features.streams.api import EventsApi
from queue_service.features.streams.endpoints import EVENT_ENDPOINTS
from queue_service.features.streams.examples import EXAMPLES
from queue_service.features.streams.scribe import Scribe
from queue_service.features.streams.tail import Tail
from schemas.ids import slugid

EVENTS_API: Final = Api(
    "events",
    "Events",
    "What happens, as a stream over HTTP for whoever has no account at the broker; and messages of users.",
    [Section(EventsApi, EVENT_ENDPOINTS), MONITORING],
    examples=EXAMPLES,
)


@asynccontextmanager
async def _open(parts: Parts) -> AsyncIterator[Running]:
    settings = parts.settings
    kept = timedelta(seconds=settings.stream_kept_seconds)
    scribe = Scribe(parts.database, most=settings.stream_kept_events, oldest=kept)
    if parts.gate is None:
        yield Running(loops=scribe.every)
        return
    tail = Tail(parts.database, kept=kept, most_readers=settings.stream_max_readers)
    api = EventsApi(parts.database, parts.clock, tail, slugid)
    tail.start()
    try:
        yield Running(handlers=[api], loops=scribe.every, wind_down=tail.stop)
    finally:
        await tail.stop()
        await api.close()


STREAMS: Final = Feature("streams", _open, apis=[EVENTS_API])

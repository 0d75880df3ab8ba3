"""The feature: values by key and worksets, with their API, their loops and their sweep."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from queue_service.api.endpoint import Api, Section
from queue_service.api.monitoring import MONITORING
from queue_service.features.feature import Feature, Parts, Running
from queue_service.features.kv import lease_store
from queue_service.features.kv.api import KvApi
from queue_service.features.kv.endpoints import KV_ENDPOINTS, WORKSET_ENDPOINTS
from queue_service.features.kv.examples import EXAMPLES
from queue_service.features.kv.loops import KvLoops
from queue_service.features.kv.pop_desk import PopDesk
from queue_service.features.kv.workset_api import WorksetApi

KV_API: Final = Api(
    "kv",
    "KV",
    "Values by key with versions, and sets of work that consumers lease batches from.",
    # A namespace may have a segment `sets`, and a set may be called `keys`: the longer route is tried first.
    [Section(WorksetApi, WORKSET_ENDPOINTS), Section(KvApi, KV_ENDPOINTS), MONITORING],
    examples=EXAMPLES,
)


@asynccontextmanager
async def _open(parts: Parts) -> AsyncIterator[Running]:
    loops = KvLoops(parts.database)
    values = KvApi(parts.database, parts.clock)
    desk = PopDesk(parts.database, loops.deaths.nudge_at)
    members = WorksetApi(parts.database, parts.clock, desk)
    try:
        yield Running(handlers=(values, members), loops=loops.every)
    finally:
        await members.close()
        await values.close()


KV: Final = Feature("kv", _open, apis=(KV_API,), sweeps=(lease_store.delete_expired,))

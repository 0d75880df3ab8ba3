"""The handlers of purge-cache: workers ask which of their caches they must not use any more."""

from datetime import timedelta
from typing import Final

from queue_service.api.endpoint import Call
from queue_service.api.paging import page_of
from queue_service.clock import Clock
from queue_service.core.errors import InvalidRequestArguments
from queue_service.store import purge_cache
from queue_service.store.database import Database
from queue_service.store.purge_cache import PurgeEntry
from schemas.purge_cache import (
    AllPurgeCacheRequestList,
    PurgeCacheRequest,
    PurgeCacheRequestList,
    PurgeRequest,
)
from schemas.times import EPOCH, parse_time

LIFETIME: Final = timedelta(days=1)
"""How long workers are told of a request; one that slept longer must not keep its caches anyway."""


class PurgeCacheApi:
    """Handlers with what they need."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def purge_cache(self, call: Call[PurgeCacheRequest]) -> None:
        call.require(cacheName=call.body.cache_name)
        pool, cache = call.params["workerPoolId"], call.body.cache_name
        await self._database.write(lambda tx: purge_cache.insert(tx, pool, cache, expires=tx.now + LIFETIME))

    async def purge_requests(self, call: Call[None]) -> PurgeCacheRequestList:
        since = EPOCH
        if "since" in call.query:
            try:
                since = parse_time(call.query["since"])
            except ValueError as error:
                raise InvalidRequestArguments(f"`since` is `{call.query['since']}` and {error}.") from None
        async with self._database.read() as connection:
            found = await purge_cache.of_pool(
                connection, call.params["workerPoolId"], since=since, now=self._clock.now()
            )
        return PurgeCacheRequestList.trusted(requests=tuple(map(_request, found)))

    async def all_purge_requests(self, call: Call[None]) -> AllPurgeCacheRequestList:
        page = page_of(call.query)
        async with self._database.read() as connection:
            found = await purge_cache.every(
                connection, after=_place(page.after), wanted=page.wanted, now=self._clock.now()
            )
        kept, token = page.cut([f"{entry.worker_pool_id}/{entry.cache_name}" for entry in found])
        return AllPurgeCacheRequestList.trusted(
            requests=tuple(map(_request, found[: len(kept)])), continuation_token=token
        )


def _place(key: str) -> tuple[str, str]:
    """Worker pool and cache; the pool has one slash, the name of a cache may have many."""
    provisioner_id, _, rest = key.partition("/")
    worker_type, _, cache_name = rest.partition("/")
    return (f"{provisioner_id}/{worker_type}", cache_name) if key else ("", "")


def _request(entry: PurgeEntry) -> PurgeRequest:
    return PurgeRequest.trusted(
        worker_pool_id=entry.worker_pool_id, cache_name=entry.cache_name, before=entry.before
    )

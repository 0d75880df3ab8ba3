"""The purge-cache service's HTTP API as methods: which caches workers must not use any more."""

from collections.abc import AsyncIterator, Awaitable
from datetime import datetime

from schemas.purge_cache import (
    AllPurgeCacheRequestList,
    PurgeCacheRequest,
    PurgeCacheRequestList,
    PurgeRequest,
)
from schemas.times import format_time, parse_time
from taskbus.service import ServiceClient, pages


class PurgeCache(ServiceClient):
    """A client of purge-cache; a worker pool is a task queue, ``<provisionerId>/<workerType>``."""

    service = "purge-cache"

    async def purge_cache(self, worker_pool_id: str, cache_name: str) -> None:
        """Ask the workers of a pool not to use a cache that is there now."""
        body = PurgeCacheRequest(cache_name=cache_name).to_json()
        await self._call("POST", "purge-cache", worker_pool_id, body=body)

    async def purge_requests(
        self, worker_pool_id: str, *, since: datetime | None = None
    ) -> tuple[PurgeRequest, ...]:
        """What the workers of a pool must not use; with ``since`` only what was asked after that time."""
        query = {"since": None if since is None else format_time(parse_time(since))}
        return (await self._get(PurgeCacheRequestList, "purge-cache", worker_pool_id, query=query)).requests

    async def all_purge_requests(self, *, page_size: int | None = None) -> AsyncIterator[PurgeRequest]:
        """What was asked of the workers of any pool."""

        def fetch(token: str | None) -> Awaitable[AllPurgeCacheRequestList]:
            query = {"limit": page_size, "continuationToken": token}
            return self._get(AllPurgeCacheRequestList, "purge-cache", "list", query=query)

        async for page in pages(fetch):
            for request in page.requests:
                yield request

"""The table of purge-cache's endpoints: names, routes and scopes are those of the published clients."""

from typing import Final

from queue_service.api.endpoint import Endpoint
from queue_service.api.purge_cache_api import PurgeCacheApi
from schemas import purge_cache as shapes

PURGE_CACHE_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="allPurgeRequests",
        method="get",
        route="/purge-cache/list",
        category="Purge-Cache Service",
        title="List all open requests",
        description="The requests of every worker pool, for people who look around.",
        handler=PurgeCacheApi.all_purge_requests,
        scopes="purge-cache:all-purge-requests",
        query=("continuationToken", "limit"),
        output=shapes.AllPurgeCacheRequestList,
    ),
    Endpoint(
        name="purgeCache",
        method="post",
        route="/purge-cache/<workerPoolId>",
        category="Purge-Cache Service",
        title="Ask workers to purge a cache",
        description=(
            "Workers of this pool purge their caches of this name that are from now or earlier before they "
            "use them again. Repeating the call renews the request."
        ),
        handler=PurgeCacheApi.purge_cache,
        scopes="purge-cache:<workerPoolId>:<cacheName>",
        deferred=True,
        input=shapes.PurgeCacheRequest,
    ),
    Endpoint(
        name="purgeRequests",
        method="get",
        route="/purge-cache/<workerPoolId>",
        category="Purge-Cache Service",
        title="List the open requests of a worker pool",
        description="What a worker asks before it uses a cache; `since` leaves out what it has seen already.",
        handler=PurgeCacheApi.purge_requests,
        scopes="purge-cache:purge-requests:<workerPoolId>",
        query=("since",),
        output=shapes.PurgeCacheRequestList,
    ),
)
"""Every endpoint of purge-cache; the handlers are methods of :class:`PurgeCacheApi`."""

"""Request and response bodies of purge-cache: which caches workers must not use any more."""

from typing import Annotated

from pydantic import Field, StringConstraints

from schemas.base import Document, Request, Text
from schemas.ids import PRINTABLE_PATTERN, TaskQueueId
from schemas.times import Time

CacheName = Annotated[
    str, StringConstraints(pattern=f"^(?:{PRINTABLE_PATTERN})$", strict=True, min_length=1, max_length=255)
]


class PurgeCacheRequest(Request):
    """The cache to purge on every worker of a pool."""

    schema_name = "purge-cache-request"

    cache_name: CacheName


class PurgeRequest(Document):
    """A worker of the pool must not use a cache of this name that is from ``before`` or earlier."""

    worker_pool_id: Annotated[TaskQueueId, Field(description="<provisionerId>/<workerType>")]
    cache_name: Text
    before: Time


class PurgeCacheRequestList(Document):
    schema_name = "purge-cache-request-list"

    requests: tuple[PurgeRequest, ...]


class AllPurgeCacheRequestList(PurgeCacheRequestList):
    schema_name = "all-purge-cache-request-list"

    continuation_token: Text | None = None

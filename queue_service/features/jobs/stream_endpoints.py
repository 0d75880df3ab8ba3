"""The table of endpoints that stream what becomes of jobs (B.7)."""

from dataclasses import replace
from typing import Final

from queue_service.api.endpoint import Endpoint
from queue_service.features.jobs.stream_api import JobStreamsApi

_CATEGORY: Final = "Streams"

STREAM_JOB: Final = Endpoint(
    name="streamJob",
    method="get",
    route="/jobs/<jobId>/stream",
    category=_CATEGORY,
    title="Watch a job",
    description=(
        "Its events as Server-Sent Events or, after an upgrade, over a WebSocket, also at "
        "`/api/jobs/<jobId>/stream`: a `snapshot`, then `state`, `step`, `progress` and `log` as they "
        "happen, or those of them that `types` lists, and `end`. `Last-Event-ID` or `lastEventId` continues "
        "without a gap; after the `end` that is 204."
    ),
    handler=JobStreamsApi.stream_job,
    scopes="jobs:get:<jobId>",
    query=("lastEventId", "types"),
    streams=True,
)
STREAM_ENDPOINTS: Final = (
    STREAM_JOB,
    Endpoint(
        name="streamJobs",
        method="get",
        route="/stream",
        category=_CATEGORY,
        title="Watch all jobs",
        description=(
            "The `state` events of all jobs, or of those of a `type`, or in a `state`; for dashboards. After "
            "a resumption an event may come again: its `jobId` and `sequence` tell."
        ),
        handler=JobStreamsApi.stream_jobs,
        scopes="jobs:list",
        query=("lastEventId", "type", "state"),
        streams=True,
    ),
)
"""The handlers are methods of :class:`JobStreamsApi`."""
STREAM_ALIASES: Final = (replace(STREAM_JOB, route="/<jobId>/stream"),)
"""The same below ``/api/jobs``."""

"""Types of jobs that are at hand: three that the service itself works on, fourteen to be registered.

``taskbus job register FILE_ETL`` registers one of them as it stands here. Its work is that of its workers:
``examples/etl``, ``webapi_sync`` and ``upkeep`` have handlers for five; of the others this is the agreement.
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas.jobs import JobTypeDefinition

BUILT_IN_QUEUE: Final = "taskbus/builtin"
"""Where the service itself takes work."""

_TEXT: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 500}


def _type(
    description: str,
    params: str,
    *,
    queue: str = "",
    steps: tuple[str, ...] = (),
    always: tuple[str, ...] = (),
    properties: Mapping[str, Any] | None = None,
    **members: Any,
) -> JobTypeDefinition:
    """A type whose parameters are all required, texts unless ``properties`` says otherwise."""
    names = params.split()
    return JobTypeDefinition.model_validate(
        {
            "description": description,
            "paramsSchema": {
                "type": "object",
                "properties": {name: (properties or {}).get(name, _TEXT) for name in names},
                "required": names,
            },
            "taskQueueId": queue,
            "steps": [{"name": name, "always": name in always} for name in steps],
            **members,
        }
    )


_EVENT: Final[dict[str, Any]] = {"type": ["string", "object"]}
_TIER: Final[dict[str, Any]] = {"enum": ["auto", "review"]}
_IDS: Final[dict[str, Any]] = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 1000}

BUILT_IN: Final[Mapping[str, JobTypeDefinition]] = {
    "scheduler.tick": _type(
        "Runs every loop of the service once: what is due is done, what has expired is deleted.",
        "envId",
        queue=BUILT_IN_QUEUE,
        aliases=["DISPATCHER_PULSE"],
    ),
    "notify.send": _type(
        "Tells an event by a channel: `log`, `amqp`, or one of the service's settings.",
        "userId envId channel event",
        queue=BUILT_IN_QUEUE,
        properties={"event": _EVENT},
        aliases=["ALERT_NOTIFY"],
        defaults={"maxAttempts": 5},
    ),
    "notify.test": _type(
        "Tells by a channel that it works.",
        "userId envId channel",
        queue=BUILT_IN_QUEUE,
        aliases=["SENTINEL_TEST_NOTIFICATION"],
    ),
}
"""The service registers these and works on them."""

TO_REGISTER: Final[Mapping[str, JobTypeDefinition]] = {
    "FILE_ETL": _type(
        "Loads a file into an area.",
        "fileId areaId envId tenantId",
        queue="jobs/file-etl",
        steps=("Extract", "Transform", "Load"),
        resumable=True,
        defaults={"maxAttempts": 3},
    ),
    "WEBAPI_SYNC": _type(
        "Copies what a web API has into a stream, holding the stream's lock.",
        "streamId connectionId envId tenantId ingestionGateway firestoreGateway",
        queue="jobs/webapi-sync",
        steps=("Fetch", "Transform", "Load", "Release Lock"),
        always=("Release Lock",),
        defaults={"maxAttempts": 3},
    ),
    "WEBAPI_PURGE_DATA": _type(
        "Deletes the data of a stream; one job at a time for each.",
        "streamId envId tenantId",
        queue="jobs/webapi-purge-data",
        unique={"byArgs": True, "byState": ["unscheduled", "pending", "running"]},
    ),
    "WEBAPI_REBUILD_SCHEMA": _type(
        "Rebuilds the schema of a stream; one job at a time for each.",
        "streamId envId tenantId",
        queue="jobs/webapi-rebuild-schema",
        unique={"byArgs": True, "byState": ["unscheduled", "pending", "running"]},
    ),
    "MATVIEW_REFRESH": _type(
        "Refreshes a materialized view; one job at a time for each lock.",
        "viewId envId tenantId sqlGateway locksCollection lockId",
        queue="jobs/matview-refresh",
        concurrency={"limit": 1, "key": "{locksCollection}/{lockId}"},
    ),
    "TS_ROLLUP": _type("Rolls up a time series.", "physId envId sqlGateway", queue="jobs/ts-rollup"),
    "TS_PURGE": _type(
        "Deletes the old part of a time series.", "physId envId sqlGateway", queue="jobs/ts-purge"
    ),
    "MIGRATION_DRY_RUN": _type(
        "Tells what a migration would do; the output is the result.",
        "envId tenantId",
        queue="jobs/migration-dry-run",
    ),
    "REFRESH_LOGICAL_VIEWS": _type(
        "Refreshes the views of these tables, and tells how many are done.",
        "physicalIds envId sqlGateway",
        queue="jobs/refresh-logical-views",
        properties={"physicalIds": _IDS},
    ),
    "GENERATE_ETL_PLAN": _type(
        "Asks a model for a plan to load a file.", "fileId envId tenantId", queue="jobs/generate-etl-plan"
    ),
    "GENERATE_AREA_TRANSFORM_PLAN": _type(
        "Asks a model for a plan to transform an area.",
        "areaId envId tenantId",
        queue="jobs/generate-area-transform-plan",
    ),
    "GENERATE_AREA_CONSTELLATION_PLAN": _type(
        "Asks a model for a plan of an area's tables.",
        "areaId envId tenantId",
        queue="jobs/generate-area-constellation-plan",
    ),
    "GENERATE_WEBAPI_STREAM_PLAN": _type(
        "Asks a model for a plan of a web API's stream.",
        "streamId ownerStreamId envId tenantId",
        queue="jobs/generate-webapi-stream-plan",
    ),
    "DOCFORGE_REGENERATE_PAGE": _type(
        "Writes a page anew; with the tier `review` somebody has to look at it first.",
        "pageId tier",
        queue="jobs/docforge-regenerate-page",
        properties={"tier": _TIER},
    ),
}
"""Agreements between those who submit and those who work."""

CATALOGUE: Final[Mapping[str, JobTypeDefinition]] = {**BUILT_IN, **TO_REGISTER}
"""All of them by name."""

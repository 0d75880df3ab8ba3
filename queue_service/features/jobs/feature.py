"""Typed jobs as a feature of the service: its API, what follows the tasks of jobs, and its sweep."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from queue_service.api.bodies import Room
from queue_service.api.endpoint import Api, Section
from queue_service.api.monitoring import MONITORING
from queue_service.api.pipeline import Pipeline
from queue_service.features.feature import Feature, Parts, Running
from queue_service.features.jobs import store
from queue_service.features.jobs.api import JobsApi
from queue_service.features.jobs.built_in import BuiltIn
from queue_service.features.jobs.endpoints import ALIASES, JOB_ENDPOINTS, TYPE_ENDPOINTS
from queue_service.features.jobs.examples import EXAMPLES
from queue_service.features.jobs.notifying import Notifier
from queue_service.features.jobs.secrets import Secrets
from queue_service.features.jobs.stream import JobStreams
from queue_service.features.jobs.stream_api import JobStreamsApi
from queue_service.features.jobs.stream_endpoints import STREAM_ALIASES, STREAM_ENDPOINTS
from queue_service.features.jobs.stream_states import StateStreams
from queue_service.features.jobs.type_api import JobTypesApi
from queue_service.features.jobs.types import Types
from queue_service.features.jobs.witness import NAME, JobWitness
from schemas.ids import slugid

ALIAS: Final = "/api/jobs"
JOBS_API: Final = Api(
    "jobs",
    "Jobs",
    "Tasks with a registered type, checked parameters, steps and progress; also at `/api/jobs`.",
    [
        Section(JobsApi, JOB_ENDPOINTS),
        Section(JobStreamsApi, STREAM_ENDPOINTS),
        Section(JobTypesApi, TYPE_ENDPOINTS),
        MONITORING,
    ],
    examples=EXAMPLES,
)


@asynccontextmanager
async def _open(parts: Parts) -> AsyncIterator[Running]:
    database, clock, limits = parts.database, parts.clock, parts.settings.limits()
    notifier = Notifier(database, parts.settings.notify_channels)
    built_in = BuiltIn(database, limits, notifier, parts.background, slugid())
    if parts.amqp_url is not None:
        await built_in.register()
    if parts.gate is None:
        yield Running(loops=[built_in.loop])
        return
    jobs = JobsApi(database, clock, limits, Types(), Secrets(parts.settings))
    most = parts.settings.stream_max_readers
    streams = JobStreams(database, most_readers=most)
    states = StateStreams(database, most_readers=most)
    watched = JobStreamsApi(streams, states)
    alias = Pipeline(
        ALIAS,
        [Section(JobsApi, ALIASES), Section(JobStreamsApi, STREAM_ALIASES)],
        {JobsApi: jobs, JobStreamsApi: watched},
        clock,
        parts.gate,
        Room(),
    )
    streams.start()
    states.start()
    try:
        yield Running(
            handlers=[jobs, watched, JobTypesApi(database, clock)],
            paths={ALIAS: alias},
            wind_down=watched.stop,
            loops=[built_in.loop],
        )
    finally:
        await watched.stop()
        await jobs.close()


JOBS: Final = Feature(NAME, _open, apis=[JOBS_API], sweeps=[store.delete_expired], witness=JobWitness())

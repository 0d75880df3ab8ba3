"""The composition root: builds the parts of the service from its settings, starts and stops them in order."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Final

import structlog

from events.broker import Broker
from events.publisher import Publisher
from queue_service.access import Access, open_access
from queue_service.api.app import Application
from queue_service.api.artifact_api import ArtifactApi
from queue_service.api.attempt_api import AttemptApi
from queue_service.api.blobs import BlobTransfers
from queue_service.api.bulk_api import BulkApi
from queue_service.api.controls_api import ControlsApi
from queue_service.api.gate import AccessGate
from queue_service.api.health import Health
from queue_service.api.index_api import IndexApi
from queue_service.api.object_api import ObjectApi
from queue_service.api.purge_cache_api import PurgeCacheApi
from queue_service.api.queue import QueueApi
from queue_service.api.search_api import SearchApi
from queue_service.api.worker_api import WorkerApi
from queue_service.artifact_storage import open_blobs
from queue_service.auth.temporary import two_slugids
from queue_service.blobs.local import LocalBlobs
from queue_service.blobs.urls import PATH as BLOBS
from queue_service.catalogue import APIS, FEATURES
from queue_service.clock import Clock, SystemClock
from queue_service.features.feature import Parts, Running
from queue_service.loops.delay import LoopDelay
from queue_service.loops.loop import Loop
from queue_service.loops.outbox_alarm import Threshold
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.loops.schedule import Loops, idle
from queue_service.loops.worker_removal import WorkerRemoval
from queue_service.metrics import Watched
from queue_service.operations import clients as client_operations
from queue_service.operations import index as index_operations
from queue_service.operations.due import Sweep
from queue_service.operations.resolutions import Follower
from queue_service.settings import Settings
from queue_service.store import index, lanes, purge_cache, uniqueness
from queue_service.store.database import Database, open_database
from queue_service.store.migrations import runner
from queue_service.store.notifications import Notifications
from queue_service.store.signals import OutboxFilled, Signal
from queue_service.store.single_process import SingleProcess
from queue_service.store.witness import Witness

logger = structlog.get_logger(__name__)

GOODBYE_SECONDS: Final = 1.0
"""For AMQP programs to answer that the built-in broker closes."""
ROLES: Final = frozenset({"api", "loops"})
FOLLOWERS: Final[tuple[Follower, ...]] = (
    index_operations.follow,
    *(follower for feature in FEATURES for follower in feature.followers),
)
"""What the services beside the queue do when tasks have ended."""
SWEEPS: Final[tuple[Sweep, ...]] = (
    index.delete_expired,
    purge_cache.delete_expired,
    lanes.delete_full,
    uniqueness.let_go,
    client_operations.delete_expired,
    *(sweep for feature in FEATURES for sweep in feature.sweeps),
)
"""What they do with records that have expired."""
WITNESSES: Final[Mapping[str, Witness]] = {
    feature.name: feature.witness for feature in FEATURES if feature.witness is not None
}
"""Which features follow tasks."""


class SchemaOutdated(Exception):
    """The database has another schema than this program needs."""


class Service:
    """The service in this process: ``async with Service(settings) as service: … service.application``.

    ``roles``: ``api`` answers calls, ``loops`` runs the background work and the relay.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, roles: frozenset[str] = ROLES
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.roles = roles
        self.version = _version()
        self.name = f"{socket.gethostname()}-{os.getpid()}-{two_slugids()[:8]}"
        self.amqp_url = settings.amqp_url
        self._stack = AsyncExitStack()
        self.database: Database
        self.access: Access
        """Of a process that answers calls, as are ``api``, ``artifacts`` and ``application``."""
        self.api: QueueApi
        self.artifacts: ArtifactApi
        self.application: Application
        self.loops: Loops
        self.relay: OutboxRelay | None = None
        self.health: Health
        self._background: list[Loop] = []
        self._wind_downs: list[Callable[[], Awaitable[None]]] = []

    async def __aenter__(self) -> "Service":
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self.database = await self._open_database()
        secret = two_slugids()  # without calls nobody is given the URL of a blob
        if "api" in self.roles:
            self.access = await self._stack.enter_async_context(open_access(self.database, self.settings))
            secret = self.access.issuer.access_token
        self.blobs = open_blobs(self.settings, self.clock, secret.encode())
        self._stack.push_async_callback(self.blobs.close)
        self.loops = Loops(
            self.database, self.settings.limits(), self.blobs, followers=FOLLOWERS, sweeps=SWEEPS
        )
        if "api" in self.roles:
            self.api = self._open_queue()
        if "loops" in self.roles:
            await self._start_background()
            self._background.extend(self.loops.every)
        features = await self._open_features()
        self.health = self._open_health()
        if "api" in self.roles:
            self.application = await self._open_application(features)
        if not self.database.is_sqlite:
            notifications = Notifications(self.database, self.name)
            notifications.start()
            self._stack.push_async_callback(notifications.stop)

    def _open_queue(self) -> QueueApi:
        api = QueueApi(
            self.database,
            self.clock,
            self.settings.limits(),
            self.access.issuer,
            long_poll=self.settings.long_poll,
        )
        self._on_exit(api.close)
        return api

    async def _open_features(self) -> list[Running]:
        answers = "api" in self.roles
        parts = Parts(
            self.database,
            self.clock,
            self.settings,
            self.name,
            queue=self.api if answers else None,
            gate=self.access.gate if answers else None,
            amqp_url=self.amqp_url if "loops" in self.roles else None,
            background=self._background,
        )
        running = [await self._stack.enter_async_context(feature.open(parts)) for feature in FEATURES]
        self._wind_downs = [one.wind_down for one in running if one.wind_down is not None]
        if "loops" in self.roles:
            for loop in [loop for feature in running for loop in feature.loops]:
                loop.start()
                self._on_exit(loop.stop)
                self._background.append(loop)
        return running

    def _open_health(self) -> Health:
        relay = self.relay
        return Health(
            self.database,
            background=[*self._background, *([] if relay is None else [relay])],
            broker=None if relay is None else lambda: relay.connected,
            answers_calls="api" in self.roles,
        )

    async def wind_down(self) -> None:
        """Let go of who is connected, in order, before the connections are closed."""
        self.api.desk.close()
        ends = (wind_down() for wind_down in self._wind_downs)
        for outcome in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(outcome, Exception):  # the end goes on: connections are closed all the same
                logger.error("a part did not let go of its connections in order", exc_info=outcome)

    def watched(self) -> Watched:
        """The parts of this process that count what they do; starts to look at the event loop's delay."""
        delay = LoopDelay()
        delay.start()
        self._on_exit(delay.stop)
        watched = Watched(
            self.version,
            self.database,
            self.settings.limits(),
            delay,
            loops=self._background,
            relay=self.relay,
        )
        if "api" not in self.roles:
            return watched
        gate = self.access.gate
        return replace(
            watched,
            calls=self.application.calls,
            batches={**self.api.batches, **self.artifacts.batches},
            desk=self.api.desk,
            credentials=gate.known if isinstance(gate, AccessGate) else None,
        )

    async def _open_application(self, features: Sequence[Running]) -> Application:
        issuer, limits = self.access.issuer, self.settings.limits()
        paths = {path: answer for feature in features for path, answer in feature.paths.items()}
        if isinstance(self.blobs, LocalBlobs):
            paths[BLOBS] = BlobTransfers(self.blobs, self.clock)
            await self.blobs.sweep()
        artifacts = self.artifacts = ArtifactApi(self.database, self.clock, limits, issuer, self.blobs)
        self._on_exit(artifacts.close)
        workers = WorkerApi(self.database, self.clock, self.api.sightings)
        bulk = BulkApi(self.database, limits, self.api)
        self._on_exit(bulk.close)
        search = SearchApi(self.database)
        self._on_exit(search.close)
        handlers = (
            self.api,
            AttemptApi(self.database, self.api.report),
            artifacts,
            ObjectApi(self.database, self.clock, limits, self.blobs),
            workers,
            ControlsApi(self.database, self.clock, self.api.sightings),
            bulk,
            search,
            IndexApi(self.database, self.clock, artifacts),
            PurgeCacheApi(self.database, self.clock),
            self.access.api,
            *(handler for feature in features for handler in feature.handlers),
        )
        return Application(
            APIS, handlers, self.clock, self.access.gate, self.version, health=self.health, paths=paths
        )

    async def _open_database(self) -> Database:
        database = open_database(
            self.settings.database_url,
            self.clock,
            pool_size=self.settings.database_pool,
            synchronous=self.settings.sqlite_synchronous,
        )
        database.witnesses.update(WITNESSES)
        file = database.url.database
        if database.is_sqlite and file and file != ":memory:":
            self._stack.enter_context(SingleProcess(file))
        self._stack.push_async_callback(database.close)
        if database.is_sqlite:
            await runner.migrate(database)
        else:
            found, needed = await runner.current_revision(database), runner.newest_revision()
            if found != needed:
                raise SchemaOutdated(
                    f"the database has schema revision {found or 'none'}, and this program needs {needed}: "
                    "run `taskbus migrate` with the same settings"
                )
        return database

    async def _start_background(self) -> None:
        if built_in := not self.amqp_url:
            broker = Broker(
                self.settings.amqp_host,
                self.settings.amqp_port,
                journal=self.settings.amqp_journal_file,
                synchronous="FULL" if self.settings.sqlite_synchronous == "FULL" else "NORMAL",
            )
            await broker.start()
            self._stack.push_async_callback(_stop, broker)
            self.amqp_url = broker.url
        self.relay = OutboxRelay(
            self.database,
            Publisher(self.amqp_url),
            self.name,
            idle=idle(self.database, 1),
            lease=timedelta(seconds=self.settings.relay_lease),
            threshold=Threshold(
                self.settings.outbox_alert_depth, timedelta(seconds=self.settings.outbox_alert_age)
            ),
        )
        if built_in:
            await self.relay.connect()  # so that whoever binds when we say that we serve finds the exchanges
        self.database.subscribe(self._nudge_relay)
        self.database.subscribe(self.loops.on_signal)
        self.relay.start()
        self.loops.start()
        self._on_exit(self.relay.stop)
        if exchanges := self.settings.removal_exchanges:
            removal = WorkerRemoval(
                self.database,
                self.amqp_url,
                exchanges=exchanges,
                queue=self.settings.worker_removal_queue,
            )
            await removal.start()
            self._on_exit(removal.stop)
        self._on_exit(self.loops.stop)

    def _on_exit(self, stop: Callable[[], Awaitable[None]]) -> None:
        self._stack.push_async_callback(stop)

    def _nudge_relay(self, signal: Signal) -> None:
        if self.relay is not None and isinstance(signal, OutboxFilled):
            self.relay.nudge()


async def _stop(broker: Broker) -> None:
    """Programs that do not answer its goodbye, busy or stuck, do not hold up the end of the service."""
    try:
        async with asyncio.timeout(GOODBYE_SECONDS):
            await broker.stop()
    except TimeoutError:
        logger.info("AMQP programs are cut off: they did not answer", seconds=GOODBYE_SECONDS)


def _version() -> str:
    try:
        return version("taskbus")
    except PackageNotFoundError:
        return "unknown"

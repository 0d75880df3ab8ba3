"""The service's parts in this process, without a server, a broker or time that passes by itself."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from queue_service.api.apis import CORE_APIS
from queue_service.api.app import Application
from queue_service.api.artifact_api import ArtifactApi
from queue_service.api.attempt_api import AttemptApi
from queue_service.api.auth_api import AuthApi
from queue_service.api.bulk_api import BulkApi
from queue_service.api.controls_api import ControlsApi
from queue_service.api.directory import CachedDirectory
from queue_service.api.gate import AccessGate
from queue_service.api.index_api import IndexApi
from queue_service.api.object_api import ObjectApi
from queue_service.api.purge_cache_api import PurgeCacheApi
from queue_service.api.queue import QueueApi
from queue_service.api.search_api import SearchApi
from queue_service.api.worker_api import WorkerApi
from queue_service.auth.temporary import Issuer
from queue_service.core.access import Client
from queue_service.core.limits import Limits
from queue_service.loops.schedule import Loops
from queue_service.operations.claims import Claimed, WorkRequest
from queue_service.service import FOLLOWERS, SWEEPS, WITNESSES
from queue_service.store.database import open_database
from queue_service.store.vault import Vault
from schemas.ids import slugid
from tests.api.asgi import Line, Reply, request
from tests.api.contract import BASE, Told, contract
from tests.api.definitions import QUEUES, Kind, definition
from tests.api.manual_clock import ManualClock
from tests.api.permits import ScriptedPermit
from tests.memory_blobs import MemoryBlobs

ISSUER: Final = Issuer("static/taskbus/root", "vuOoBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA")
TABLES: Final = (
    "tasks", "task_definitions", "task_groups", "task_dependencies", "outbox",
    "artifacts", "objects", "blob_deletions", "task_queues", "workers", "attempt_errors", "task_outputs",
)  # fmt: skip
NOTHING: Final = object()
"""No body at all."""

Json = dict[str, Any]


class RunningQueue:
    """One queue service and its client. Every reply and every message is judged by the reference.

    ``static``: clients of its settings, by id. ``secured``: callers need credentials; else a permit of the
    test decides.
    """

    def __init__(
        self,
        url: str,
        clock: ManualClock,
        *,
        limits: Limits | None = None,
        long_poll: float = 0.05,
        static: Mapping[str, Client] | None = None,
        secured: bool = False,
    ) -> None:
        self.clock = clock
        self.limits = limits or Limits()
        self.permit = ScriptedPermit()
        self.database = open_database(url, clock, pool_size=5, synchronous="OFF")
        self.database.witnesses.update(WITNESSES)
        self.api = QueueApi(self.database, clock, self.limits, ISSUER, long_poll=long_poll)
        self.blobs = MemoryBlobs()
        self.artifacts = ArtifactApi(self.database, clock, self.limits, ISSUER, self.blobs)
        self.vault = Vault(b"the secret key of the tests")
        self.directory = CachedDirectory(self.database, self.vault, static or {})
        self.gate = AccessGate(self.database, self.directory)
        workers = WorkerApi(self.database, clock, self.api.sightings)
        self.bulk = BulkApi(self.database, self.limits, self.api)
        self.search = SearchApi(self.database)
        handlers = (
            self.api,
            AttemptApi(self.database, self.api.report),
            self.artifacts,
            ObjectApi(self.database, clock, self.limits, self.blobs),
            workers,
            ControlsApi(self.database, clock, self.api.sightings),
            self.bulk,
            self.search,
            IndexApi(self.database, clock, self.artifacts),
            PurgeCacheApi(self.database, clock),
            AuthApi(self.database, self.vault, self.directory, self.gate),
        )
        self.application = Application(
            CORE_APIS, handlers, clock, self.gate if secured else self.permit, "1.2.3"
        )
        self.loops = Loops(self.database, self.limits, self.blobs, followers=FOLLOWERS, sweeps=SWEEPS)
        self.claim_passes: asyncio.Queue[Sequence[Sequence[Claimed]]] = asyncio.Queue()
        """What each transaction of the work desk handed out."""
        self.api.desk._claim = self._watched(self.api.desk._claim)
        self._heard = 0

    async def close(self) -> None:
        """Judge what was not looked at, then let go of the database."""
        try:
            await self.api.close()
            await self.bulk.close()
            await self.search.close()
            await self.artifacts.close()
            await self.gate.close()
            await self.messages()
        finally:
            await self.database.close()

    # ---- calls ----------------------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        target: str,
        body: object = NOTHING,
        *,
        headers: Mapping[str, str] | None = None,
        line: Line | None = None,
        service: str = "queue",
    ) -> Reply:
        """One call below the base path of a service; ``body`` is sent as JSON."""
        pieces: Iterable[bytes] = ()
        if body is not NOTHING:
            pieces = [json.dumps(body).encode()]
            headers = {"Content-Type": "application/json", **(headers or {})}
        return await self.send(method, target, pieces, headers=headers, line=line, service=service)

    async def send(
        self,
        method: str,
        target: str,
        pieces: Iterable[bytes | None] = (),
        *,
        headers: Mapping[str, str] | None = None,
        line: Line | None = None,
        service: str = "queue",
    ) -> Reply:
        """One call with a body of these pieces, and no header but those given."""
        base = BASE.replace("queue", service)
        reply = await request(
            self.application, method, base + target, headers=headers, body=pieces, line=line
        )
        if service == "queue" and (judge := contract()) is not None:
            judge.check_reply(method, target, reply)
        return reply

    async def get(self, target: str) -> Json:
        """What a GET answers, which must succeed."""
        return _succeeded(await self.call("GET", target))

    async def post(self, target: str, body: object = NOTHING) -> Json:
        """What a POST answers, which must succeed."""
        return _succeeded(await self.call("POST", target, body))

    # ---- tasks ----------------------------------------------------------------------------------------

    def definition(self, kind: Kind = "build", **members: Any) -> Json:
        return definition(self.clock.now(), kind, **members)

    async def create(self, kind: Kind = "build", *, task_id: str = "", **members: Any) -> str:
        """Create a task, which must succeed; its id."""
        task_id = task_id or slugid()
        _succeeded(await self.call("PUT", f"/task/{task_id}", self.definition(kind, **members)))
        return task_id

    async def claim(self, kind: Kind = "build", *, tasks: int = 1, worker: str = "worker-1") -> list[Json]:
        """What claimWork hands out at the task queue of this kind."""
        body = {"workerGroup": "eu-central", "workerId": worker, "tasks": tasks}
        return list((await self.post(f"/claim-work/{QUEUES[kind]}", body))["tasks"])

    async def nothing_pending(self, kind: Kind = "build") -> bool:
        """Whether nothing waits at the task queue of this kind; claims nothing."""
        async with self.database.read() as connection:
            pending = await connection.execute(
                text("SELECT task_id FROM tasks WHERE state = 'pending' AND task_queue_id = :queue"),
                {"queue": QUEUES[kind]},
            )
            return pending.first() is None

    async def claimed(self, kind: Kind = "build", *, task_id: str = "", **members: Any) -> str:
        """Create a task and claim its run 0; its id."""
        task_id = await self.create(kind, task_id=task_id, **members)
        (claim,) = await self.claim(kind)
        assert (claim["status"]["taskId"], claim["runId"]) == (task_id, 0)
        return task_id

    async def completed(self, kind: Kind = "build", **members: Any) -> str:
        """Create, claim and complete a task; its id."""
        task_id = await self.claimed(kind, **members)
        await self.post(f"/task/{task_id}/runs/0/completed")
        return task_id

    async def status(self, task_id: str) -> Json:
        return dict((await self.get(f"/task/{task_id}/status"))["status"])

    async def run(self, task_id: str, run_id: int = -1) -> Json:
        return dict((await self.status(task_id))["runs"][run_id])

    # ---- what happens without a caller ----------------------------------------------------------------

    async def settle(self) -> None:
        """Work off everything that followed from tasks that ended."""
        while await self.loops.resolutions.run_once():
            pass

    async def sweep(self) -> None:
        """End what is past its deadline; delete what has expired long enough ago, and bytes of no record."""
        while await self.loops.deadlines.run_once():
            pass
        await self.messages()
        while await self.loops.expiry.run_once():
            pass
        while await self.loops.blobs.run_once():
            pass

    # ---- what was told --------------------------------------------------------------------------------

    async def messages(self) -> list[Told]:
        """The messages recorded since the last look, judged."""
        async with self.database.read() as connection:
            rows = (
                await connection.execute(
                    text("SELECT * FROM outbox WHERE id > :heard ORDER BY id"), {"heard": self._heard}
                )
            ).all()
            told = [
                Told(
                    row.exchange.removeprefix("exchange/taskcluster-queue/v1/"),
                    row.routing_key,
                    tuple(json.loads(row.cc)),
                    json.loads(row.body),
                )
                for row in rows
            ]
            definitions = {
                row.task_id: json.loads(row.definition)
                for row in await connection.execute(text("SELECT * FROM task_definitions"))
            }
        self._heard = rows[-1].id if rows else self._heard
        if (judge := contract()) is not None:
            for message in told:
                if message.exchange.startswith("exchange/"):
                    continue  # of another service than the queue
                task = definitions.get(message.body.get("status", {}).get("taskId"), {})
                judge.check_message(message, routes=tuple(task.get("routes", ())), tags=task.get("tags"))
        return told

    async def events(self) -> list[tuple[str, int | None]]:
        """Exchange and run of the messages recorded since the last look."""
        return [message.event for message in await self.messages()]

    async def stored(self) -> dict[str, int]:
        """How many rows each table has."""
        async with self.database.read() as connection:
            return {
                table: int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())
                for table in TABLES
            }

    @staticmethod
    def loop_time() -> float:
        """Seconds by the event loop's clock, which no test moves."""
        return asyncio.get_running_loop().time()

    # ---- parts ----------------------------------------------------------------------------------------

    def _watched(
        self, claim: Callable[[Sequence[WorkRequest]], Awaitable[list[list[Claimed]]]]
    ) -> Callable[[Sequence[WorkRequest]], Awaitable[list[list[Claimed]]]]:
        async def watched(requests: Sequence[WorkRequest]) -> list[list[Claimed]]:
            outcomes = await claim(requests)
            self.claim_passes.put_nowait(outcomes)
            return outcomes

        return watched


def at(text_: str) -> datetime:
    """The time in a reply."""
    return datetime.fromisoformat(text_)


def _succeeded(reply: Reply) -> Json:
    assert reply.status == 200, f"{reply.status} {reply.body.decode()}"
    return dict(reply.json())

"""The KV service in this process and its caller; every reply is judged by the shape its endpoint declares."""

import json
from contextlib import AsyncExitStack
from typing import Any, Final, Self

from jsonschema import Draft202012Validator
from sqlalchemy import text

from events.messages import decode
from queue_service.api.app import Application
from queue_service.api.permit import Gate
from queue_service.api.routing import Router
from queue_service.features.feature import Parts, Running
from queue_service.features.kv.feature import KV, KV_API
from queue_service.settings import Settings
from queue_service.store.database import Database
from schemas.base import Wire
from schemas.export import json_schema
from tests.api.asgi import Line, Reply, request
from tests.api.manual_clock import ManualClock
from tests.api.permits import ScriptedPermit

Json = dict[str, Any]

NAMESPACE: Final = "/acme/deployments"
NOTHING: Final = object()
TABLES: Final = ("kv_entries", "worksets", "workset_members", "workset_leases", "outbox")
_ROUTES: Final = Router(endpoint for section in KV_API.sections for endpoint in section.endpoints)


class RunningKv:
    """One process of the service: ``async with RunningKv(database, clock) as kv``."""

    def __init__(self, database: Database, clock: ManualClock, gate: Gate | None = None) -> None:
        self.database = database
        self.clock = clock
        self.permit = ScriptedPermit()
        self._gate: Any = gate or self.permit
        self._stack = AsyncExitStack()
        self._heard = 0
        self.running: Running
        self._application: Application

    async def __aenter__(self) -> Self:
        parts = Parts(self.database, self.clock, Settings(), "test", None, self._gate, None)
        self.running = await self._stack.enter_async_context(KV.open(parts))
        self._application = Application([KV_API], self.running.handlers, self.clock, self._gate, "1.2.3")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def call(
        self, method: str, target: str, body: object = NOTHING, *, line: Line | None = None
    ) -> Reply:
        """One call below the path of the service; ``body`` is sent as JSON."""
        pieces = [] if body is NOTHING else [json.dumps(body).encode()]
        headers = {} if body is NOTHING else {"Content-Type": "application/json"}
        reply = await request(
            self._application, method, KV_API.base_path + target, headers=headers, body=pieces, line=line
        )
        if reply.status < 300:
            _judge(method, target, reply)
        return reply

    async def get(self, target: str) -> Json:
        return succeeded(await self.call("GET", NAMESPACE + target))

    async def put(self, target: str, body: object) -> Json:
        return succeeded(await self.call("PUT", NAMESPACE + target, body))

    async def post(self, target: str, body: object = NOTHING) -> Json:
        return succeeded(await self.call("POST", NAMESPACE + target, body))

    async def delete(self, target: str) -> Json:
        return succeeded(await self.call("DELETE", NAMESPACE + target))

    async def refused(self, method: str, target: str, body: object = NOTHING) -> tuple[int, str, str]:
        """Status, code and text of a refusal."""
        reply = await self.call(method, NAMESPACE + target, body)
        return reply.status, reply.code, reply.message.partition("\n\n---")[0]

    # ---- worksets -------------------------------------------------------------------------------------

    async def add(self, name: str, *ids: str, **members: Any) -> Json:
        """Add members with these ids, and these further properties."""
        return await self.post(f"/sets/{name}/members", {"members": [{"id": id, **members} for id in ids]})

    async def pop(self, name: str, limit: int = 1, **members: Any) -> Json:
        return await self.post(f"/sets/{name}/pop", {"limit": limit, **members})

    async def settle(self, lease_id: str, verb: str, **members: Any) -> Json:
        """Ack, nack or extend a lease."""
        return await self.post(f"/leases/{lease_id}/{verb}", members)

    async def counts(self, name: str) -> tuple[int, int, int, int]:
        """Available, delayed, leased, dead."""
        found = await self.get(f"/sets/{name}")
        return found["available"], found["delayed"], found["leased"], found["dead"]

    async def run_loops(self) -> None:
        """Everything that happens without a caller."""
        for loop in self.running.loops:
            while await loop.run_once():
                pass

    # ---- what was told and stored ---------------------------------------------------------------------

    async def messages(self) -> list[tuple[str, str, Json]]:
        """Exchange, routing key and body of the messages since the last look, each of the declared shape."""
        async with self.database.read() as connection:
            rows = await connection.execute(
                text("SELECT * FROM outbox WHERE id > :heard ORDER BY id"), {"heard": self._heard}
            )
        told = []
        for row in rows:
            self._heard = row.id
            event = decode(row.exchange, row.body.encode())
            assert isinstance(event, Wire)
            assert event.to_wire() == json.loads(row.body)
            told.append(
                (row.exchange.removeprefix("exchange/taskbus-kv/v1/"), row.routing_key, json.loads(row.body))
            )
        return told

    async def stored(self) -> dict[str, list[Any]]:
        """All rows of all tables."""
        async with self.database.read() as connection:
            return {
                table: sorted(map(repr, await connection.execute(text(f"SELECT * FROM {table}"))))
                for table in TABLES
            }


def succeeded(reply: Reply) -> Json:
    assert reply.status in (200, 201), f"{reply.status} {reply.body.decode()}"
    return dict(reply.json())


def ids(popped: Json) -> list[str]:
    return [member["id"] for member in popped["members"]]


def _judge(method: str, target: str, reply: Reply) -> None:
    match = _ROUTES.match(target.partition("?")[0], method.lower())
    assert match is not None
    shape = match.methods[method.lower()].output
    assert shape is not None
    Draft202012Validator(json_schema(shape)).validate(reply.json())

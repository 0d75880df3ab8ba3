"""The handlers of the registry of job types."""

from datetime import timedelta
from typing import Final

from queue_service.api.endpoint import Answer, Call
from queue_service.api.paging import decimal, page_of
from queue_service.clock import Clock
from queue_service.features.jobs import type_store, types
from queue_service.features.jobs.type_store import StoredType
from queue_service.store.database import Database
from queue_service.store.statements import Connection
from schemas.job_catalogue import CATALOGUE
from schemas.jobs import (
    JobCatalogueResponse,
    JobTypeDefinition,
    JobTypeResponse,
    JobTypesResponse,
    ListedType,
)

LIVE: Final = timedelta(minutes=5)
"""A worker that asked for work since then is alive."""
PAGE: Final = 100


class JobTypesApi:
    """Handlers with what they need."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def put_type(self, call: Call[JobTypeDefinition]) -> Answer:
        name, definition = call.params["jobType"], call.body
        stored = await self._database.write(lambda tx: types.register(tx, name, definition))
        async with self._database.read() as connection:
            (shown,) = await self._shown(connection, [stored])
        return Answer(201 if stored.version == 1 else 200, shown)

    async def get_type(self, call: Call[None]) -> JobTypeResponse:
        name = call.params["jobType"]
        async with self._database.read() as connection:
            known = await type_store.which(connection, name)
            if known is None:
                raise types.type_not_found(name)
            version = decimal(call.query["version"]) if "version" in call.query else known.version
            stored = await type_store.get(connection, known.type, version)
            if stored is None:
                raise types.type_not_found(f"{name} version {version}")
            (shown,) = await self._shown(connection, [stored])
        return shown

    async def list_types(self, call: Call[None]) -> JobTypesResponse:
        asked = page_of(call.query, usual=PAGE)
        async with self._database.read() as connection:
            found = await type_store.page(connection, asked.after, asked.wanted)
            shown = await self._shown(connection, found[: asked.limit])
        token = asked.token_after(shown[-1].type) if len(found) > asked.limit else None
        return JobTypesResponse.trusted(types=tuple(shown), continuation_token=token)

    async def list_catalogue(self, call: Call[None]) -> JobCatalogueResponse:
        return JobCatalogueResponse.trusted(
            types=tuple(
                ListedType.trusted(type=name, definition=definition) for name, definition in CATALOGUE.items()
            )
        )

    async def delete_type(self, call: Call[None]) -> None:
        name = call.params["jobType"]
        await self._database.write(lambda tx: types.unregister(tx, name))

    async def _shown(self, connection: Connection, found: list[StoredType]) -> list[JobTypeResponse]:
        queues = [stored.definition.task_queue_id for stored in found]
        live = await type_store.live_workers(connection, queues, self._clock.now() - LIVE)
        return [
            JobTypeResponse.trusted(
                type=stored.type,
                version=stored.version,
                registered=stored.registered,
                live_workers=live.get(stored.definition.task_queue_id, 0),
                definition=stored.definition,
            )
            for stored in found
        ]

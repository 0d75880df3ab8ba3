"""WEBAPI_SYNC: what a web API has, into SQLite, while the lock of its stream is held.

For ``taskbus worker --jobs examples.webapi_sync.job:worker``. ``ingestionGateway`` is where the web API is,
and in place of a Firestore ``firestoreGateway`` names an SQLite file.
"""

import sqlite3
from contextlib import AsyncExitStack, closing
from typing import Any

import aiohttp
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from taskbus import Conflict, Kv
from taskbus.jobs import Job, JobOptions, Run, Step, Worker, fixed

LOCKS = "demo:webapi-sync"

worker = Worker()


class WebapiSync(Job, kind="WEBAPI_SYNC"):
    """Copies what a web API has into a stream, holding the stream's lock."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)

    stream_id: str
    connection_id: str
    env_id: str
    tenant_id: str
    ingestion_gateway: str
    firestore_gateway: str
    options = JobOptions(
        queue="jobs/webapi-sync",
        max_attempts=3,
        retry=fixed("2s"),
        steps=("Fetch", "Transform", "Load", Step("Release Lock", always=True)),
    )


@worker.handle(WebapiSync)
async def sync(job: WebapiSync, run: Run) -> dict[str, int]:
    """Another job of this stream waits ten seconds; one that fails leaves no lock behind."""
    async with Kv() as kv, AsyncExitStack() as held:
        try:
            lock = await held.enter_async_context(kv.kv(LOCKS).lock(job.stream_id, owner=repr(run)))
        except Conflict:
            run.snooze("10s")
        try:
            async with run.step("Fetch"):
                fetched = await pages(job, run)
            async with run.step("Transform"):
                rows = [(row["id"], row["name"].strip(), lock.token) for row in fetched]
            async with run.step("Load"):
                write(job, rows)
        finally:
            async with run.step("Release Lock"):
                await held.aclose()
    return {"rows": len(rows)}


async def pages(job: WebapiSync, run: Run) -> list[dict[str, Any]]:
    """All rows of the stream, page by page. Raises aiohttp.ClientError."""
    rows: list[dict[str, Any]] = []
    next_page: int | None = 1
    async with aiohttp.ClientSession(raise_for_status=True) as web:
        while next_page is not None:
            url = f"{job.ingestion_gateway}/streams/{job.stream_id}"
            async with web.get(url, params={"page": next_page}) as reply:
                page = await reply.json()
            rows += page["rows"]
            next_page = page.get("next")
            run.progress(current=len(rows), total=page["total"], step="Fetch")
    return rows


def write(job: WebapiSync, rows: list[tuple[int, str, int]]) -> None:
    """Write rows unless a later holder of the lock has written them: its token is larger."""
    with closing(sqlite3.connect(job.firestore_gateway)) as store, store:
        store.execute("CREATE TABLE IF NOT EXISTS stream (id INTEGER PRIMARY KEY, name, token INTEGER)")
        store.executemany(
            "INSERT INTO stream VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
            "token = excluded.token WHERE token <= excluded.token",
            rows,
        )

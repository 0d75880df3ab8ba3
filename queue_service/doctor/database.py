"""Checks of the database: reachable, of our schema, on time, and with nothing left lying in it."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from queue_service.clock import SystemClock
from queue_service.doctor.finding import Finding, duration, failure, ok, warning
from queue_service.settings import Settings
from queue_service.store import clients, outbox, vitals
from queue_service.store.database import Database, StoreUnavailable, open_database
from queue_service.store.migrations import runner
from queue_service.store.vault import Vault

CLOCK_WARNING: Final = timedelta(seconds=5)
CLOCK_FAILURE: Final = timedelta(seconds=60)
"""Claims last minutes, and signatures of calls are good for a quarter of an hour."""
OVERDUE: Final = timedelta(minutes=1)
PENDING_LONG: Final = timedelta(hours=1)
QUEUES: Final = 10
"""Task queues that are listed at most."""


async def examine(settings: Settings, secret: bytes | None) -> AsyncIterator[Finding]:
    """Each check in its turn; what makes further ones impossible is the last. ``secret``: of the vault."""
    database = open_database(settings.database_url, SystemClock(), pool_size=2)
    try:
        if database.is_sqlite and not await asyncio.to_thread(os.path.exists, database.url.database or ""):
            yield warning(
                "database",
                f"there is no file {database.url.database} yet",
                "start `taskbus serve`, which makes it; or correct TASKBUS_DATABASE_URL",
            )
            return
        try:
            yield ok("database", f"reachable: {await vitals.server_version(database)}")
        except StoreUnavailable as error:
            yield failure(
                "database", str(error), "start the database server, or correct TASKBUS_DATABASE_URL"
            )
            return
        schema = await _schema(database)
        yield schema
        if not database.is_sqlite:
            yield await _clock(database)
        if schema.level == "ok":
            async for finding in _contents(database, settings, secret):
                yield finding
    finally:
        await database.close()


async def _schema(database: Database) -> Finding:
    found, needed = await runner.current_revision(database), runner.newest_revision()
    if found == needed:
        return ok("schema", f"revision {found}, as this program needs it")
    if found is not None and found not in runner.revisions():
        return warning(
            "schema",
            f"revision {found} is newer than this program, which knows {needed}",
            "install the program that the database was migrated for",
        )
    says = f"revision {found or 'none'}, and this program needs {needed}"
    if database.is_sqlite:
        return warning("schema", says, "the next start of `taskbus serve` brings it up to date")
    return failure("schema", says, "run `taskbus migrate` with these settings")


async def _clock(database: Database) -> Finding:
    before = database.clock.now()
    theirs = await vitals.server_time(database)
    ours = before + (database.clock.now() - before) / 2
    return clocks("clock of the database", abs(theirs - ours))


def clocks(subject: str, skew: timedelta) -> Finding:
    """How far another clock is from ours."""
    says = f"{skew.total_seconds():.1f} s from the clock of this machine"
    if skew < CLOCK_WARNING:
        return ok(subject, says)
    advice = "synchronize the clocks (NTP): claims and deadlines end by the clock of whoever looks"
    return failure(subject, says, advice) if skew > CLOCK_FAILURE else warning(subject, says, advice)


async def _contents(database: Database, settings: Settings, secret: bytes | None) -> AsyncIterator[Finding]:
    yield await _outbox(database, settings)
    yield await _overdue(database, settings)
    async for finding in _waiting(database):
        yield finding
    if secret is not None:
        yield await _secrets(database, secret)


async def _outbox(database: Database, settings: Settings) -> Finding:
    async with database.read() as connection:
        backlog = await outbox.backlog(connection)
    if backlog.oldest is None:
        return ok("outbox", "empty: every event has been published")
    age = (database.clock.now() - backlog.oldest).total_seconds()
    says = f"{backlog.depth} events wait for the broker, the first for {duration(age)}"
    if age > settings.outbox_alert_age or backlog.depth > settings.outbox_alert_depth:
        return failure(
            "outbox",
            says,
            "the broker refuses the first: look for a full queue with overflow=reject-publish"
            if backlog.refused
            else "see that `taskbus serve` or `taskbus loops` runs, and reaches the broker",
        )
    return ok("outbox", says)


async def _overdue(database: Database, settings: Settings) -> Finding:
    before = database.clock.now() - OVERDUE
    async with database.read() as connection:
        claims = await vitals.claims_overdue(connection, before)
        deadlines = await vitals.deadlines_overdue(
            connection, before - timedelta(seconds=settings.deadline_delay)
        )
    if not claims and not deadlines:
        return ok("background work", "no claim and no deadline is overdue")
    return failure(
        "background work",
        f"{_number(claims)} expired claims and {_number(deadlines)} deadlines are not worked off",
        "see that `taskbus serve` or `taskbus loops` runs, and what its log says",
    )


async def _waiting(database: Database) -> AsyncIterator[Finding]:
    now = database.clock.now()
    async with database.read() as connection:
        found = await vitals.waiting_since(connection, now - PENDING_LONG, QUEUES)
    for queue in found:
        age = (now - queue.since).total_seconds()
        yield warning(
            f"task queue {queue.task_queue_id}",
            f"{queue.pending} tasks are pending, the oldest for {duration(age)}",
            f"see whether workers ask for it (`taskbus queue workers {queue.task_queue_id}`), or start more",
        )
    if not found:
        yield ok("task queues", f"no task has been pending for more than {duration(3600)}")


async def _secrets(database: Database, secret: bytes) -> Finding:
    async with database.read() as connection:
        number, one = await clients.with_other_key(connection, Vault(secret).key_id)
    if not number:
        return ok("secrets of clients", "the key opens all of them")
    return failure(
        "secrets of clients",
        f"{number} access tokens were encrypted with another key, that of {one} among them",
        "restore that key (TASKBUS_SECRET_KEY or its file), or reset them: `taskbus client reset`",
    )


def _number(count: int) -> str:
    return f"{vitals.COUNTED} or more" if count >= vitals.COUNTED else str(count)

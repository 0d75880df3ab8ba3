"""Pending tasks by the million: written into the tables by SQL, as createTask would have left them."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from pydantic_core import to_json
from sqlalchemy.engine import make_url

from benchmarks.tasks import GROUP_SIZE, PROVISIONER, definition
from queue_service.core import transitions
from queue_service.core.definition import complete, unscheduled_task
from queue_service.store.tables import tasks
from schemas.ids import slugid
from schemas.queue import CreateTaskRequest
from schemas.task import PRIORITIES
from schemas.times import to_ms, truncate

AT_ONCE: Final = 50_000
"""Tasks of one transaction on SQLite, where the service's own writes wait for its end."""
GROUP: Final = "00000000QAC0000000000A"
"""The group of a template; that of a task begins with its number instead."""

_COLUMNS: Final = tuple(column.name for column in tasks.columns)
_OWN: Final = {
    "task_id": "given.task_id",
    "task_group_id": "given.task_group_id",
    "queue_order": "template.queue_order + given.number",
}
_COUNT: Final = f"SELECT count(*) FROM tasks WHERE state = 'pending' AND task_queue_id LIKE '{PROVISIONER}/%'"
_INSERT_POSTGRES: Final = f"""
WITH given AS MATERIALIZED (
    SELECT number,
        translate(rtrim(encode(uuid_send(gen_random_uuid()), 'base64'), '='), '+/', '-_') AS task_id,
        lpad((number / {GROUP_SIZE})::text, 8, '0') || substr('{GROUP}', 9) AS task_group_id
    FROM generate_series(1, $1::integer) AS number
), defined AS (
    INSERT INTO task_definitions (task_id, definition)
    SELECT task_id, replace($2::text, '{GROUP}', task_group_id) FROM given
)
INSERT INTO tasks ({", ".join(_COLUMNS)})
SELECT {", ".join(_OWN.get(name, f"template.{name}") for name in _COLUMNS)}
FROM given CROSS JOIN json_populate_record(NULL::tasks, $3::json) AS template
"""
_INSERT_DEFINITION: Final = "INSERT INTO task_definitions (task_id, definition) VALUES (?, ?)"
_INSERT_TASK: Final = (
    f"INSERT INTO tasks ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"
)


async def fill(database_url: str, worker_type: str, depth: int) -> None:
    """Bring the number of pending tasks up to ``depth``; they are all in one task queue."""
    if database_url.startswith("sqlite"):
        _fill_sqlite(database_url, worker_type, depth)
    else:
        await _fill_postgres(database_url, worker_type, depth)


async def settle(database_url: str) -> None:
    """Do now what the database would do in the background after so many inserts."""
    if database_url.startswith("sqlite"):
        with closing(_open_sqlite(database_url)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("VACUUM (ANALYZE) tasks")
        await connection.execute("VACUUM (ANALYZE) task_definitions")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _fill_postgres(database_url: str, worker_type: str, depth: int) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        missing = depth - await connection.fetchval(_COUNT)
        if missing > 0:
            row, text = _templates(worker_type)
            await connection.execute(_INSERT_POSTGRES, missing, text, json.dumps(row))
    finally:
        await connection.close()


def _fill_sqlite(database_url: str, worker_type: str, depth: int) -> None:
    with closing(_open_sqlite(database_url)) as connection:
        missing = depth - connection.execute(_COUNT).fetchone()[0]
        row, text = _templates(worker_type)
        for start in range(0, missing, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, missing))
            given = [(slugid(), f"{number // GROUP_SIZE:08d}{GROUP[8:]}") for number in numbers]
            with connection:
                connection.executemany(
                    _INSERT_DEFINITION, ((task_id, text.replace(GROUP, group)) for task_id, group in given)
                )
                connection.executemany(_INSERT_TASK, _rows(row, start, given))


def _rows(row: dict[str, Any], start: int, given: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for number, (task_id, group) in enumerate(given, start + 1):
        order = row["queue_order"] + number
        yield {**row, "task_id": task_id, "task_group_id": group, "queue_order": order}


def _open_sqlite(database_url: str) -> sqlite3.Connection:
    connection = sqlite3.connect(make_url(database_url).database or "", timeout=60)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-262144")
    return connection


def _templates(worker_type: str) -> tuple[dict[str, Any], str]:
    """A row of ``tasks``, and the definition as JSON, of a task that became pending now."""
    now = truncate(datetime.now(UTC))
    body = json.dumps(definition(0, worker_type, GROUP, now))
    defined = complete(slugid(), CreateTaskRequest.from_json(body))
    task = transitions.create(unscheduled_task(slugid(), defined), now, unmet_dependencies=False).after
    row = {
        "task_id": "",
        "version": task.version,
        "state": task.state,
        "task_queue_id": task.task_queue_id,
        "scheduler_id": task.scheduler_id,
        "project_id": task.project_id,
        "task_group_id": "",
        "priority": PRIORITIES.index(task.priority),
        "queue_order": int(time.time() * 1_000_000),
        "taken_until": None,
        "deadline": to_ms(task.deadline),
        "expires": to_ms(task.expires),
        "requires": task.requires,
        "retries": task.retries,
        "retries_left": task.retries_left,
        "ever_resolved": 0,
        "claimed_by_id": 0,
        "routes": to_json(task.routes).decode(),
        "tags": to_json(task.tags).decode(),
        "runs": to_json([run.to_wire() for run in task.runs]).decode(),
        "worker": None,
        "available_at": None,
        "extras": None,
        "lane": task.lane,
        "unique_key": None,
        "unique_until": None,
        "since": to_ms(now),
    }
    if unknown := row.keys() ^ set(_COLUMNS):
        raise ValueError(f"the table of tasks has other columns than are filled here: {sorted(unknown)}")
    return row, defined.to_json().decode()

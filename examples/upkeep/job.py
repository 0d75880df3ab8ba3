"""WEBAPI_PURGE_DATA, WEBAPI_REBUILD_SCHEMA and MATVIEW_REFRESH on an SQLite file.

For ``taskbus worker --jobs examples.upkeep.job:worker``. ``TASKBUS_WAREHOUSE`` names the file of the streams,
which are tables (id, name); ``sqlGateway`` that of the views. There is one purge of a stream at a time, as
they are unique; refreshes with the same lock wait for each other.
"""

import os
import sqlite3
from contextlib import closing

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from taskbus.jobs import Job, JobOptions, Limit, Run, Unique, Worker

ONE_OF_ITS_KIND = Unique(by_args=True, by_state=("unscheduled", "pending", "running"))
TABLE = r"^[a-z_]{1,40}$"

worker = Worker()


class Upkeep(Job):
    """What all of them have."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)

    env_id: str


class PurgeData(Upkeep, kind="WEBAPI_PURGE_DATA"):
    """Deletes the data of a stream."""

    stream_id: str = Field(pattern=TABLE)
    tenant_id: str
    options = JobOptions(queue="jobs/webapi-purge-data", unique=ONE_OF_ITS_KIND)


class RebuildSchema(Upkeep, kind="WEBAPI_REBUILD_SCHEMA"):
    """Makes the table of a stream anew, and copies its rows."""

    stream_id: str = Field(pattern=TABLE)
    tenant_id: str
    options = JobOptions(queue="jobs/webapi-rebuild-schema", unique=ONE_OF_ITS_KIND)


class MatviewRefresh(Upkeep, kind="MATVIEW_REFRESH"):
    """Refreshes a materialized view: how often each name occurs in the stream of that name."""

    view_id: str = Field(pattern=TABLE)
    tenant_id: str
    sql_gateway: str
    locks_collection: str
    lock_id: str
    options = JobOptions(
        queue="jobs/matview-refresh",
        concurrency=Limit(1, key="{locksCollection}/{lockId}"),
        lock="demo:locks/{locksCollection}.{lockId}",
    )


@worker.handle(PurgeData)
def purge(job: PurgeData, run: Run) -> dict[str, int]:
    with closing(sqlite3.connect(os.environ["TASKBUS_WAREHOUSE"])) as warehouse, warehouse:
        return {"purged": warehouse.execute(f"DELETE FROM {job.stream_id}").rowcount}


@worker.handle(RebuildSchema)
def rebuild(job: RebuildSchema, run: Run) -> dict[str, int]:
    stream = job.stream_id
    with closing(sqlite3.connect(os.environ["TASKBUS_WAREHOUSE"])) as warehouse, warehouse:
        warehouse.execute("BEGIN IMMEDIATE")
        warehouse.execute(f"CREATE TABLE {stream}_new (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        copied = warehouse.execute(f"INSERT INTO {stream}_new SELECT id, name FROM {stream}").rowcount
        warehouse.execute(f"DROP TABLE {stream}")
        warehouse.execute(f"ALTER TABLE {stream}_new RENAME TO {stream}")
    return {"copied": copied}


@worker.handle(MatviewRefresh)
def refresh(job: MatviewRefresh, run: Run) -> dict[str, int]:
    view = f"{job.view_id}_view"
    with closing(sqlite3.connect(job.sql_gateway)) as gateway, gateway:
        gateway.execute("BEGIN IMMEDIATE")
        gateway.execute(f"DROP TABLE IF EXISTS {view}")
        gateway.execute(
            f"CREATE TABLE {view} AS SELECT name, count(*) AS occurs FROM {job.view_id} GROUP BY name"
        )
        (names,) = gateway.execute(f"SELECT count(*) FROM {view}").fetchone()
    return {"rows": names}

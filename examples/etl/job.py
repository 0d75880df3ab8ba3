"""FILE_ETL: a CSV file into SQLite, in three steps. For ``taskbus worker --jobs examples.etl.job:worker``.

``fileId`` is the file and ``areaId`` the table, in the database that ``TASKBUS_WAREHOUSE`` names. The steps
hand their rows on in tables of their own, so that the next attempt goes on where this one got to.
"""

import csv
import os
import sqlite3
from contextlib import closing
from itertools import islice

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from taskbus.jobs import Job, JobOptions, Run, Worker, fixed

BATCH = 500

worker = Worker()


class FileEtl(Job, kind="FILE_ETL"):
    """Loads a CSV file into an area."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True)

    file_id: str
    area_id: str = Field(pattern=r"^[a-z_]{1,40}$")
    env_id: str
    tenant_id: str
    options = JobOptions(
        queue="jobs/file-etl",
        max_attempts=3,
        retry=fixed("2s"),
        timeout="10m",
        steps=("Extract", "Transform", "Load"),
        resumable=True,
    )


@worker.handle(FileEtl)
def load(job: FileEtl, run: Run) -> dict[str, int]:
    """The whole job, in a thread: files and SQLite make us wait."""
    area, database = job.area_id, os.environ.get("TASKBUS_WAREHOUSE", "warehouse.sqlite")
    with closing(sqlite3.connect(database)) as warehouse:
        with run.step("Extract") as extract:
            if not extract.completed:
                done = run.cursor or 0
                with warehouse:
                    warehouse.execute(
                        f"CREATE TABLE IF NOT EXISTS {area}_raw (line INTEGER PRIMARY KEY, fields)"
                    )
                with open(job.file_id, newline="", encoding="utf-8") as file:
                    rows = islice(enumerate(csv.reader(file)), 1 + done, None)
                    while chunk := list(islice(rows, BATCH)):
                        with warehouse:
                            warehouse.executemany(
                                f"INSERT OR REPLACE INTO {area}_raw VALUES (?, ?)",
                                [(line, "\x1f".join(fields)) for line, fields in chunk],
                            )
                        done += len(chunk)
                        extract.save_now(done)
                        run.progress(message=f"{done} lines read", step="Extract")

        with run.step("Transform") as transform:
            if not transform.completed:
                lines = warehouse.execute(f"SELECT line, fields FROM {area}_raw ORDER BY line").fetchall()
                with warehouse:
                    warehouse.execute(f"DROP TABLE IF EXISTS {area}_clean")
                    warehouse.execute(f"CREATE TABLE {area}_clean (id PRIMARY KEY, customer, cents INTEGER)")
                    for count, (line, fields) in enumerate(lines, 1):
                        warehouse.execute(f"INSERT INTO {area}_clean VALUES (?, ?, ?)", cleaned(line, fields))
                        if count % BATCH == 0:
                            run.progress(current=count, total=len(lines), step="Transform")

        with run.step("Load") as step:
            if not step.completed:
                with warehouse:
                    warehouse.execute(
                        f"CREATE TABLE IF NOT EXISTS {area} (id PRIMARY KEY, customer, cents INTEGER)"
                    )
                    warehouse.execute(f"INSERT OR REPLACE INTO {area} SELECT * FROM {area}_clean")
                    warehouse.execute(f"DROP TABLE {area}_raw")
        (loaded,) = warehouse.execute(f"SELECT count(*) FROM {area}_clean").fetchone()
    return {"rows": loaded}


def cleaned(line: int, fields: str) -> tuple[str, str, int]:
    """Id, customer and price of an order. Raises ValueError that names the line."""
    match fields.split("\x1f"):
        case [id, customer, price]:
            try:
                return id.strip(), customer.strip().title(), round(float(price) * 100)
            except ValueError:
                raise ValueError(f"line {line + 1}: {price!r} is no price") from None
    raise ValueError(f"line {line + 1}: expected id, customer and price")

"""The statements of jobs, types and events use their indexes, on both databases, however they are planned."""

from datetime import UTC, datetime
from typing import Final

import pytest

from queue_service.features.jobs import event_store, store, type_store
from queue_service.store.database import Database
from tests.store.planned import Hot, check_postgres, check_sqlite, filling_of
from tests.store.plans import PlanKind

NOW: Final = datetime(2024, 5, 1, 12, 0, 20, tzinfo=UTC)
_NULL: Final = "CAST(NULL AS TEXT)"
_ROWS: Final = {
    "job_types": (20_000, "SELECT 'T' || CAST(n / 2 AS TEXT), n % 2, '{}', n FROM numbers"),
    "job_type_names": (10_000, "SELECT 'T' || CAST(n AS TEXT), 'T' || CAST(n AS TEXT), 1 FROM numbers"),
    "jobs": (
        40_000,
        "SELECT 'task' || CAST(n AS TEXT), 'T' || CAST(n % 500 AS TEXT), 1, 'prod', 'x', " + _NULL + ", 0, 0,"
        f" '[]', {_NULL}, {_NULL}, {_NULL}, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), n, n FROM numbers",
    ),
    "job_events": (
        40_000,
        "SELECT n, 'task' || CAST(n / 20 AS TEXT), n % 20, CASE WHEN n % 10 = 0 THEN 'state' ELSE 'step' END,"
        " '{}', 'T1', 'RUNNING', n FROM numbers",
    ),
}
_TASKS: Final = '[{"task_id": "task107"}]'
_PLACE: Final = {"created": 20_000, "after": "task107", "wanted": 100}
_OF_JOBS: Final = "sqlite_autoindex_jobs_1"

HOT: Final[dict[str, Hot]] = {
    "SELECT": Hot(store.SELECT, {"ids": _TASKS}, {_OF_JOBS}, {"jobs_pkey"}),
    "SAVE": Hot(
        store.SAVE,
        {
            "saved": '[{"task_id": "task107", "steps": "[]", "progress": null, "cursor": null, "noted": null,'
            ' "cancel_reason": null, "told": null, "expires": 1}]'
        },
        {_OF_JOBS},
        {"jobs_pkey"},
    ),
    "NEWEST": Hot(store.NEWEST, _PLACE, {"jobs_created"}, {"jobs_created"}),
    # A short page: to read and sort all forty rows of the type costs PostgreSQL as little as their order.
    "NEWEST_OF_TYPE": Hot(
        store.NEWEST_OF_TYPE, {**_PLACE, "type": "T7", "wanted": 10}, {"jobs_of_type"}, {"jobs_of_type"}
    ),
    "EXPIRED": Hot(
        store.EXPIRED,
        {"before": NOW, "wanted": 100},
        {"ix_jobs_expires", "sqlite_autoindex_tasks_1"},
        {"ix_jobs_expires", "tasks_pkey"},
    ),
    "DELETE": Hot(store.DELETE, {"ids": _TASKS}, {_OF_JOBS}, {"jobs_pkey"}, sorts=True),
    "APPEND": Hot(
        event_store.APPEND,
        {
            "given": '[{"place": 0, "task_id": "task107", "nth": 1, "event": "log", "data": "{}",'
            ' "type": "T7", "state": "RUNNING", "created": 1}]'
        },
        {"job_events_of_job"},
        {"job_events_of_job"},
        sorts=True,
    ),
    "FORGET": Hot(
        event_store.FORGET,
        {"bounds": '[{"task_id": "task107", "first": 7}]'},
        {"job_events_of_job", "job_events key"},
        {"job_events_of_job", "job_events_pkey"},
        sorts=True,
    ),
    "FORGET_JOBS": Hot(
        event_store.FORGET_JOBS, {"ids": _TASKS}, {"job_events_of_job"}, {"job_events_of_job"}, sorts=True
    ),
    "AFTER": Hot(
        event_store.AFTER,
        {"of_task": "task107", "after": 7, "wanted": 100},
        {"job_events_of_job"},
        {"job_events_of_job"},
        sorts=True,  # a thousand rows at most
    ),
    "LAST": Hot(event_store.LAST, {"of_task": "task107"}, {"job_events_of_job"}, {"job_events_of_job"}),
    "LAST_LINES": Hot(
        event_store.LAST_LINES,
        {"ids": _TASKS},
        {"job_events_of_job"},
        {"job_events_of_job"},
        sorts=True,  # a thousand rows at most
    ),
    "STATES_AFTER": Hot(
        event_store.STATES_AFTER,
        {"after": 700, "wanted": 100},
        {"job_events_state"},
        {"job_events_state"},
    ),
    "WHICH": Hot(
        type_store.WHICH,
        {"names": '[{"name": "T7"}]'},
        {"sqlite_autoindex_job_type_names_1"},
        {"job_type_names_pkey"},
    ),
    "SELECT type": Hot(
        type_store.SELECT,
        {"of_type": "T7", "version": 1},
        {"sqlite_autoindex_job_types_1"},
        {"job_types_pkey"},
    ),
    "LIVE_WORKERS": Hot(
        type_store.LIVE_WORKERS,
        {"queues": '[{"task_queue_id": "jobs/etl"}]', "since": NOW},
        {"sqlite_autoindex_workers_1"},
        {"workers_pkey"},
        sorts=True,
    ),
}


def filling(dialect: str) -> list[str]:
    return filling_of(dialect, _ROWS)


@pytest.mark.parametrize("name", HOT)
async def test_sqlite_uses_the_index(filled_sqlite: Database, name: str) -> None:
    await check_sqlite(filled_sqlite, HOT[name])


@pytest.mark.parametrize("kind", ["custom", "generic"])
@pytest.mark.parametrize("name", HOT)
async def test_postgres_uses_the_index(filled_postgres: Database, name: str, kind: PlanKind) -> None:
    await check_postgres(filled_postgres, HOT[name], kind)

"""The statements of streams use their indexes, on both databases and in both ways of planning."""

from datetime import UTC, datetime
from typing import Final

import pytest

from queue_service.features.jobs import stream_store
from queue_service.store import event_log
from queue_service.store.database import Database
from tests.store.planned import Hot, check_postgres, check_sqlite
from tests.store.plans import PlanKind

NOW: Final = datetime(2024, 5, 1, 12, 0, 20, tzinfo=UTC)
NUMBERS: Final = {
    "sqlite": "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 40000)"
    " SELECT n FROM numbers)",
    "postgresql": "(SELECT n FROM generate_series(1, 40000) AS n)",
}
FILLING: Final = (
    "INSERT INTO event_log (position, message_id, exchange, routing_key, cc, body, logged)"
    " SELECT n, n, 'e', 'k', '[]', '{{}}', 1714564800000 + n FROM {numbers} AS given",
    "INSERT INTO event_log_state (id, position, floor, kept_until) VALUES (1, 40000, 0, 1714564800000)",
    "INSERT INTO outbox (exchange, routing_key, cc, order_keys, body, created, set_aside)"
    " SELECT 'e', 'k', '[]', '[]', '{{}}', 1714564800000 + n, n % 3 - 1 FROM {numbers} AS given",
    "INSERT INTO job_events (task_id, sequence, event, data, type, state, created)"
    " SELECT 'job' || CAST(n / 20 AS TEXT), n % 20, CASE WHEN n % 5 = 0 THEN 'state' ELSE 'progress' END,"
    " '{{}}', 'FILE_ETL', 'RUNNING', 1714564800000 + n FROM {numbers} AS given",
)
_ADD: Final = {"last": 40000, "at": NOW}
_ROWS: Final = '[{"id": 107}]'

HOT: Final[dict[str, Hot]] = {
    "TAKE": Hot(event_log.TAKE, {**_ADD, "retired": _ROWS}, {"outbox key"}, {"outbox_pkey"}, sorts=True),
    "TAKE_WAITING": Hot(
        event_log.TAKE_WAITING, {**_ADD, "wanted": 500}, {"outbox_lanes"}, {"outbox_lanes"}, sorts=True
    ),
    "MARK": Hot(event_log.MARK, {"logged_rows": _ROWS}, {"outbox_lanes"}, {"outbox_pkey"}, sorts=True),
    "OLDEST_WAITING": Hot(event_log.OLDEST_WAITING, {}, {"outbox_lanes"}, {"outbox_lanes"}),
    "AFTER": Hot(event_log.AFTER, {"after": 30000, "wanted": 100}, {"event_log key"}, {"event_log_pkey"}),
    "PAST": Hot(
        event_log.PAST,
        {"wanted": 2000, "lowest": 10, "before": NOW},
        set(),
        {"event_log_pkey"},
        in_order_of="event_log",
    ),
    "FORGET": Hot(event_log.FORGET, {"lowest": 10}, {"event_log key"}, {"event_log_pkey"}),
    "NEWS of jobs": Hot(
        stream_store.NEWS,
        {"watched": '[{"task_id": "job107", "last": 3}]', "wanted": 200},
        {"job_events_of_job"},
        {"job_events_of_job"},
        sorts=True,
    ),
    "OF_IDS": Hot(stream_store.OF_IDS, {"late": _ROWS}, {"job_events key"}, {"job_events_pkey"}, sorts=True),
    "IDS_BETWEEN": Hot(
        stream_store.IDS_BETWEEN, {"low": 100, "high": 120}, {"job_events key"}, {"job_events_pkey"}
    ),
}


def filling(dialect: str) -> list[str]:
    statements = [statement.format(numbers=NUMBERS[dialect]) for statement in FILLING]
    return [*statements, "ANALYZE" if dialect == "sqlite" else "VACUUM ANALYZE"]


@pytest.mark.parametrize("name", HOT)
async def test_sqlite_uses_the_index(filled_sqlite: Database, name: str) -> None:
    await check_sqlite(filled_sqlite, HOT[name])


@pytest.mark.parametrize("kind", ["custom", "generic"])
@pytest.mark.parametrize("name", HOT)
async def test_postgres_uses_the_index(filled_postgres: Database, name: str, kind: PlanKind) -> None:
    await check_postgres(filled_postgres, HOT[name], kind)

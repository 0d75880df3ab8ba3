"""The statements of triggers use their indexes, on both databases and in both ways of planning."""

from datetime import UTC, datetime
from typing import Final

import pytest

from queue_service.features.triggers import fires, store
from queue_service.store.database import Database
from tests.store.planned import Hot, check_postgres, check_sqlite, filling_of
from tests.store.plans import PlanKind

NOW: Final = datetime(2024, 5, 1, 12, 0, 20, tzinfo=UTC)
ROWS: Final = 20_000
_TABLES: Final = {
    "triggers": "SELECT 'group' || CAST(n % 20 AS TEXT), 'trigger' || CAST(n AS TEXT), '{}', 'active',"
    " 1714564800000, 0, 1714564800000 + n, CAST(NULL AS BIGINT),"
    " CASE WHEN n % 3 = 0 THEN 1714564800000 + n END, CASE WHEN n % 100 = 0 THEN 1 ELSE 0 END, '{}', 0, 0, 0"
    " FROM numbers",
    "trigger_fires": "SELECT 'group7', 'trigger' || CAST(n % 20 AS TEXT), n,"
    " 'tick' || CAST(n AS TEXT), 'cron', 'task' || CAST(n AS TEXT), 1714564800000 + n, CAST(NULL AS BIGINT),"
    " CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), 'created', CAST(NULL AS TEXT), CAST(NULL AS TEXT)"
    " FROM numbers",
}
_KEY: Final = '[{"group_id": "group7", "trigger_id": "trigger107"}]'
_OF: Final = {"of_group": "group7", "of_trigger": "trigger7"}
_PRIMARY: Final = ({"sqlite_autoindex_triggers_1"}, {"triggers_pkey"})
_FIRES: Final = ({"sqlite_autoindex_trigger_fires_1"}, {"trigger_fires_pkey"})

HOT: Final[dict[str, Hot]] = {
    "PICK_DUE": Hot(store.PICK_DUE, {"now": NOW, "wanted": 100}, {"triggers_due"}, {"triggers_due"}),
    "NEXT_DUE": Hot(store.NEXT_DUE, {}, {"triggers_due"}, {"triggers_due"}),
    "LISTEN": Hot(store.LISTEN, {"listens": 1}, {"triggers_listening"}, {"triggers_listening"}, sorts=True),
    "LOCK": Hot(store.LOCK, {"keys": _KEY}, *_PRIMARY, sorts=True),
    "SELECT": Hot(store.SELECT, _OF, *_PRIMARY),
    "DELETE": Hot(store.DELETE, _OF, *_PRIMARY),
    "PAGE": Hot(
        store.PAGE, {"after_group": "group7", "after_trigger": "trigger107", "wanted": 100}, *_PRIMARY
    ),
    "SAVE": Hot(
        store.SAVE,
        {
            "changed": '[{"group_id": "group7", "trigger_id": "trigger107", "version": 1,'
            ' "definition": "{}", "state": "active", "offset_ms": 0, "next_tick": 1, "waiting": null,'
            ' "due_at": 1, "listens": 0, "progress": "{}", "fires": 1, "counted": 0}]'
        },
        *_PRIMARY,
    ),
    "MOVE": Hot(
        store.MOVE,
        {
            "moved": '[{"group_id": "group7", "trigger_id": "trigger107", "version": 1, "state": "active",'
            ' "offset_ms": 0, "next_tick": 1, "waiting": null, "due_at": 1, "listens": 0, "progress": "{}",'
            ' "fires": 1, "counted": 0}]'
        },
        *_PRIMARY,
    ),
    "KNOWN": Hot(
        fires.KNOWN,
        {"occasions": '[{"group_id": "group7", "trigger_id": "trigger107", "occasion": "tick107"}]'},
        {"trigger_fires_occasion"},
        {"trigger_fires_occasion"},
    ),
    "OF_TASKS": Hot(
        fires.OF_TASKS,
        {"ended": '[{"task_id": "task107"}]'},
        {"ix_trigger_fires_task_id"},
        {"ix_trigger_fires_task_id"},
    ),
    "LAST": Hot(fires.LAST, {**_OF, "wanted": 50}, *_FIRES),
    "FORGET": Hot(fires.FORGET, _OF, *_FIRES),
    "PRUNE": Hot(
        fires.PRUNE,
        {"old": '[{"group_id": "group7", "trigger_id": "trigger107", "number": 5, "created": 9}]'},
        *_FIRES,
        sorts=True,
    ),
}


def filling(dialect: str) -> list[str]:
    return filling_of(dialect, {name: (ROWS, rows) for name, rows in _TABLES.items()})


@pytest.mark.parametrize("name", HOT)
async def test_sqlite_uses_the_index(filled_sqlite: Database, name: str) -> None:
    await check_sqlite(filled_sqlite, HOT[name])


@pytest.mark.parametrize("kind", ["custom", "generic"])
@pytest.mark.parametrize("name", HOT)
async def test_postgres_uses_the_index(filled_postgres: Database, name: str, kind: PlanKind) -> None:
    await check_postgres(filled_postgres, HOT[name], kind)

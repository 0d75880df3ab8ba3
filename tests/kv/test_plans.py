"""The statements of values and worksets use their indexes, on both databases and in both ways of planning."""

from datetime import UTC, datetime
from typing import Final

import pytest

from queue_service.features.kv import lease_store, store, workset_store
from queue_service.store.database import Database
from tests.store.planned import Hot, check_postgres, check_sqlite, filling_of
from tests.store.plans import PlanKind

NOW: Final = datetime(2024, 5, 1, 12, 0, 20, tzinfo=UTC)
_ROWS: Final = {
    "kv_namespaces": (20_000, "SELECT 'acme:n' || CAST(n AS TEXT), 7 FROM numbers"),
    "kv_entries": (
        40_000,
        "SELECT 'acme:n' || CAST(n % 20 AS TEXT), 'key' || CAST(n AS TEXT), '1', 'json', 1, n, 1714564800000,"
        " CASE WHEN n % 3 = 0 THEN 1714564800000 + n END FROM numbers",
    ),
    "worksets": (20_000, "SELECT 'acme:n', 'set' || CAST(n AS TEXT), 3 FROM numbers"),
    "workset_members": (
        40_000,
        "SELECT 'acme:n', 'set' || CAST(n % 20 AS TEXT), 'member' || CAST(n AS TEXT), n % 7,"
        " 1714564800000 + n, n, '1', 1, 1, n, CASE WHEN n % 3 = 0 THEN 'lease' || CAST(n / 30 AS TEXT) END,"
        " CASE WHEN n % 90 = 0 THEN 1 ELSE 0 END, CAST(NULL AS TEXT), CAST(NULL AS TEXT) FROM numbers",
    ),
    "workset_leases": (
        20_000,
        "SELECT 'lease' || CAST(n AS TEXT), 'acme:n', 'set1', 'ack-each', CAST(NULL AS TEXT),"
        " 1714564800000 + n, 3, CAST(NULL AS TEXT) FROM numbers",
    ),
}
_SET: Final = {"namespace": "acme:n", "name": "set7"}
_DUE: Final = {"now": NOW, "wanted": 100}
_PLACES: Final = '[{"namespace": "acme:n7", "key": "key107"}]'
_MEMBER: Final = '[{"namespace": "acme:n", "set_name": "set7", "member_id": "member107"}]'
_LEASES: Final = '[{"lease_id": "lease107"}]'
_OF_MEMBERS: Final = "sqlite_autoindex_workset_members_1"

HOT: Final[dict[str, Hot]] = {
    "FIND": Hot(store.FIND, {"places": _PLACES}, {"sqlite_autoindex_kv_entries_1"}, {"kv_entries_pkey"}),
    "TAKE_VERSIONS": Hot(
        store.TAKE_VERSIONS, {"given": '[{"namespace": "acme:n7", "version": 1}]'}, set(), set(), sorts=True
    ),
    "WRITE": Hot(
        store.WRITE,
        {
            "given": '[{"namespace": "acme:n7", "key": "key107", "value": "1", "format": "json", "size": 1,'
            ' "version": 1, "updated": 1, "expires": null}]'
        },
        set(),
        set(),
        sorts=True,
    ),
    "DELETE": Hot(
        store.DELETE,
        {"places": _PLACES},
        {"sqlite_autoindex_kv_entries_1"},
        {"kv_entries_pkey"},
        sorts=True,
    ),
    "LIST": Hot(
        store.LIST,
        {"namespace": "acme:n7", "after": "", "first": "key1", "end": "key2", "wanted": 101, "now": NOW},
        {"sqlite_autoindex_kv_entries_1"},
        {"kv_entries_pkey"},
    ),
    "EXPIRED": Hot(store.EXPIRED, _DUE, {"kv_entries_expiring"}, {"kv_entries_expiring"}),
    "SETTINGS": Hot(
        workset_store.SETTINGS,
        {"sets": '[{"namespace": "acme:n", "name": "set7", "max_deliveries": 0}]'},
        {"sqlite_autoindex_worksets_1"},
        {"worksets_pkey"},
    ),
    "HEADS": Hot(
        workset_store.HEADS,
        {**_SET, "levels": '[{"priority": 0}, {"priority": 6}]'},
        {"workset_members_order"},
        {"workset_members_order"},
        sorts=True,
    ),
    "PICK": Hot(
        workset_store.PICK,
        {**_SET, **_DUE, "priority": 3},
        {"workset_members_order"},
        {"workset_members_order"},
    ),
    "TAKE": Hot(
        workset_store.TAKE,
        {
            "taken": '[{"namespace": "acme:n", "set_name": "set7", "member_id": "member107",'
            ' "lease_id": "lease1", "expires": 1, "token": 1, "doomed": 0}]'
        },
        {_OF_MEMBERS},
        {"workset_members_pkey"},
    ),
    "HELD": Hot(
        workset_store.HELD,
        {"leases": _LEASES},
        {"workset_members_leased"},
        {"workset_members_leased"},
        sorts=True,
    ),
    "CHANGE": Hot(
        workset_store.CHANGE,
        {
            "changed": '[{"namespace": "acme:n", "set_name": "set7", "member_id": "member107",'
            ' "to_set": "set7", "available_at": 1, "lease_id": null, "doomed": 0, "error": null}]'
        },
        {_OF_MEMBERS},
        {"workset_members_pkey"},
    ),
    "REPEAT": Hot(
        workset_store.REPEAT,
        {"repeats": '[{"namespace": "acme:n", "set_name": "set7", "member_id": "member107", "again": "{}"}]'},
        {_OF_MEMBERS},
        {"workset_members_pkey"},
    ),
    "DELETE members": Hot(
        workset_store.DELETE, {"keys": _MEMBER}, {_OF_MEMBERS}, {"workset_members_pkey"}, sorts=True
    ),
    "DUE_TO_DIE": Hot(workset_store.DUE_TO_DIE, _DUE, {"workset_members_doomed"}, {"workset_members_doomed"}),
    "NEXT_DEATH": Hot(workset_store.NEXT_DEATH, {}, {"workset_members_doomed"}, {"workset_members_doomed"}),
    "LOCK leases": Hot(
        lease_store.LOCK,
        {"leases": _LEASES},
        {"sqlite_autoindex_workset_leases_1"},
        {"workset_leases_pkey"},
        sorts=True,
    ),
    "SAVE leases": Hot(
        lease_store.SAVE,
        {"changed": '[{"lease_id": "lease107", "expires": 1, "remaining": 1, "outcome": null}]'},
        {"sqlite_autoindex_workset_leases_1"},
        {"workset_leases_pkey"},
    ),
    "EXPIRED leases": Hot(
        lease_store.EXPIRED,
        {"before": NOW, "wanted": 100},
        {"ix_workset_leases_expires"},
        {"ix_workset_leases_expires"},
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

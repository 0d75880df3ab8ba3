"""The hot statements use their indexes, on both databases, and in both ways PostgreSQL plans them."""

from typing import Final

import pytest

from queue_service.store import (
    access,
    artifacts,
    attempts,
    backlog,
    blob_deletions,
    claims,
    clients,
    controls,
    delays,
    deletion,
    dependencies,
    expiry,
    groups,
    index,
    lanes,
    listing,
    objects,
    outbox,
    purge_cache,
    roles,
    search,
    tasks,
    uniqueness,
    vitals,
    workers,
)
from queue_service.store.database import Database
from tests.core.samples import NOW
from tests.store.filled import ROWS
from tests.store.planned import Hot, check_postgres, check_sqlite, filling_of
from tests.store.plans import PlanKind

IDS = '[{"task_id": "task100007"}]'
CHANGED = (
    '[{"task_id": "task100007", "version": 1, "queue_order": null, "state": "running", "priority": 1,'
    ' "taken_until": 1, "retries_left": 5, "ever_resolved": 0, "claimed_by_id": 0, "runs": "[]",'
    ' "worker": null, "available_at": null, "extras": null, "expires": 1714564800000,'
    ' "unique_key": null, "unique_until": null, "since": null}]'
)
EDGES = '[{"required_task_id": "task100007", "dependent_task_id": "task100014"}]'
ARTIFACT = '[{"task_id": "task100007", "run_id": 0, "name": "public/file1"}]'
INDEXED = (
    '[{"namespace": "top7.x107", "name": "task100107", "task_id": "task100107", "rank": 1, "data": "{}",'
    ' "expires": 1714564800000}]'
)
NEEDED = '[{"parent": "top7.x107", "name": "last", "expires": 1714564800000, "kept": 1714651200000}]'
DUE: Final = {"now": NOW, "wanted": 100}
EXPIRED: Final = {"before": NOW, "wanted": 100}
OF_QUEUE: Final = {"task_queue_id": "prov/type3", "now": NOW}
PLACE: Final = {**OF_QUEUE, "order": 1714564800000000, "task_id": "task100007", "wanted": 1000}
PLACE_IN_STATE: Final = {
    "state": "completed",
    "since": 1714564800007,
    "task_id": "task100007",
    "wanted": 1000,
}
WORKERS_PAGE: Final = {"now": NOW, "after": "prov1", "wanted": 1000}
WORKER: Final = (
    '[{"task_queue_id": "prov/type3", "worker_group": "group", "worker_id": "worker7", "last_date_active": 1,'
    ' "expires": 1, "recent_tasks": "[]", "quarantine_until": null, "quarantine_details": "[]"}]'
)
SEEN_QUEUE: Final = (
    '[{"task_queue_id": "prov1/type1", "provisioner_id": "prov1", "last_date_active": 1, "expires": 1}]'
)

OF_LANES: Final = {"of_queue": "prov/type3", "now": NOW}
LANES: Final = '[{"each": "lane3"}]'
BUCKETS: Final = '[{"bucket": "bucket7"}]'

HOT: Final[dict[str, Hot]] = {
    "PICK_PENDING": Hot(
        claims.PICK_PENDING,
        {"task_queue_id": "prov/type3", "now": NOW, "wanted": 32},
        {
            "tasks_pending",
            "tasks_delayed_in_queue",
            "sqlite_autoindex_task_queues_1",
            "sqlite_autoindex_task_lanes_1",
        },
        {"tasks_pending", "tasks_delayed_in_queue", "task_queues_pkey", "task_lanes_turn"},
        in_order_of="line",  # which the statement itself makes
    ),
    "TAKE_TURN": Hot(
        claims.TAKE_TURN,
        {"task_queue_id": "prov/type3", "now": NOW},
        {
            "tasks_pending",
            "tasks_delayed_in_queue",
            "sqlite_autoindex_task_queues_1",
            "sqlite_autoindex_task_lanes_1",
        },
        {"tasks_pending", "tasks_delayed_in_queue", "task_queues_pkey", "task_lanes_turn"},
    ),
    "lanes FILL": Hot(
        lanes.FILL,
        {"filled": '[{"task_queue_id": "prov/type3", "lane": "lane3", "priority": 1, "turn": 1}]'},
        set(),
        set(),
        sorts=True,
    ),
    "lanes OPEN": Hot(
        lanes.OPEN,
        {"named": '[{"task_queue_id": "prov/type3", "lane": "lane3"}]'},
        {"sqlite_autoindex_task_lanes_1"},
        {"task_lanes_pkey"},
    ),
    "lanes OPEN_ALL": Hot(lanes.OPEN_ALL, OF_LANES, {"task_lanes_turn"}, {"task_lanes_turn"}),
    "lanes NEXT_LANES": Hot(
        lanes.NEXT_LANES, {**OF_LANES, "wanted": 32}, {"task_lanes_turn"}, {"task_lanes_turn"}
    ),
    "lanes LOOK_INTO": Hot(
        lanes.LOOK_INTO,
        {**OF_LANES, "wanted": 8, "lanes": LANES, "buckets": BUCKETS},
        {"tasks_in_lane", "sqlite_autoindex_run_slots_1", "sqlite_autoindex_tasks_1"},
        {"tasks_in_lane", "run_slots_pkey", "tasks_pkey"},
    ),
    "lanes SERVE": Hot(
        lanes.SERVE,
        {
            "served": '[{"task_queue_id": "prov/type3", "lane": "lane3", "priority": 1, "turn": 1,'
            ' "shut_until": 0}]'
        },
        {"sqlite_autoindex_task_lanes_1"},
        {"task_lanes_pkey"},
    ),
    "lanes DELETE": Hot(
        lanes.DELETE,
        {"named": '[{"task_queue_id": "prov/type3", "lane": "lane3"}]'},
        {"sqlite_autoindex_task_lanes_1"},
        {"task_lanes_pkey"},
        sorts=True,
    ),
    "lanes DELETE_EMPTY": Hot(
        lanes.DELETE_EMPTY,
        {**OF_LANES, "named": '[{"task_queue_id": "prov/type3", "lane": "lane3"}]'},
        {"sqlite_autoindex_task_lanes_1", "tasks_in_lane"},
        {"task_lanes_pkey", "tasks_in_lane"},
        sorts=True,
    ),
    "lanes NEWCOMERS": Hot(lanes.NEWCOMERS, {**OF_LANES, "wanted": 32}, {"tasks_pending"}, {"tasks_pending"}),
    "lanes BESIDE": Hot(lanes.BESIDE, {**OF_LANES, "wanted": 32}, {"tasks_pending"}, {"tasks_pending"}),
    "lanes OLDEST_BESIDE": Hot(
        lanes.OLDEST_BESIDE, {**OF_LANES, "wanted": 32}, {"tasks_pending"}, {"tasks_pending"}
    ),
    "lanes MOVE": Hot(
        lanes.MOVE,
        {"moved": '[{"task_id": "task100007", "lane": "l"}]'},
        {"sqlite_autoindex_tasks_1"},
        {"tasks_pkey"},
    ),
    "lanes COUNT_RUNNING": Hot(
        lanes.COUNT_RUNNING, {"of_queue": "prov/type3"}, {"tasks_claimed"}, {"tasks_claimed"}
    ),
    "lanes SWEEP_SLOTS": Hot(
        lanes.SWEEP_SLOTS,
        {"of_queue": "prov/type3", "buckets": BUCKETS},
        {"sqlite_autoindex_run_slots_1", "sqlite_autoindex_tasks_1"},
        {"run_slots_pkey", "tasks_pkey"},
        sorts=True,
    ),
    "lanes FREE_SLOTS": Hot(
        lanes.FREE_SLOTS,
        {"freed": '[{"task_queue_id": "prov/type3", "bucket": "bucket7", "task_id": "task100007"}]'},
        {"sqlite_autoindex_run_slots_1"},
        {"run_slots_pkey"},
        sorts=True,
    ),
    "lanes LEVELS": Hot(
        lanes.LEVELS,
        {"of_queue": "prov/type3", "buckets": BUCKETS},
        {"sqlite_autoindex_rate_buckets_1"},
        {"rate_buckets_pkey"},
    ),
    "lanes FULL": Hot(lanes.FULL, EXPIRED, {"ix_rate_buckets_full_at"}, {"ix_rate_buckets_full_at"}),
    "controls HOLD": Hot(
        controls.HOLD,
        {"ids": '[{"task_queue_id": "prov1/type1"}]', "now": NOW},
        {"sqlite_autoindex_task_queues_1"},
        {"task_queues_pkey"},
        sorts=True,
    ),
    "controls LOCK_PAGE": Hot(
        controls.LOCK_PAGE,
        {"after": "prov1", "wanted": 1000, "now": NOW},
        {"sqlite_autoindex_task_queues_1"},
        {"task_queues_pkey"},
    ),
    "controls SAVE": Hot(
        controls.SAVE,
        {"saved": '[{"task_queue_id": "prov1/type1", "paused_at": 1, "limits": null}]'},
        {"sqlite_autoindex_task_queues_1"},
        {"task_queues_pkey"},
    ),
    "PICK_DUE": Hot(delays.PICK_DUE, DUE, {"tasks_delayed"}, {"tasks_delayed"}),
    "PICK_DUE_IN_QUEUE": Hot(
        delays.PICK_DUE_IN_QUEUE,
        {**DUE, "task_queue_id": "prov/type3"},
        {"tasks_delayed_in_queue"},
        {"tasks_delayed_in_queue"},
    ),
    "NEXT_DUE": Hot(delays.NEXT_DUE, {"now": NOW}, {"tasks_delayed"}, {"tasks_delayed"}),
    "COUNT_DELAYED": Hot(
        delays.COUNT_DELAYED,
        {"task_queue_id": "prov/type3"},
        {"tasks_delayed_in_queue"},
        {"tasks_delayed_in_queue"},
    ),
    "attempts SELECT_ERRORS": Hot(
        attempts.SELECT_ERRORS,
        {"of_task": "task100007"},
        {"sqlite_autoindex_attempt_errors_1"},
        {"attempt_errors_pkey"},
    ),
    "attempts SELECT_OUTPUT": Hot(
        attempts.SELECT_OUTPUT,
        {"of_task": "task100007"},
        {"sqlite_autoindex_task_outputs_1"},
        {"task_outputs_pkey"},
    ),
    "attempts DELETE_ERRORS": Hot(
        expiry.DELETE_ERRORS,
        {"ids": IDS},
        {"sqlite_autoindex_attempt_errors_1"},
        {"attempt_errors_pkey"},
        sorts=True,
    ),
    "attempts DELETE_OUTPUTS": Hot(
        expiry.DELETE_OUTPUTS,
        {"ids": IDS},
        {"sqlite_autoindex_task_outputs_1"},
        {"task_outputs_pkey"},
        sorts=True,
    ),
    "CLAIMS_OVERDUE": Hot(vitals.CLAIMS_OVERDUE, EXPIRED, {"tasks_running"}, {"tasks_running"}),
    "DEADLINES_OVERDUE": Hot(vitals.DEADLINES_OVERDUE, EXPIRED, {"tasks_unresolved"}, {"tasks_unresolved"}),
    "PICK_EXPIRED": Hot(claims.PICK_EXPIRED, DUE, {"tasks_running"}, {"tasks_running"}),
    "PICK_PAST_DEADLINE": Hot(claims.PICK_PAST_DEADLINE, DUE, {"tasks_unresolved"}, {"tasks_unresolved"}),
    "NEXT_EXPIRING": Hot(claims.NEXT_EXPIRING, {"now": NOW}, {"tasks_running"}, {"tasks_running"}),
    "NEXT_DEADLINE": Hot(claims.NEXT_DEADLINE, {}, {"tasks_unresolved"}, {"tasks_unresolved"}),
    "LOCK_TASKS": Hot(
        tasks.LOCK_TASKS, {"ids": IDS}, {"sqlite_autoindex_tasks_1"}, {"tasks_pkey"}, sorts=True
    ),
    "SHARE_TASKS": Hot(
        tasks.SHARE_TASKS, {"ids": IDS}, {"sqlite_autoindex_tasks_1"}, {"tasks_pkey"}, sorts=True
    ),
    "SELECT_DEFINITIONS": Hot(
        tasks.SELECT_DEFINITIONS,
        {"ids": IDS},
        {"sqlite_autoindex_task_definitions_1"},
        {"task_definitions_pkey"},
    ),
    "search BY_ID": Hot(
        search.BY_ID,
        {"task_id": "task100007", "wanted": 1000},
        {"sqlite_autoindex_tasks_1"},
        {"tasks_pkey"},
    ),
    "search BY_ID_DOWN": Hot(
        search.BY_ID_DOWN,
        {"task_id": "task100007", "wanted": 1000},
        {"sqlite_autoindex_tasks_1"},
        {"tasks_pkey"},
    ),
    "search BY_TIME": Hot(search.BY_TIME, PLACE_IN_STATE, {"tasks_since"}, {"tasks_since"}),
    "search BY_TIME_DOWN": Hot(search.BY_TIME_DOWN, PLACE_IN_STATE, {"tasks_since"}, {"tasks_since"}),
    "search THESE": Hot(search.THESE, {"ids": IDS}, {"sqlite_autoindex_tasks_1"}, {"tasks_pkey"}),
    "deletion EXPIRE_ARTIFACTS": Hot(
        deletion.EXPIRE_ARTIFACTS,
        {"ids": IDS},
        {"sqlite_autoindex_artifacts_1"},
        {"artifacts_pkey"},
        sorts=True,
    ),
    "deletion DELETE_EDGES": Hot(
        deletion.DELETE_EDGES,
        {"edges": '[{"required": "task100007", "dependent": "task100014"}]'},
        {"sqlite_autoindex_task_dependencies_1"},
        {"task_dependencies_pkey"},
        sorts=True,
    ),
    "uniqueness HOLDERS": Hot(
        uniqueness.HOLDERS,
        {"keys": '[{"wanted": "key40", "project": "none"}]'},
        {"tasks_unique"},
        {"tasks_unique"},
    ),
    "uniqueness LET_GO": Hot(
        uniqueness.LET_GO, {"ids": IDS, "now": NOW}, {"sqlite_autoindex_tasks_1"}, {"tasks_pkey"}, sorts=True
    ),
    "uniqueness DUE": Hot(
        uniqueness.DUE, {"now": NOW, "wanted": 100}, {"tasks_letting_go"}, {"tasks_letting_go"}
    ),
    "SAVE_TASKS": Hot(tasks.SAVE_TASKS, {"changed": CHANGED}, {"sqlite_autoindex_tasks_1"}, {"tasks_pkey"}),
    "NEXT_BATCH": Hot(outbox.NEXT_BATCH, {"wanted": 500}, {"outbox_lanes"}, {"outbox_lanes"}),
    "NEXT_SET_ASIDE": Hot(outbox.NEXT_SET_ASIDE, {"wanted": 500}, {"outbox_lanes"}, {"outbox_lanes"}),
    "BARRED in the outbox": Hot(
        outbox.BARRED,
        {"wanting": '[{"id": 900, "order_key": "task100007", "exclusive": 1}]', "present": '[{"id": 7}]'},
        {"sqlite_autoindex_outbox_barriers_1"},
        {"outbox_barriers_pkey"},
    ),
    "SET_ASIDE in the outbox": Hot(
        outbox.SET_ASIDE, {"refused": '[{"id": 7}]', "at": 1}, {"outbox key"}, {"outbox_pkey"}, sorts=True
    ),
    "DELETE_BARRIERS": Hot(
        outbox.DELETE_BARRIERS,
        {"confirmed": '[{"id": 7}]'},
        {"outbox_barriers_of_row"},
        {"outbox_barriers_of_row"},
    ),
    "DEPTH of the outbox": Hot(outbox.DEPTH, {}, {"outbox_lanes"}, {"outbox_pkey"}),
    "SPAN of the outbox": Hot(outbox.SPAN, {}, {"outbox key"}, {"outbox_pkey"}),
    "OLDEST in the outbox": Hot(outbox.OLDEST, {}, set(), {"outbox_pkey"}, in_order_of="outbox"),
    "DELETE from the outbox": Hot(
        outbox.DELETE, {"confirmed": '[{"id": 7}]'}, {"outbox key"}, {"outbox_pkey"}
    ),
    "NEXT_RESOLUTIONS": Hot(
        dependencies.NEXT_RESOLUTIONS,
        {"wanted": 100},
        {"sqlite_autoindex_tasks_1"},
        {"resolutions_pkey", "tasks_pkey"},
        in_order_of="resolutions",
    ),
    "WAITING": Hot(
        dependencies.WAITING,
        {"ended": '[{"required_task_id": "task100007", "requires": "all-completed"}]', "wanted": 1000},
        {"sqlite_autoindex_task_dependencies_1"},
        {"task_dependencies_pkey"},
    ),
    "SATISFY": Hot(
        dependencies.SATISFY,
        {"pairs": EDGES},
        {"sqlite_autoindex_task_dependencies_1"},
        {"task_dependencies_pkey"},
    ),
    "FREE": Hot(
        dependencies.FREE,
        {"dependents": '[{"dependent_task_id": "task100014"}]'},
        {"task_dependencies_unsatisfied"},
        {"task_dependencies_unsatisfied"},
    ),
    "RESOLVED_GROUPS": Hot(
        groups.RESOLVED_GROUPS,
        {"ids": '[{"task_group_id": "group100007"}]'},
        {"sqlite_autoindex_task_groups_1", "tasks_group_open"},
        {"task_groups_pkey", "tasks_group_open"},
        sorts=True,
    ),
    "GROUP_MEMBERS": Hot(
        listing.GROUP_MEMBERS,
        {"task_group_id": "group100007", "after": "task100050", "wanted": 1000},
        {"tasks_group"},
        {"tasks_group"},
    ),
    "DEPENDENTS": Hot(
        listing.DEPENDENTS,
        {"required_task_id": "task100007", "now": NOW, "after": "", "wanted": 1000},
        {"sqlite_autoindex_task_dependencies_1"},
        {"task_dependencies_pkey"},
    ),
    "COUNT_PENDING": Hot(
        backlog.COUNT_PENDING,
        OF_QUEUE,
        {"tasks_pending", "tasks_in_lanes"},
        {"tasks_pending", "tasks_in_lanes"},
    ),
    "COUNT_CLAIMED": Hot(backlog.COUNT_CLAIMED, OF_QUEUE, {"tasks_claimed"}, {"tasks_claimed"}),
    "LIST_PENDING": Hot(
        backlog.LIST_PENDING,
        PLACE,
        {"tasks_pending", "tasks_in_lanes"},
        {"tasks_pending", "tasks_in_lanes"},
        sorts=True,
    ),
    "PICK_HELD": Hot(
        backlog.PICK_HELD,
        {"task_queue_id": "prov/type3", "worker": "group/worker7", "wanted": 100},
        {"tasks_claimed"},
        {"tasks_claimed"},
        sorts=True,
    ),
    "NOTE_QUEUES": Hot(workers.NOTE_QUEUES, {"given": SEEN_QUEUE}, set(), set(), sorts=True),
    "SELECT_QUEUE": Hot(
        workers.SELECT_QUEUE, OF_QUEUE, {"sqlite_autoindex_task_queues_1"}, {"task_queues_pkey"}
    ),
    "LIST_QUEUES": Hot(
        workers.LIST_QUEUES, WORKERS_PAGE, {"sqlite_autoindex_task_queues_1"}, {"task_queues_pkey"}
    ),
    "LIST_QUEUES_OF_PROVISIONER": Hot(
        workers.LIST_QUEUES_OF_PROVISIONER,
        {**WORKERS_PAGE, "provisioner_id": "prov3"},
        {"task_queues_provisioner"},
        {"task_queues_provisioner"},
        sorts=True,
    ),
    "SELECT_PROVISIONER": Hot(
        workers.SELECT_PROVISIONER,
        {"now": NOW, "provisioner_id": "prov3"},
        {"task_queues_provisioner"},
        {"task_queues_provisioner"},
    ),
    "LOCK_WORKERS": Hot(
        workers.LOCK_WORKERS,
        {"keys": WORKER},
        {"sqlite_autoindex_workers_1"},
        {"workers_pkey"},
        sorts=True,
    ),
    "SAVE_WORKERS": Hot(
        workers.SAVE_WORKERS, {"saved": WORKER}, {"sqlite_autoindex_workers_1"}, {"workers_pkey"}
    ),
    "LIST_WORKERS": Hot(
        workers.LIST_WORKERS,
        {**OF_QUEUE, "after_group": "group", "after_id": "worker7", "wanted": 1000},
        {"sqlite_autoindex_workers_1"},
        {"workers_pkey"},
    ),
    "QUARANTINED": Hot(workers.QUARANTINED, {"now": NOW}, {"workers_quarantined"}, {"workers_quarantined"}),
    "EXPIRED_QUEUES": Hot(
        workers.EXPIRED_QUEUES, EXPIRED, {"ix_task_queues_expires"}, {"ix_task_queues_expires"}
    ),
    "EXPIRED_WORKERS": Hot(
        workers.EXPIRED_WORKERS,
        {**EXPIRED, "now": NOW},
        {"ix_workers_expires"},
        {"ix_workers_expires"},
    ),
    "DELETE_WORKERS": Hot(
        workers.DELETE_WORKERS, {"keys": WORKER}, {"sqlite_autoindex_workers_1"}, {"workers_pkey"}, sorts=True
    ),
    "access.STATE": Hot(access.STATE, {}, {"sqlite_autoindex_access_state_1"}, {"access_state_pkey"}),
    "clients.SELECT": Hot(
        clients.SELECT, {"of_client": "client/7"}, {"sqlite_autoindex_clients_1"}, {"clients_pkey"}
    ),
    "clients.PAGE": Hot(
        clients.PAGE,
        {"after": "client/4", "first": "client/", "end": "client0", "wanted": 1001},
        {"sqlite_autoindex_clients_1"},
        {"clients_pkey"},
    ),
    "clients.USED": Hot(
        clients.USED,
        {"of_client": "client/7", "now": NOW, "before": NOW},
        {"sqlite_autoindex_clients_1"},
        {"clients_pkey"},
    ),
    "clients.EXPIRED": Hot(clients.EXPIRED, EXPIRED, {"clients_expires"}, {"clients_expires"}),
    "roles.SELECT": Hot(roles.SELECT, {"of_role": "role/7"}, {"sqlite_autoindex_roles_1"}, {"roles_pkey"}),
    "roles.PAGE": Hot(
        roles.PAGE, {"after": "role/4", "wanted": 1001}, {"sqlite_autoindex_roles_1"}, {"roles_pkey"}
    ),
    "EXPIRED_TASKS": Hot(
        expiry.EXPIRED_TASKS,
        EXPIRED,
        {"tasks_expires", "sqlite_autoindex_artifacts_1"},
        {"tasks_expires", "artifacts_pkey"},
    ),
    "SELECT_ARTIFACTS": Hot(
        artifacts.SELECT_ARTIFACTS,
        {"keys": ARTIFACT},
        {"sqlite_autoindex_artifacts_1"},
        {"artifacts_pkey"},
        sorts=True,
    ),
    "LOCK_ARTIFACTS": Hot(
        artifacts.LOCK_ARTIFACTS,
        {"keys": ARTIFACT},
        {"sqlite_autoindex_artifacts_1"},
        {"artifacts_pkey"},
        sorts=True,
    ),
    "LIST_ARTIFACTS": Hot(
        artifacts.LIST_ARTIFACTS,
        {"task_id": "task100007", "run_id": 0, "after": "public/", "wanted": 1000},
        {"sqlite_autoindex_artifacts_1"},
        {"artifacts_pkey"},
    ),
    "MARK_PRESENT": Hot(
        artifacts.MARK_PRESENT,
        {"keys": ARTIFACT, "present": 1},
        {"sqlite_autoindex_artifacts_1"},
        {"artifacts_pkey"},
    ),
    "EXPIRED_ARTIFACTS": Hot(
        artifacts.EXPIRED_ARTIFACTS, EXPIRED, {"ix_artifacts_expires"}, {"ix_artifacts_expires"}
    ),
    "DELETE_ARTIFACTS": Hot(
        artifacts.DELETE_ARTIFACTS,
        {"keys": ARTIFACT},
        {"sqlite_autoindex_artifacts_1"},
        {"artifacts_pkey"},
        sorts=True,
    ),
    "LOCK_OBJECTS": Hot(
        objects.LOCK_OBJECTS,
        {"names": '[{"name": "t/task100007/0/a"}]'},
        {"sqlite_autoindex_objects_1"},
        {"objects_pkey"},
        sorts=True,
    ),
    "EXPIRED_OBJECTS": Hot(
        objects.EXPIRED_OBJECTS, EXPIRED, {"ix_objects_kept_until"}, {"ix_objects_kept_until"}
    ),
    "DELETE_OBJECTS": Hot(
        objects.DELETE_OBJECTS,
        {"names": '[{"name": "t/task100007/0/a"}]'},
        {"sqlite_autoindex_objects_1"},
        {"objects_pkey"},
        sorts=True,
    ),
    "DUE blobs": Hot(blob_deletions.DUE, DUE, {"ix_blob_deletions_due"}, {"ix_blob_deletions_due"}),
    "NEXT_DUE blob": Hot(blob_deletions.NEXT_DUE, {}, {"ix_blob_deletions_due"}, {"ix_blob_deletions_due"}),
    "DELETE blobs": Hot(
        blob_deletions.DELETE,
        {"keys": '[{"key": "private/100007"}]'},
        {"sqlite_autoindex_blob_deletions_1"},
        {"blob_deletions_pkey"},
        sorts=True,
    ),
    "NEXT_EXPIRY": Hot(expiry.NEXT_EXPIRY, {}, {"tasks_expires"}, {"tasks_expires"}),
    "index INSERT": Hot(
        index.INSERT,
        {"given": INDEXED, "now": NOW},
        set(),
        set(),
        sorts=True,
    ),
    "index ENSURE_NAMESPACES": Hot(
        index.ENSURE_NAMESPACES,
        {"needed": NEEDED},
        {"sqlite_autoindex_index_namespaces_1"},
        {"index_namespaces_pkey"},
        sorts=True,
    ),
    "index FIND": Hot(
        index.FIND,
        {
            "places": '[{"namespace": "top7.x107", "name": "task100107"}]',
            "now": NOW,
            "after_namespace": "",
            "after": "",
            "wanted": 1001,
        },
        {"sqlite_autoindex_indexed_tasks_1"},
        {"indexed_tasks_pkey"},
        sorts=True,
    ),
    "index TASKS_IN": Hot(
        index.TASKS_IN,
        {"namespace": "top7.x107", "now": NOW, "after": "", "wanted": 1001},
        {"sqlite_autoindex_indexed_tasks_1"},
        {"indexed_tasks_pkey"},
    ),
    "index NAMESPACES_IN": Hot(
        index.NAMESPACES_IN,
        {"parent": "top7", "now": NOW, "after": "x1", "wanted": 101},
        {"sqlite_autoindex_index_namespaces_1"},
        {"index_namespaces_pkey"},
    ),
    "index REMOVE": Hot(
        index.REMOVE,
        {"namespace": "top7.x107", "name": "task100107"},
        {"sqlite_autoindex_indexed_tasks_1"},
        {"indexed_tasks_pkey"},
    ),
    "index EXPIRED_TASKS": Hot(
        index.EXPIRED_TASKS, EXPIRED, {"ix_indexed_tasks_expires"}, {"ix_indexed_tasks_expires"}
    ),
    "index DELETE_TASKS": Hot(
        index.DELETE_TASKS,
        {"places": '[{"namespace": "top7.x107", "name": "task100107"}]'},
        {"sqlite_autoindex_indexed_tasks_1"},
        {"indexed_tasks_pkey"},
        sorts=True,
    ),
    "index EXPIRED_NAMESPACES": Hot(
        index.EXPIRED_NAMESPACES, EXPIRED, {"ix_index_namespaces_expires"}, {"ix_index_namespaces_expires"}
    ),
    "index DELETE_NAMESPACES": Hot(
        index.DELETE_NAMESPACES,
        {"places": '[{"namespace": "top7", "name": "x107"}]'},
        {"sqlite_autoindex_index_namespaces_1"},
        {"index_namespaces_pkey"},
        sorts=True,
    ),
    "purge_cache OF_POOL": Hot(
        purge_cache.OF_POOL,
        {"worker_pool_id": "prov/type7", "since": NOW, "now": NOW},
        {"sqlite_autoindex_purge_requests_1"},
        {"purge_requests_pkey"},
    ),
    "purge_cache EVERY": Hot(
        purge_cache.EVERY,
        {"after_pool": "", "after_cache": "", "wanted": 1001, "now": NOW},
        {"sqlite_autoindex_purge_requests_1"},
        {"purge_requests_pkey"},
    ),
    "purge_cache EXPIRED": Hot(
        purge_cache.EXPIRED, EXPIRED, {"ix_purge_requests_expires"}, {"ix_purge_requests_expires"}
    ),
    "purge_cache DELETE": Hot(
        purge_cache.DELETE,
        {"keys": '[{"worker_pool_id": "prov/type7", "cache_name": "cache147"}]'},
        {"sqlite_autoindex_purge_requests_1"},
        {"purge_requests_pkey"},
        sorts=True,
    ),
}


def filling(dialect: str) -> list[str]:
    return filling_of(dialect, ROWS)


@pytest.mark.parametrize("name", HOT)
async def test_sqlite_uses_the_index(filled_sqlite: Database, name: str) -> None:
    await check_sqlite(filled_sqlite, HOT[name])


@pytest.mark.parametrize("kind", ["custom", "generic"])
@pytest.mark.parametrize("name", HOT)
async def test_postgres_uses_the_index(filled_postgres: Database, name: str, kind: PlanKind) -> None:
    await check_postgres(filled_postgres, HOT[name], kind)

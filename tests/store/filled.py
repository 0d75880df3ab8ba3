"""Databases with as many rows as a busy service has, so that the planners choose as they would there.

PostgreSQL takes a list of rows in a parameter for a hundred rows. So it reads a table of a few thousand rows
as a whole, and rightly; from some ten thousand rows on it has to use the index.
"""

from typing import Final

TASKS: Final = 40_000
"""Of ten tasks one is unscheduled, two are pending (one in twenty delayed), one runs, six are completed."""

_TASKS = """
    SELECT 'task' || CAST(100000 + n AS TEXT), 1,
        CASE n % 10 WHEN 0 THEN 'unscheduled' WHEN 1 THEN 'pending' WHEN 2 THEN 'pending'
            WHEN 3 THEN 'running' ELSE 'completed' END,
        'prov/type' || CAST(n / 10 % 20 AS TEXT), 'sched', 'none', 'group' || CAST(100000 + n / 8 AS TEXT),
        n % 7, 1714564800000000 + n, CASE WHEN n % 10 = 3 THEN 1714564800000 + n END,
        1714564800000 + n * 1000, 1714564800000 + n * 10000, 'all-completed', 5, 5,
        CASE WHEN n % 10 > 3 THEN 1 ELSE 0 END, 0, '[]', '{"kind":"build"}',
        '[{"runId":0,"state":"pending","reasonCreated":"scheduled","scheduled":"2024-05-01T12:00:00.000Z"}]',
        CASE WHEN n % 10 = 3 THEN 'group/worker' || CAST(n / 10 % 500 AS TEXT) END,
        CASE WHEN n % 100 = 1 THEN 1714564800000 + n * 1000 END, CAST(NULL AS TEXT),
        CASE WHEN n % 10 = 2 THEN 'lane' || CAST(n / 200 % 50 AS TEXT) ELSE '' END,
        CASE WHEN n % 20 = 0 THEN 'key' || CAST(n AS TEXT) END,
        CASE WHEN n % 40 = 0 THEN 1714564800000 + n END, 1714564800000 + n
    FROM numbers
"""
ROWS: Final = {
    "tasks": (TASKS, _TASKS),
    "task_definitions": (
        TASKS,
        'SELECT \'task\' || CAST(100000 + n AS TEXT), \'{"payload":{"command":["true"]}}\' FROM numbers',
    ),
    "attempt_errors": (
        40_000,
        "SELECT 'task' || CAST(100000 + n / 4 AS TEXT), n % 4, '{\"error\":\"it broke\"}' FROM numbers",
    ),
    "task_outputs": (40_000, "SELECT 'task' || CAST(100000 + n AS TEXT), '1' FROM numbers"),
    "task_groups": (
        50_000,
        "SELECT 'group' || CAST(100000 + n AS TEXT), 'sched', 1714564800000 + n, CAST(NULL AS BIGINT)"
        " FROM numbers",
    ),
    "task_dependencies": (
        60_000,
        "SELECT 'task' || CAST(100000 + n / 2 AS TEXT), 'task' || CAST(100000 + n AS TEXT), 'all-completed',"
        " CASE WHEN n % 5 < 4 THEN 0 ELSE 1 END, 1714564800000 + n FROM numbers",
    ),
    "task_queues": (
        20_000,
        "SELECT 'prov' || CAST(n % 20 AS TEXT) || '/type' || CAST(n AS TEXT), 'prov' || CAST(n % 20 AS TEXT),"
        " 1714564800000 + n, 1714564800000 + n * 1000, CAST(NULL AS BIGINT), CAST(NULL AS TEXT) FROM numbers",
    ),
    "task_lanes": (
        20_000,
        "SELECT 'prov/type' || CAST(n % 20 AS TEXT), 'lane' || CAST(n AS TEXT), n % 7, 1714564800000000 + n,"
        " CASE WHEN n % 2 = 0 THEN 0 ELSE 1714564800000 + n * 1000 END FROM numbers",
    ),
    "run_slots": (
        40_000,
        "SELECT 'prov/type' || CAST(n % 20 AS TEXT), 'bucket' || CAST(n / 20 AS TEXT),"
        " 'task' || CAST(100000 + n AS TEXT) FROM numbers",
    ),
    "rate_buckets": (
        20_000,
        "SELECT 'prov/type' || CAST(n % 20 AS TEXT), 'bucket' || CAST(n AS TEXT), 1000, 1714564800000,"
        " 1714564800000 + n FROM numbers",
    ),
    "workers": (
        40_000,
        "SELECT 'prov/type' || CAST(n % 20 AS TEXT), 'group', 'worker' || CAST(n AS TEXT),"
        " 1714564800000, 1714564800000 + n, 1714564800000 + n * 1000, '[]',"
        " CASE WHEN n % 100 = 0 THEN 1714564800000 + n END, '[]' FROM numbers",
    ),
    "indexed_tasks": (
        40_000,
        "SELECT 'top' || CAST(n % 20 AS TEXT) || '.x' || CAST(n / 10 AS TEXT),"
        " 'task' || CAST(100000 + n AS TEXT), 'task' || CAST(100000 + n AS TEXT), n, '{}',"
        " 1714564800000 + n * 1000 FROM numbers",
    ),
    "index_namespaces": (
        40_000,
        "SELECT 'top' || CAST(n % 20 AS TEXT), 'x' || CAST(n AS TEXT), 1714564800000 + n * 1000 FROM numbers",
    ),
    "purge_requests": (
        20_000,
        "SELECT 'prov/type' || CAST(n / 20 AS TEXT), 'cache' || CAST(n AS TEXT), 1714564800000 + n,"
        " 1714651200000 + n FROM numbers",
    ),
    "access_state": (1, "SELECT 1, 1, 1714564800000 FROM numbers"),
    "clients": (
        40_000,
        "SELECT 'client/' || CAST(n AS TEXT), 'd', '[]', 't', 'k', 1714564800000 + n, 1, 1, 1, 1, 0,"
        " CASE WHEN n % 10 = 0 THEN 1 ELSE 0 END FROM numbers",
    ),
    "roles": (40_000, "SELECT 'role/' || CAST(n AS TEXT), '[]', 'd', 1, 1 FROM numbers"),
    "resolutions": (
        5000,
        "SELECT n, 'task' || CAST(100000 + n AS TEXT), 'completed', 'group' || CAST(100000 + n / 8 AS TEXT)"
        " FROM numbers",
    ),
    "outbox": (
        50_000,
        "SELECT n, 'exchange/x', 'primary.key', '[]', '[\"task\"]', '{\"version\":1}', 0,"
        " CASE WHEN n % 5 = 0 THEN n ELSE 0 END, CAST(NULL AS TEXT) FROM numbers",
    ),
    "outbox_barriers": (
        20_000,
        "SELECT 'task' || CAST(100000 + n / 20 AS TEXT), n % 2, n * 5 / 2 FROM numbers",
    ),
    "artifacts": (
        60_000,
        "SELECT 'task' || CAST(100000 + n / 4 AS TEXT), 0, 'public/file' || CAST(n % 4 AS TEXT), 's3',"
        ' \'{"key":"private/a","uploadUntil":1}\', \'text/plain\', CAST(NULL AS BIGINT), 1714564800000 + n, 1'
        " FROM numbers",
    ),
    "objects": (
        50_000,
        "SELECT 't/task' || CAST(100000 + n AS TEXT) || '/0/a', 'none', 'id', 1714564800000 + n, 'private/a',"
        " 1714564800000, 1714564800000 + n, '{}', 1 FROM numbers",
    ),
    "blob_deletions": (
        50_000,
        "SELECT 'private/' || CAST(100000 + n AS TEXT), 1714564800000 + n FROM numbers",
    ),
}

"""A listener's program stays light."""

import json
import subprocess
import sys

HEAVY = {"sqlalchemy", "fastapi", "queue_service", "taskbus", "aiosqlite", "asyncpg", "uvicorn"}


def test_importing_events_loads_nothing_of_the_server() -> None:
    script = (
        "import sys, json, events, events.publisher, events.testing; print(json.dumps(list(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not HEAVY & {name.partition(".")[0] for name in json.loads(loaded.stdout)}

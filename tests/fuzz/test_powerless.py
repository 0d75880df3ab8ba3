"""Whoever has no scope for it changes nothing, whatever is asked of which service."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from queue_service.store.tables import metadata
from taskbus import Credentials
from tests.clients.deployment import ROOT_CLIENT_ID, ROOT_TOKEN, deployed
from tests.fuzz.caller import Caller
from tests.fuzz.known import Known
from tests.fuzz.run import Run

pytestmark = pytest.mark.e2e

SEED: Final = 3
REQUESTS: Final = 200
PASSING: Final = {"outbox", "leases"}
"""Tables that change by themselves."""


def stored(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables; when a client was last used does not count."""
    rows: dict[str, list[tuple[Any, ...]]] = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for table in metadata.sorted_tables:
            if table.name not in PASSING:
                columns = ", ".join(column.name for column in table.columns if "used" not in column.name)
                found = connection.execute(f"SELECT {columns} FROM {table.name}")
                rows[table.name] = sorted(found, key=repr)
    return rows


def settled(database: Path, root: Caller) -> dict[str, list[tuple[Any, ...]]]:
    """The rows once everything has followed from the tasks that ended."""
    while (rows := stored(database))["resolutions"]:
        root.call("GET", "/api/queue/v1/ping")
    return rows


def narrow(root: Caller) -> Credentials:
    """A client whose scopes allow nothing of what is asked."""
    body = {
        "expires": "2090-01-01T00:00:00.000Z",
        "description": "",
        "scopes": ["queue:get-task:none", "x:*"],
    }
    return Credentials("narrow", root.call("PUT", "/api/auth/v1/clients/narrow", body)["accessToken"])


def test_callers_without_scopes_change_nothing(tmp_path: Path) -> None:
    with deployed(tmp_path, long_poll="0.05") as service:
        root = Caller(service.root_url, Credentials(ROOT_CLIENT_ID, ROOT_TOKEN))
        callers = [Caller(service.root_url), Caller(service.root_url, narrow(root))]
        furnished = Known(SEED)
        furnished.furnish(root)
        document = root.call("GET", "/openapi.json")
        before = settled(tmp_path / "taskbus.sqlite", root)
        for number, caller in enumerate(callers):
            run = Run(caller, REQUESTS, SEED + number, lambda known: known.copy(furnished), blobs=False)
            report = run.run(document, per_round=1)
            assert stored(tmp_path / "taskbus.sqlite") == before
            assert report.statuses[403] > REQUESTS / 3, report
        assert "Traceback" not in service.log.read_text()

"""Real task definitions (``tests/data``), dated by the clock of a test."""

import copy
import json
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from schemas.times import format_time

DATA: Final = Path(__file__).parents[1] / "data"

Kind = Literal["build", "test", "decision"]
QUEUES: Final[dict[Kind, str]] = {
    "build": "taskbus-ci/b-linux-medium",
    "test": "taskbus-ci/t-linux-large",
    "decision": "taskbus-ci/decision",
}
"""The task queue of each kind."""


@cache
def _loaded(kind: Kind) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / f"{kind}-task.json").read_text(encoding="utf-8"))
    return loaded


def definition(now: datetime, kind: Kind = "build", **members: Any) -> dict[str, Any]:
    """A task as its creator sends it: created now, due in two hours; a member given as None is left out."""
    body = {
        **copy.deepcopy(_loaded(kind)),
        "created": format_time(now),
        "deadline": format_time(now + timedelta(hours=2)),
        **{
            name: format_time(value) if isinstance(value, datetime) else value
            for name, value in members.items()
        },
    }
    return {name: value for name, value in body.items() if value is not None}

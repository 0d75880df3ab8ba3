"""What tasks leave behind for later tasks: one JSON file each, there as a whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def write_result(directory: Path, name: str, result: Result) -> None:
    """Write the result of one task. A retried task overwrites what an earlier run of it left."""
    unfinished = directory / f"{name}.{os.getpid()}.unfinished"
    unfinished.write_text(json.dumps(result), encoding="utf-8")
    unfinished.replace(directory / f"{name}.json")


def read_results(directory: Path) -> list[Result]:
    """All results, by name."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(directory.glob("*.json"))]

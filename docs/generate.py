"""The generated parts of the documentation: ``python docs/generate.py`` writes them, ``--check`` compares."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import events.reference as events
from queue_service import reference
from schemas import export

ROOT: Final = Path(__file__).parent.parent

GENERATED: Final[dict[str, Callable[[], dict[str, str]]]] = {
    "docs/reference": lambda: {**reference.files(), "events.md": events.markdown()},
    "docs/reference/schemas": export.files,
}
"""Each folder that holds nothing but generated files, and what makes their texts by name."""


def stale(root: Path) -> dict[Path, str | None]:
    """The files that are not as they should be, with the text they should have (None: they should not be)."""
    found: dict[Path, str | None] = {}
    for folder, generate in GENERATED.items():
        wanted = {root / folder / name: text for name, text in generate().items()}
        present = {path for path in (root / folder).glob("*") if path.is_file()}
        found |= dict.fromkeys(present - wanted.keys())
        found |= {
            path: text
            for path, text in wanted.items()
            if path not in present or path.read_text(encoding="utf-8") != text
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a file is stale")
    check = parser.parse_args().check
    changes = stale(ROOT)
    if check and changes:
        names = "\n".join(f"  {path.relative_to(ROOT)}" for path in sorted(changes))
        sys.exit(f"stale, run make generate:\n{names}")
    for path, text in changes.items():
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Rules for the tests themselves that a tool can check."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent

MAY_SLEEP: Final = {
    "servers/processes.py": "asks a starting server again until it answers: it announces nothing",
    "simulation/test_mutants.py": "its clock is the simulated one, which jumps",
}
"""Files below tests/ that may wait by the clock, and why. So may those that watch real processes."""
WATCH_PROCESSES: Final = ("e2e/", "chaos/")


def sleeps(source: str) -> Iterator[int]:
    """The lines that call a sleep with anything but a literal zero (``sleep(0)`` only yields)."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(attr="sleep") | ast.Name(id="sleep"):
                match [*node.args, *(keyword.value for keyword in node.keywords)]:
                    case [ast.Constant(value=0), *_]:
                        pass
                    case _:
                        yield node.lineno


def test_tests_wait_for_signals_and_not_by_the_clock() -> None:
    found = [
        f"tests/{name}:{line}"
        for path in sorted(TESTS.rglob("*.py"))
        if (name := path.relative_to(TESTS).as_posix()) not in MAY_SLEEP
        and not name.startswith(WATCH_PROCESSES)
        for line in sleeps(path.read_text(encoding="utf-8"))
    ]
    assert not found, "await an event or advance the clock instead of sleeping: " + ", ".join(found)


def test_a_file_that_may_sleep_does() -> None:
    assert all(list(sleeps((TESTS / name).read_text(encoding="utf-8"))) for name in MAY_SLEEP)


def test_a_sleep_is_found_however_it_is_imported() -> None:
    source = "\n".join(
        ["time.sleep(1)", "await_(asyncio.sleep(0.1))", "sleep(delay)", "asyncio.sleep(0)", "sleep(delay=2)"]
    )
    assert sorted(sleeps(source)) == [1, 2, 3, 5]

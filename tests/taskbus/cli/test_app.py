"""The commands as a whole."""

import subprocess
import sys

import pytest

from taskbus.cli.app import MODULES
from tests.taskbus.cli.conftest import Run


def test_help_lists_every_command(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert set(MODULES) <= {line.split()[0] for line in result.stdout.splitlines() if line.strip()}


@pytest.mark.parametrize(
    "command",
    [[name] for name in MODULES]
    + [["task", name] for name in ("create", "status", "cancel", "rerun", "schedule", "list")]
    + [
        ["client", name]
        for name in ("create", "list", "show", "update", "reset", "enable", "disable", "delete")
    ]
    + [["role", name] for name in ("create", "list", "show", "update", "delete")]
    + [["scopes", name] for name in ("current", "expand")]
    + [["artifact", name] for name in ("list", "get", "put", "url")]
    + [
        ["queue", name]
        for name in ("list", "counts", "pending", "claimed", "workers", "worker", "quarantine")
    ]
    + [["index", name] for name in ("find", "list", "insert")],
    ids=" ".join,
)
def test_every_command_explains_itself(run: Run, command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: taskbus {' '.join(command)} ")


def test_the_version_is_printed(run: Run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("taskbus ")


def test_an_unknown_command_ends_with_status_2(run: Run) -> None:
    result = run("nope")
    assert result.exit_code == 2
    assert "No such command 'nope'" in result.stderr


def test_the_package_can_be_run() -> None:
    done = subprocess.run([sys.executable, "-m", "taskbus", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: taskbus ")


def test_a_reader_that_has_seen_enough_ends_a_command_quietly() -> None:
    program = (
        "from taskbus.cli.console import run\n"
        "async def write():\n"
        "    while True:\n"
        "        print('x' * 1000, flush=True)\n"
        "run(write())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert "BrokenPipe" not in errors

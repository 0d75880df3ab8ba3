"""``make demo`` as its user runs it: it succeeds, and leaves no process behind however it ends."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watches processes as Linux does"),
]

ROOT: Final = Path(__file__).parents[2]
DEMO: Final = (sys.executable, "-m", "examples.demo")
GONE_SECONDS: Final = 30


def environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(directory), "PYTHONUNBUFFERED": "1"}


def parents() -> dict[int, int]:
    """The parent of every process there is."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        found[int(stat.parent.name)] = int(fields[1])
    return found


def descendants(ancestor: int) -> set[int]:
    """The processes that this one started, and those that they started."""
    parent_of = parents()
    found = {ancestor}
    while more := {child for child, parent in parent_of.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


@contextmanager
def watched(processes: set[int]) -> Iterator[dict[int, int]]:
    """Handles of processes, by number; those that have ended already are left out."""
    handles = {}
    try:
        for process in processes:
            try:
                handles[process] = os.pidfd_open(process)
            except ProcessLookupError:
                continue
        yield handles
    finally:
        for handle in handles.values():
            os.close(handle)


def left_running(handles: dict[int, int]) -> set[int]:
    """Those that do not end in time."""
    left = set(handles)
    while left:
        ended, _, _ = select.select([handles[process] for process in left], [], [], GONE_SECONDS)
        if not ended:
            break
        left -= {process for process in left if handles[process] in ended}
    return left


def test_the_demo_succeeds_and_cleans_up(tmp_path: Path) -> None:
    done = subprocess.run(
        DEMO, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert "claim-expired" in done.stdout
    assert "4 test folders: 15 tests, 0 failed" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ending", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_no_process_outlives_the_demo(tmp_path: Path, ending: signal.Signals, status: int) -> None:
    with subprocess.Popen(
        DEMO, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        try:
            assert demo.stdout is not None
            next(line for line in demo.stdout if "task-running" in line)
            with watched(descendants(demo.pid)) as handles:
                assert handles
                demo.send_signal(ending)
                demo.communicate(timeout=60)
                assert demo.returncode == status
                assert not left_running(handles)
        finally:
            demo.kill()

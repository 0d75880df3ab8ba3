"""The process that outlives a worker to end what the worker left."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from taskbus.guard import Guard


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


@pytest.fixture
def group() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own that waits for input which never comes."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process
        process.kill()


def test_a_watched_group_is_killed_when_the_pipe_ends(guard: Guard, group: subprocess.Popen[bytes]) -> None:
    guard.watch(group.pid)
    guard.close()
    assert group.wait() == -signal.SIGKILL


def test_a_forgotten_group_is_left_alone(guard: Guard, group: subprocess.Popen[bytes]) -> None:
    guard.watch(group.pid)
    guard.forget(group.pid)
    guard.close()
    assert group.poll() is None


def test_a_guard_that_was_killed_is_replaced_and_told_everything(
    guard: Guard, group: subprocess.Popen[bytes]
) -> None:
    guard.watch(group.pid)
    assert guard.pid is not None
    os.kill(guard.pid, signal.SIGKILL)
    os.waitid(os.P_PID, guard.pid, os.WEXITED | os.WNOWAIT)
    with subprocess.Popen(["true"], start_new_session=True) as other:
        guard.watch(other.pid)
    guard.close()
    assert group.wait() == -signal.SIGKILL


def test_a_group_that_is_gone_already_is_no_problem(guard: Guard) -> None:
    with subprocess.Popen(["true"], start_new_session=True) as gone:
        pass
    guard.watch(gone.pid)
    guard.close()


def test_nothing_is_started_before_there_is_something_to_watch(guard: Guard) -> None:
    assert guard.pid is None
    guard.close()

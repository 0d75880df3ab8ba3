"""A SQLite file serves one process; a second one is told why it may not."""

import os
from pathlib import Path

import pytest

from queue_service.store.single_process import DatabaseInUse, SingleProcess


def test_a_second_process_is_refused_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "taskbus.db"
    with (
        SingleProcess(str(file)),
        pytest.raises(DatabaseInUse, match=rf"{file} is served by another process \(pid {os.getpid()}\)"),
        SingleProcess(str(file)),
    ):
        pass


def test_the_file_is_free_when_its_process_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with SingleProcess(str(tmp_path / "taskbus.db")):
            pass


def test_a_refused_process_does_not_take_the_lock_with_it(tmp_path: Path) -> None:
    first, second = (SingleProcess(str(tmp_path / "taskbus.db")) for _ in range(2))
    first.acquire()
    with pytest.raises(DatabaseInUse):
        second.acquire()
    second.release()
    with pytest.raises(DatabaseInUse):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_another_file_is_another_lock(tmp_path: Path) -> None:
    with SingleProcess(str(tmp_path / "one.db")), SingleProcess(str(tmp_path / "two.db")):
        pass


def test_the_folder_of_the_file_is_made(tmp_path: Path) -> None:
    with SingleProcess(str(tmp_path / "new" / "taskbus.db")):
        assert (tmp_path / "new").is_dir()

"""Blobs as files: visible only as a whole, nothing lies about for ever, and the disk is never filled."""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from queue_service.blobs.directory import Directory, DiskFull, Head, Incoming

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def head(size: int) -> Head:
    return Head(size, "text/plain", "", "etag")


def store(directory: Directory, key: str, data: bytes) -> None:
    incoming = directory.begin(key, head(len(data)))
    incoming.write(data)
    incoming.commit()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def directory(path: Path) -> Directory:
    return Directory(path)


def files(path: Path) -> list[Path]:
    return [found for found in path.rglob("*") if found.is_file()]


def leftover(path: Path, written: datetime) -> Path:
    part = path / "incoming" / "left"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"half")
    os.utime(part, (written.timestamp(), written.timestamp()))
    return part


def test_a_blob_is_readable_by_its_owner_alone(directory: Directory, path: Path) -> None:
    store(directory, "t/1", b"bytes")
    assert {found.stat().st_mode & 0o777 for found in files(path)} == {0o600}
    assert {(path / folder).stat().st_mode & 0o777 for folder in ("blobs", "incoming")} == {0o700}


def test_nothing_is_visible_before_the_end(directory: Directory) -> None:
    incoming = directory.begin("t/1", head(5))
    incoming.write(b"bytes")
    assert directory.size("t/1") is None
    incoming.commit()
    assert directory.size("t/1") == 5


def test_a_discarded_upload_leaves_no_file(directory: Directory, path: Path) -> None:
    incoming = directory.begin("t/1", head(5))
    incoming.write(b"by")
    incoming.discard()
    incoming.discard()
    assert files(path) == []


def test_a_discard_after_the_end_changes_nothing(directory: Directory) -> None:
    incoming = directory.begin("t/1", head(5))
    incoming.write(b"bytes")
    incoming.commit()
    incoming.discard()
    assert directory.size("t/1") == 5


def test_a_thread_that_comes_late_writes_nowhere(directory: Directory) -> None:
    incoming = directory.begin("t/1", head(5))
    incoming.discard()
    with pytest.raises(ValueError, match="closed"):
        incoming.write(b"bytes")


def test_fewer_bytes_than_announced_are_no_blob(directory: Directory) -> None:
    incoming = directory.begin("t/1", head(5))
    incoming.write(b"byte")
    with pytest.raises(ValueError, match="1 bytes less than announced"):
        incoming.commit()
    assert directory.size("t/1") is None


def test_more_bytes_than_announced_are_refused(directory: Directory) -> None:
    incoming = directory.begin("t/1", head(5))
    with pytest.raises(ValueError, match="2 bytes more than announced"):
        incoming.write(b"7 bytes")


def test_an_open_blob_outlives_its_replacement_and_its_deletion(directory: Directory) -> None:
    store(directory, "t/1", b"first")
    first = directory.open("t/1")
    store(directory, "t/1", b"second")
    directory.delete(["t/1"])
    assert first is not None
    assert first.read(0, 100) == b"first"
    first.close()


def test_folders_that_are_empty_go_with_the_last_blob(directory: Directory, path: Path) -> None:
    store(directory, "t/1/0/a", b"bytes")
    store(directory, "t/2/0/b", b"bytes")
    directory.delete(["t/1/0/a"])
    assert sorted(found.name for found in (path / "blobs" / "t").iterdir()) == ["2"]
    directory.delete(["t/2/0/b"])
    assert list((path / "blobs").iterdir()) == []


def test_deletions_do_not_take_the_folder_from_under_an_upload(directory: Directory) -> None:
    done = threading.Event()

    def delete() -> None:
        while not done.is_set():
            directory.delete(["t/1/a", "t/1/b"])

    deleting = threading.Thread(target=delete)
    deleting.start()
    try:
        for _ in range(100):
            store(directory, "t/1/a", b"bytes")
    finally:
        done.set()
        deleting.join()


def test_before_the_first_upload_there_is_no_directory(directory: Directory, path: Path) -> None:
    assert directory.size("t/1") is None
    directory.delete(["t/1"])
    assert directory.sweep(NOW) == 0
    assert not path.exists()


def test_a_file_that_is_no_blob_is_told(directory: Directory, path: Path) -> None:
    store(directory, "t/1", b"bytes")
    (path / "blobs" / "t" / "1.blob").write_bytes(b"something else")
    with pytest.raises(ValueError, match="is no blob"):
        directory.open("t/1")


def test_the_sweep_takes_what_a_crash_left(directory: Directory, path: Path) -> None:
    part = leftover(path, NOW - timedelta(seconds=1))
    assert directory.sweep(NOW) == 1
    assert not part.exists()


def test_the_sweep_spares_what_is_young(directory: Directory, path: Path) -> None:
    part = leftover(path, NOW)
    assert directory.sweep(NOW) == 0
    assert part.exists()


def test_the_sweep_spares_what_another_process_still_writes(directory: Directory, path: Path) -> None:
    incoming = directory.begin("t/1", head(5))
    assert directory.sweep(datetime.now(UTC) + timedelta(days=1)) == 0
    incoming.write(b"bytes")
    incoming.commit()
    assert directory.size("t/1") == 5


def test_the_sweep_spares_blobs(directory: Directory) -> None:
    store(directory, "t/1", b"bytes")
    assert directory.sweep(datetime.now(UTC) + timedelta(days=1)) == 0
    assert directory.size("t/1") == 5


def test_an_upload_that_would_eat_the_reserve_is_refused(path: Path) -> None:
    disk = os.statvfs(path.parent)
    directory = Directory(path, reserve=disk.f_blocks * disk.f_frsize)
    with pytest.raises(DiskFull):
        directory.begin("t/1", head(1))
    assert files(path) == []


def test_uploads_under_way_count_as_well(directory: Directory) -> None:
    with pytest.raises(DiskFull):
        directory.begin("t/1", head(1), others=2**62)


def test_an_upload_that_meets_the_reserve_on_its_way_is_refused(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = directory.begin("t/1", head(5))

    def full(length: int) -> None:
        raise DiskFull

    monkeypatch.setattr(directory, "require_room", full)
    with pytest.raises(DiskFull):
        incoming.write(b"bytes")
    incoming.discard()


@pytest.fixture
def full_disk(path: Path) -> Iterator[Incoming]:
    """An upload whose file is the device that is always full."""
    directory = Directory(path)
    incoming = directory.begin("t/1", head(100_000))
    os.dup2(os.open("/dev/full", os.O_WRONLY), incoming._file.fileno())
    yield incoming
    incoming.discard()


def test_a_full_disk_is_told_while_writing(full_disk: Incoming) -> None:
    with pytest.raises(DiskFull):
        full_disk.write(bytes(100_000))


def test_a_full_disk_is_told_at_the_end(directory: Directory) -> None:
    incoming = directory.begin("t/1", head(5))
    incoming.write(b"bytes")
    os.dup2(os.open("/dev/full", os.O_WRONLY), incoming._file.fileno())
    with pytest.raises(DiskFull):
        incoming.commit()
    incoming.discard()
    assert directory.size("t/1") is None


def test_another_error_of_the_disk_is_told_as_it_is(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: object, operation: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="broken"):
        directory.begin("t/1", head(5))

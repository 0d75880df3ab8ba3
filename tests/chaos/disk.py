"""Disks that are full: a small file system that can be filled, and limits on what a process may write."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MEGABYTES: Final = 128
FILLER: Final = "filler"
PIECE: Final = bytes(64 * 1024)
MOUNT_SECONDS: Final = 10.0


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Make the empty folder a file system of its own; False, and said aloud, where that is not permitted."""
    options = ["-t", "tmpfs", "-o", f"size={MEGABYTES}m"]
    try:
        subprocess.run(
            ["mount", *options, "taskbus-chaos", str(folder)],
            check=True, capture_output=True, text=True, timeout=MOUNT_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        print(f"chaos: no disk is filled, only files are limited; mount failed: {reason}", file=sys.stderr)
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=MOUNT_SECONDS)


def fill(folder: Path) -> None:
    """Leave no byte free on the disk of this folder."""
    with (folder / FILLER).open("ab", buffering=0) as filler:
        for piece in (PIECE, PIECE[:1]):
            try:
                while True:
                    filler.write(piece)
            except OSError:
                continue


def empty(folder: Path) -> None:
    """Take back :func:`fill`."""
    (folder / FILLER).unlink()


def limit_files(pid: int, size: int = resource.RLIM_INFINITY) -> None:
    """No file may be written beyond this size by the process, in bytes; the system refuses that."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def size_of(file: Path) -> int:
    """In bytes; 0 for a file that does not exist."""
    return os.path.getsize(file) if file.exists() else 0

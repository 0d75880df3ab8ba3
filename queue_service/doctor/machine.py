"""Checks of this machine: room on the disks that the service writes to, and who may read its key."""

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url

from queue_service.doctor.finding import Finding, failure, ok, size, warning
from queue_service.secret_key import key_file
from queue_service.settings import Settings
from queue_service.store.database import normal_url

LITTLE: Final = 1024**3
VERY_LITTLE: Final = 100 * 1024**2
"""A SQLite checkpoint and the journal of the broker want some megabytes at once."""


def disks(settings: Settings) -> Iterator[Finding]:
    """Room in the folders of the database, the broker's journal and the artifacts."""
    url = make_url(normal_url(settings.database_url))
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        yield _disk("disk of the database", Path(str(url.database)).parent, LITTLE)
    if not settings.amqp_url and settings.amqp_journal_file is not None:
        yield _disk("disk of the broker's journal", settings.amqp_journal_file.parent, LITTLE)
    if not settings.artifacts_s3_bucket:
        yield _disk("disk of the artifacts", settings.artifacts_path, settings.artifacts_disk_reserve)


def _disk(subject: str, folder: Path, little: int) -> Finding:
    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    says = f"{size(free)} are free in {there}"
    advice = "make room, or move it: writes fail when the disk is full"
    if free < VERY_LITTLE:
        return failure(subject, says, advice)
    if free < little:
        return warning(subject, says, f"{advice}; uploads of artifacts may be refused already (507)")
    return ok(subject, says)


def key(settings: Settings) -> Finding:
    """Whether the file of the secret key is there, and for its owner alone."""
    file = key_file(settings)
    if file is None:
        return ok("secret key", "from the settings")
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except FileNotFoundError:
        return warning(
            "secret key",
            f"there is no file {file} yet",
            "the first start makes it; if there was one, restore it before you start",
        )
    except OSError as error:
        return failure("secret key", f"{file}: {error.strerror}", "let the service's user read it")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warning("secret key", f"others may read {file} (mode {mode:03o})", f"chmod 600 {file}")
    return ok("secret key", f"in {file}, for its owner alone")

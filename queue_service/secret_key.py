"""Where the secret is that encrypts access tokens in the database: a setting, a file, or the root token.

Processes that share a database must find the same secret. So a file will do for one machine; on PostgreSQL
the root access token, which all of them are given, is enough.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

import structlog

from queue_service.settings import MIN_SECRET_KEY, Settings
from queue_service.store.database import normal_url

logger = structlog.get_logger(__name__)

POSTGRES_KEY_FILE: Final = "taskbus.key"


class NoSecretKey(Exception):
    """There is no usable secret key; the text says what to set."""


def secret_of(settings: Settings, *, make: bool = True) -> bytes:
    """The secret of these settings; a file that is missing is made, unless told otherwise.

    Raises NoSecretKey.
    """
    if settings.secret_key:
        return settings.secret_key.get_secret_value().encode()
    if _is_of_root_token(settings):
        return settings.root_access_token.get_secret_value().encode()
    file = key_file(settings)
    if file is None:
        return secrets.token_bytes(MIN_SECRET_KEY)  # the database is gone with the process, too
    try:
        if make and not file.exists():
            _make(file)
        return _read(file)
    except FileNotFoundError:
        raise NoSecretKey(f"the file of the secret key, {file}, does not exist") from None
    except OSError as error:
        raise NoSecretKey(
            f"the file of the secret key, {file}, cannot be used ({error.strerror}): "
            "set TASKBUS_SECRET_KEY_FILE or TASKBUS_SECRET_KEY"
        ) from None


def key_file(settings: Settings) -> Path | None:
    """The file that holds the secret; None when a setting does, and for a database in memory."""
    if settings.secret_key or _is_of_root_token(settings):
        return None
    if settings.secret_key_file:
        return Path(settings.secret_key_file)
    if not _is_sqlite(settings):
        return Path(POSTGRES_KEY_FILE)
    database = normal_url(settings.database_url).database
    return Path(database + ".key") if database and database != ":memory:" else None


def _is_of_root_token(settings: Settings) -> bool:
    return bool(settings.root_access_token and not settings.secret_key_file and not _is_sqlite(settings))


def _is_sqlite(settings: Settings) -> bool:
    return normal_url(settings.database_url).get_backend_name() == "sqlite"


def _read(file: Path) -> bytes:
    secret = file.read_bytes().strip()
    if len(secret) < MIN_SECRET_KEY:
        raise NoSecretKey(f"{file} does not hold a secret key: expected {MIN_SECRET_KEY} characters or more")
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("others may read the file of the secret key: chmod 600", file=str(file))
    return secret


def _make(file: Path) -> None:
    """Write a new secret: whole and on the disk before it has its name, so that no key is half or lost."""
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as opened:
            opened.write(secrets.token_urlsafe(MIN_SECRET_KEY) + "\n")
            opened.flush()
            os.fsync(descriptor)
        os.link(new, file)
    except FileExistsError:
        pass  # another process was faster
    finally:
        new.unlink()

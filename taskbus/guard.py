"""Kills what a worker's commands left running when the worker itself is killed.

A worker that gets SIGKILL cannot clean up, and the kernel's death signal reaches its direct children only,
not theirs. So each worker starts one small process, which reads from a pipe that only the worker holds open.
When the worker is gone, however that came, the pipe ends, and that process kills the groups still listed.
"""

import contextlib
import os
import signal
import subprocess
import sys
from typing import IO


class Guard:
    """The worker's side. Not for several threads."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The guarding process; None until there was something to watch."""
        return None if self._process is None else self._process.pid

    def watch(self, group: int) -> None:
        """Kill this process group if the present process dies before :meth:`forget`."""
        self._groups.add(group)
        if self._process is None:
            self._start()
        else:
            self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        """The group is gone, and its id may come to stand for another one."""
        self._groups.discard(group)
        self._tell(f"-{group}")

    def close(self) -> None:
        """End the guarding process; groups that are still watched are killed."""
        if self._process is not None:
            _pipe(self._process).close()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        # In a session of its own: a Ctrl-C at the terminal must not end it before the worker.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        for group in self._groups:
            self._tell(f"+{group}")

    def _tell(self, line: str) -> None:
        if self._process is None:
            return
        try:
            _pipe(self._process).write(line.encode() + b"\n")
        except BrokenPipeError:  # somebody ended it; a new one is told everything
            self.close()
            self._start()


def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def main() -> None:
    """The guarding process: reads ``+<group>`` and ``-<group>``, one a line, until the worker is gone."""
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()

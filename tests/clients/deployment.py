"""A secured Taskbus as a real process, for clients that know nothing but its root URL and credentials."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.processes import free_port

ROOT_CLIENT_ID: Final = "static/taskbus/root"
ROOT_TOKEN: Final = "vuOoBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA"
STOP_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Deployment:
    """Where a running service is, and who may do everything there."""

    root_url: str
    amqp_url: str
    pid: int
    log: Path

    @property
    def root(self) -> dict[str, str]:
        """Credentials as the clients' options take them."""
        return {"clientId": ROOT_CLIENT_ID, "accessToken": ROOT_TOKEN}

    @property
    def environment(self) -> dict[str, str]:
        """What every client reads."""
        return {
            "TASKCLUSTER_ROOT_URL": self.root_url,
            "TASKCLUSTER_CLIENT_ID": ROOT_CLIENT_ID,
            "TASKCLUSTER_ACCESS_TOKEN": ROOT_TOKEN,
        }


@contextmanager
def deployed(
    directory: Path, database_url: str = "", amqp_url: str = "", **further: str
) -> Iterator[Deployment]:
    """``taskbus serve`` until the end of the block: on SQLite and the built-in broker unless URLs are given.

    ``directory`` takes what the service keeps on disk, and its log; ``further`` are settings by name.
    """
    amqp_port = free_port()
    settings = {
        "TASKBUS_DATABASE_URL": database_url or f"sqlite:///{directory / 'taskbus.sqlite'}",
        "TASKBUS_AMQP_URL": amqp_url,
        "TASKBUS_AMQP_PORT": str(amqp_port),
        "TASKBUS_PORT": str(free_port()),
        "TASKBUS_ROOT_CLIENT_ID": ROOT_CLIENT_ID,
        "TASKBUS_ROOT_ACCESS_TOKEN": ROOT_TOKEN,
        "TASKBUS_ARTIFACTS_DIRECTORY": str(directory / "artifacts"),
        "TASKBUS_LONG_POLL": "1",
        **{f"TASKBUS_{name.upper()}": value for name, value in further.items()},
    }
    with (directory / "service.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "taskbus", "serve"],
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "HTTP API" in line:
                break
        else:
            raise AssertionError(f"the service did not start:\n{(directory / 'service.log').read_text()}")
        yield Deployment(
            f"http://127.0.0.1:{settings['TASKBUS_PORT']}",
            amqp_url or f"amqp://guest:guest@127.0.0.1:{amqp_port}/",
            process.pid,
            directory / "service.log",
        )
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()

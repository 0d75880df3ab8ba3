"""``python -m tests.fuzz``: schemathesis against a real, secured service, as ``make fuzz`` runs it.

On SQLite, and on the PostgreSQL database of ``TASKBUS_FUZZ_DATABASE_URL`` when that is set; what is in it is
changed.
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from taskbus import Credentials
from tests.clients.deployment import ROOT_CLIENT_ID, ROOT_TOKEN, deployed
from tests.fuzz.caller import Caller
from tests.fuzz.judge import Violation
from tests.fuzz.run import Report, Run

DATABASE_VARIABLE = "TASKBUS_FUZZ_DATABASE_URL"


def main() -> int:
    """The exit status: 1 for a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    arguments = parser.parse_args()
    urls = ["", *filter(None, [os.environ.get(DATABASE_VARIABLE)])]
    return max(_fuzz(url, arguments.requests, arguments.seed) for url in urls)


def _fuzz(database_url: str, number: int, seed: int) -> int:
    print(f"{'PostgreSQL' if database_url else 'SQLite'}: {number} requests, seed {seed}", flush=True)
    if database_url:
        command = [sys.executable, "-m", "taskbus", "migrate", "--database-url", database_url]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with (
        tempfile.TemporaryDirectory() as folder,
        deployed(Path(folder), database_url, long_poll="0.05") as service,
    ):
        caller = Caller(service.root_url, Credentials(ROOT_CLIENT_ID, ROOT_TOKEN))
        began = time.monotonic()

        def tell(report: Report) -> None:
            print(f"  {time.monotonic() - began:6.0f} s {report.requests:7} of {number} requests", flush=True)

        run = Run(caller, number, seed, lambda known: known.furnish(caller), tell=tell)
        try:
            run.run(caller.call("GET", "/openapi.json"))
        except Violation as violation:
            print(f"VIOLATION after {run.report}\n{violation}", flush=True)
            return 1
        seconds = time.monotonic() - began
        _, traceback, further = service.log.read_text().partition("Traceback")
    print(f"  {run.report}\n  {seconds:.0f} s, {number / seconds:.0f} requests per second", flush=True)
    if traceback:
        print(f"VIOLATION: the log of the service has a traceback\n{further[:5000]}", flush=True)
    return 1 if traceback else 0


sys.exit(main())

"""Calls of the load with credentials, signed before the clock runs: what is measured is the server."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from benchmarks.load import HOST
from taskbus import Credentials

CLIENT_ID: Final = "static/taskbus/root"
ACCESS_TOKEN: Final = "vuOoBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA"
SETTINGS: Final = {
    "TASKBUS_NO_AUTH": "0",
    "TASKBUS_ROOT_CLIENT_ID": CLIENT_ID,
    "TASKBUS_ROOT_ACCESS_TOKEN": ACCESS_TOKEN,
}
"""Of a server that requires credentials."""
PERMANENT: Final = Credentials(CLIENT_ID, ACCESS_TOKEN)


def temporary() -> Credentials:
    """Named credentials with a certificate of the scopes that a decision task has for its tasks."""
    scopes = [
        "queue:create-task:project:bench",
        "queue:create-task:low:proj-bench/*",
        "queue:scheduler-id:bench-level-1",
        "queue:route:index.bench.*",
        "queue:route:checks.bench.*",
        "secrets:get:project/bench/*",
        "docker-worker:cache:bench-level-1-*",
        "assume:scheduler-id:bench-level-1/*",
    ]
    return PERMANENT.issue(scopes, lifetime=timedelta(hours=1), name="task-client/decision")


def signed(requests: Iterable[bytes], credentials: Credentials) -> list[bytes]:
    """The requests with Authorization headers that cover their bodies, too."""
    return [_signed(request, credentials) for request in requests]


def _signed(request: bytes, credentials: Credentials) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
    authorization = credentials.authorization(method, f"http://{HOST}{target}", body or None)
    return head + f"\r\nauthorization: {authorization}\r\n\r\n".encode() + body

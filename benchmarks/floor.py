"""The floor under every figure: the same HTTP server, reading the same calls, answering a constant.

``python -m benchmarks.floor PORT`` serves on loopback with uvicorn as Taskbus configures it.
"""

import sys

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

ANSWER = b'{"status": "' + b"x" * 600 + b'"}'
HEADERS = [
    (b"content-type", b"application/json; charset=utf-8"),
    (b"content-length", str(len(ANSWER)).encode()),
]


async def constant(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, answer the constant."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


class Announcing(uvicorn.Server):
    """Says when it listens."""

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        print("serves", flush=True)


def main() -> None:
    config = uvicorn.Config(
        constant,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        ws="none",
    )
    uvloop.run(Announcing(config).serve())


if __name__ == "__main__":
    main()

"""The parts of the demo, each a process: the service, the workers, the listener."""

import asyncio
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from examples.demo.graph import TASK_QUEUE
from examples.demo.processes import Child, Children
from schemas.ids import slugid
from taskbus import Auth, Credentials

START_SECONDS: Final = 30.0
CLAIM_SECONDS: Final = 4
"""How long a claim lasts. Usually it is 20 minutes; here a killed worker's tasks are to be retried soon."""
CONCURRENCY: Final = 4
"""Tasks that a worker runs at once."""
WORKER_GROUP: Final = "demo"
ROOT_CLIENT_ID: Final = "static/demo/root"

_ANNOUNCED: Final = re.compile(
    r"HTTP API +(?P<root_url>\S+).*AMQP +amqp://guest:\*+@(?P<broker>\S+)", re.DOTALL
)


class Service(NamedTuple):
    """Where the service is reached, and as whom one may do everything there."""

    root_url: str
    amqp_url: str
    root: Credentials


async def start_service(children: Children, directory: Path) -> Service:
    """Start the service on free ports, with SQLite and the built-in broker; returns when it serves."""
    root = Credentials(ROOT_CLIENT_ID, slugid() + slugid())
    settings = {
        "TASKBUS_PORT": "0",
        "TASKBUS_AMQP_PORT": "0",
        "TASKBUS_DATABASE_URL": f"sqlite:///{directory / 'taskbus.sqlite'}",
        "TASKBUS_CLAIM_TIMEOUT": str(CLAIM_SECONDS),
        "TASKBUS_ROOT_CLIENT_ID": root.client_id,
        "TASKBUS_ROOT_ACCESS_TOKEN": root.access_token,
    }
    child = await children.start("service", "taskbus", "serve", settings=settings, stdout="pipe")
    return await children.during(_announced(child, root), START_SECONDS, "the service")


async def _announced(child: Child, root: Credentials) -> Service:
    assert child.process.stdout is not None
    said = ""
    async for line in child.process.stdout:
        said += line.decode()
        if found := _ANNOUNCED.search(said):
            return Service(found["root_url"], f"amqp://guest:guest@{found['broker']}", root)
    await child.ended
    raise child.failure()


async def worker_client(service: Service) -> Credentials:
    """A client for the workers, which may work on the demo's tasks and do nothing else."""
    scopes = [f"queue:claim-work:{TASK_QUEUE}", f"queue:worker-id:{WORKER_GROUP}/*"]
    async with Auth(service.root_url, credentials=service.root) as auth:
        made = await auth.create_client(
            "demo/worker", scopes=scopes, expires=datetime.now(UTC) + timedelta(days=1)
        )
    return Credentials(made.client_id, made.access_token)


async def start_worker(
    children: Children, service: Service, worker_id: str, credentials: Credentials
) -> Child:
    """Start a worker, which reads its credentials from its environment."""
    options = {
        "--queue": TASK_QUEUE,
        "--worker-group": WORKER_GROUP,
        "--worker-id": worker_id,
        "--concurrency": str(CONCURRENCY),
        "--root-url": service.root_url,
        "--drain": "1s",
    }
    arguments = [word for option in options.items() for word in option]
    return await children.start(worker_id, "taskbus", "worker", *arguments, settings=credentials.to_env())


@dataclass(frozen=True)
class ListenerProcess:
    """The listener, and a line to it."""

    child: Child
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def says(self, word: str) -> None:
        """Wait until it says ``word``: ``listening``, and later ``resolved``."""
        said = await self.reader.readline()
        if said.decode().strip() != word:
            await self.child.ended
            raise self.child.failure()

    def note(self, text: str) -> None:
        """Have it show something that is not an event."""
        self.writer.write(text.encode() + b"\n")


async def start_listener(children: Children, service: Service, record: Path) -> ListenerProcess:
    """Start the listener; returns when its queue is bound, so that it will miss nothing."""
    ours, theirs = socket.socketpair()
    with theirs:
        arguments = ("examples.demo.listener", service.amqp_url, str(record))
        child = await children.start("listener", *arguments, stdin=theirs.fileno(), stdout="shared")
    listener = ListenerProcess(child, *await asyncio.open_connection(sock=ours))
    await children.during(listener.says("listening"), START_SECONDS, "the listener")
    return listener

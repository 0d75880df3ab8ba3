"""The parts of the demo, each a process: the service, the workers, the listener."""

import asyncio
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from examples.demo.graph import TASK_QUEUE
from examples.demo.processes import Child, Children

START_SECONDS: Final = 30.0
CLAIM_SECONDS: Final = 4
"""How long a claim lasts. Usually it is 20 minutes; here a killed worker's tasks are to be retried soon."""
CONCURRENCY: Final = 4
"""Tasks that a worker runs at once."""
WORKER_GROUP: Final = "demo"

_ANNOUNCED: Final = re.compile(
    r"HTTP API +(?P<root_url>\S+).*AMQP +amqp://guest:\*+@(?P<broker>\S+)", re.DOTALL
)


class Service(NamedTuple):
    """Where the service is reached."""

    root_url: str
    amqp_url: str


async def start_service(children: Children, directory: Path) -> Service:
    """Start the service on free ports, with SQLite and the built-in broker; returns when it serves."""
    settings = {
        "TASKBUS_PORT": "0",
        "TASKBUS_AMQP_PORT": "0",
        "TASKBUS_DATABASE_URL": f"sqlite:///{directory / 'taskbus.sqlite'}",
        "TASKBUS_CLAIM_TIMEOUT": str(CLAIM_SECONDS),
        "TASKBUS_NO_AUTH": "1",
    }
    child = await children.start("service", "taskbus", "serve", settings=settings, stdout="pipe")
    return await children.during(_announced(child), START_SECONDS, "the service")


async def _announced(child: Child) -> Service:
    assert child.process.stdout is not None
    said = ""
    async for line in child.process.stdout:
        said += line.decode()
        if found := _ANNOUNCED.search(said):
            return Service(found["root_url"], f"amqp://guest:guest@{found['broker']}")
    await child.ended
    raise child.failure()


async def start_worker(children: Children, service: Service, worker_id: str) -> Child:
    """Start a worker."""
    options = {
        "--queue": TASK_QUEUE,
        "--worker-group": WORKER_GROUP,
        "--worker-id": worker_id,
        "--concurrency": str(CONCURRENCY),
        "--root-url": service.root_url,
        "--drain": "1s",
    }
    arguments = [word for option in options.items() for word in option]
    return await children.start(worker_id, "taskbus", "worker", *arguments)


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

"""The demo's listener, a process of its own: shows every event, and writes it down.

python -m examples.demo.listener --amqp-url URL --group TASK_GROUP_ID --record FILE
"""

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from events import (
    Delivery,
    Listener,
    TaskCompleted,
    TaskDefined,
    TaskException,
    TaskFailed,
    TaskGroupResolved,
    TaskPending,
    TaskRunning,
)
from examples.demo.display import Display, open_display
from examples.demo.record import Record
from schemas.messages import Message, TaskGroupResolvedMessage

EVERYTHING: Final = (
    TaskDefined(),
    TaskPending(),
    TaskRunning(),
    TaskCompleted(),
    TaskFailed(),
    TaskException(),
    TaskGroupResolved(),
)
QUEUE: Final = "demo-listener"
"""A durable queue: should the connection be lost, messages wait in it."""


async def listen(
    amqp_url: str, group_id: str, file: Path, display: Display, line: socket.socket | None
) -> bool:
    """Show events and write them down until the group is resolved; False if something else ended it."""
    resolved: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def end(done: bool) -> None:
        if not resolved.done():
            resolved.set_result(done)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end, False)
    with file.open("wb") as records:
        async with Listener(amqp_url, name="demo listener") as listener:

            @listener.on(*EVERYTHING, queue=QUEUE, prefetch=200)
            async def hear(event: Message, delivery: Delivery) -> None:
                record = Record(
                    arrived=datetime.now(UTC),
                    exchange=delivery.exchange,
                    message_id=delivery.message_id,
                    message=event.to_wire(),
                )
                records.write(record.to_json() + b"\n")
                records.flush()
                display.show(record)
                if isinstance(event, TaskGroupResolvedMessage) and event.task_group_id == group_id:
                    end(True)

            await listener.ready()
            if line is None:
                return await resolved
            async with _line_to_the_demo(line, display) as hung_up:
                ends: set[asyncio.Future[Any]] = {resolved, hung_up}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                return resolved.done() and resolved.result()


@asynccontextmanager
async def _line_to_the_demo(line: socket.socket, display: Display) -> AsyncIterator[asyncio.Task[None]]:
    """Tell the demo that we listen, and show its notes; what is given is done when the demo is gone."""
    reader, writer = await asyncio.open_connection(sock=line)
    writer.write(b"listening\n")

    async def show_notes() -> None:
        async for note in reader:
            display.note(note.decode().rstrip())

    showing = asyncio.create_task(show_notes())
    try:
        yield showing
    finally:
        showing.cancel()
        writer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Show and write down events until a task group is resolved.")
    parser.add_argument("--amqp-url", required=True)
    parser.add_argument("--group", required=True, help="the task group")
    parser.add_argument("--record", required=True, type=Path, help="file to write")
    parser.add_argument("--line", type=int, help="file descriptor of a socket to the demo")
    given = parser.parse_args()
    line = None if given.line is None else socket.socket(fileno=given.line)
    with open_display() as display:
        return 0 if asyncio.run(listen(given.amqp_url, given.group, given.record, display, line)) else 1


if __name__ == "__main__":
    sys.exit(main())

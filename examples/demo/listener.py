"""The demo's listener, a process of its own: shows every event, and writes it down.

python -m examples.demo.listener AMQP_URL RECORD

The demo starts it, with a socket as standard input. On it the listener says ``listening``, and ``resolved``
when a task group is; what the demo says is shown. The listener ends when the demo hangs up.
"""

import asyncio
import signal
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

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


async def listen(amqp_url: str, file: Path, line: socket.socket, display: Display) -> None:
    """Show events and write them down until the demo hangs up, or until SIGTERM."""
    demo, to_demo = await asyncio.open_connection(sock=line)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, demo.feed_eof)
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
                if isinstance(event, TaskGroupResolvedMessage):
                    to_demo.write(b"resolved\n")

            await listener.ready()
            to_demo.write(b"listening\n")
            async for note in demo:
                display.note(note.decode().rstrip())


if __name__ == "__main__":
    with open_display() as display:
        asyncio.run(listen(sys.argv[1], Path(sys.argv[2]), socket.socket(fileno=0), display))

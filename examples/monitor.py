"""Show everything that happens to tasks with certain routes: ``python -m examples.monitor 'examples.#'``.

Needs ``taskbus serve``. Hears what follows from now on; nothing is kept while it is away.
"""

import asyncio
import os
import sys
from collections.abc import Callable

from events import BINDINGS, Delivery, Listener
from events.bindings import TaskBinding
from schemas.messages import TaskMessage

AMQP_URL = os.environ.get("TASKBUS_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")


def monitor(listener: Listener, route: str, write: Callable[[str], object] = print) -> None:
    """``route``: words with dots between them; ``*`` is any word, ``#`` any number of words."""
    kinds = [kind for kind in BINDINGS.values() if issubclass(kind, TaskBinding)]

    @listener.on(*(kind.route(route) for kind in kinds), auto_ack=True)
    async def hear(event: TaskMessage, delivery: Delivery) -> None:
        what = delivery.exchange.rpartition("/")[2]
        write(f"{what:20}{event.status.task_id}  {event.status.state:12}{' '.join(delivery.cc)}")


async def main(route: str) -> None:
    async with Listener(AMQP_URL) as listener:
        monitor(listener, route)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "#"))

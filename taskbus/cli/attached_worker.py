"""``taskbus worker --attach``: run a command for every item of work that the server hands out."""

import logging
from collections.abc import Sequence

from taskbus.attached import AttachedTask, AttachedWorker
from taskbus.attached_command import ItemCommand
from taskbus.cli.stopping import until_signalled

logger = logging.getLogger(__name__)

CAPACITY = 4


def attached(
    root_url: str,
    names: Sequence[str],
    filters: Sequence[str],
    capacity: int | None,
    drain: float,
    command: ItemCommand,
) -> AttachedWorker:
    """The worker that the options ask for. Raises ValueError, naming the one that is wrong."""
    if not names:
        raise ValueError("--task: expected the name of what it takes")
    wanted = dict(_filter(text) for text in filters)
    tasks = [AttachedTask(name, command, wanted) for name in names]
    return AttachedWorker(root_url, tasks=tasks, capacity=capacity or CAPACITY, drain=drain)


async def work(worker: AttachedWorker, command: ItemCommand, names: Sequence[str]) -> bool:
    """Work until a signal; whether the worker came to its end in order."""
    with command:
        logger.info("worker attaches to %s for %s", worker.root_url, ", ".join(names))
        in_order = await until_signalled(worker.run(), worker)
    logger.info("worker stopped")
    return in_order


def _filter(text: str) -> tuple[str, tuple[str, ...]]:
    key, separator, values = text.partition("=")
    listed = tuple(value for value in values.split(",") if value)
    if not separator or not key or not listed:
        raise ValueError(f"--filter: expected KEY=VALUE,…, got {text!r}")
    return key, listed

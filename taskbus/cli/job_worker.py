"""``taskbus worker --jobs``: run the worker for jobs that a module defines."""

import importlib
import logging
import sys

from taskbus.cli.stopping import until_signalled
from taskbus.client import Queue
from taskbus.jobs import Taskbus, Worker

logger = logging.getLogger(__name__)


def find_worker(reference: str) -> Worker:
    """The worker that ``module:name`` names; modules of the current folder come first.

    Raises ValueError when there is none.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise ValueError(f"--jobs: expected module:worker, got {reference!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"--jobs: there is no module {module_name}") from None
    found = getattr(module, name, None)
    if not isinstance(found, Worker):
        raise ValueError(
            f"--jobs: expected {name} in {module_name} to be a taskbus.jobs.Worker, got {found!r}"
        )
    return found


async def work(client: Queue, worker: Worker) -> bool:
    """Work until a signal; whether the worker came to its end in order."""
    async with Taskbus(client) as bus:
        logger.info("worker takes jobs of %s from %s", ", ".join(worker.queues), client.root_url)
        in_order = await until_signalled(worker.run(bus), worker)
    logger.info("worker stopped")
    return in_order

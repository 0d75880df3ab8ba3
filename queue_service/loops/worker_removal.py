"""Worker removal: a worker-manager tells that a worker is gone, and its runs end at once (6.7).

Without it the runs of a worker that was stopped wait for their claims to expire. The messages arrive in one
durable queue that all processes share, so each is worked off once, also those of a time when no process ran.
"""

from collections.abc import Sequence
from typing import Any, Final

import structlog
from pydantic import ValidationError

from events import Listener, UndecodableMessage, bind
from queue_service.core.workers import WorkerKey
from queue_service.operations.workers import shut_down
from queue_service.store.database import Database
from schemas.workers import WorkerGone

logger = structlog.get_logger(__name__)

BATCH: Final = 100
CONCURRENCY: Final = 4
ATTEMPTS: Final = 30
"""Spread over 25 minutes, in which the claims of the worker expire by themselves."""
STOP_SECONDS: Final = 5.0
"""For messages under way when the service stops; they come again otherwise."""


class WorkerRemoval:
    """Listens to ``exchanges`` through the durable queue of this name, on the broker at ``url``."""

    def __init__(self, database: Database, url: str, *, exchanges: Sequence[str], queue: str) -> None:
        self._database = database
        self.listener = Listener(url, name="taskbus worker removal", stop_timeout=STOP_SECONDS)
        """Connects, and connects again, by itself."""
        self.listener.on(
            *(bind(exchange) for exchange in exchanges),
            queue=queue,
            concurrency=CONCURRENCY,
            attempts=ATTEMPTS,
        )(self.on_message)

    async def start(self) -> None:
        """Begin; does not wait for the broker."""
        await self.listener.start()

    async def stop(self) -> None:
        """End; messages that were not worked off stay in the queue."""
        await self.listener.stop()

    async def on_message(self, message: Any) -> None:
        """End the runs of the worker that the message names.

        Raises UndecodableMessage for a message that names none, and StoreUnavailable.
        """
        try:
            gone = WorkerGone.model_validate(message)
        except ValidationError as error:
            raise UndecodableMessage(f"names no worker: {error}") from error
        ended = await self.remove(WorkerKey(gone.worker_pool_id, gone.worker_group, gone.worker_id))
        if ended:
            logger.info("runs of a removed worker were ended", runs=ended, **gone.to_wire())

    async def remove(self, worker: WorkerKey) -> int:
        """End the running runs of this worker as if it had reported ``worker-shutdown``; how many there were.

        Harmless when repeated: what is not running any more is left alone.
        """
        ended = 0
        while True:
            found = await self._database.write(lambda tx: shut_down(tx, worker, BATCH))
            ended += found
            if found < BATCH:
                return ended

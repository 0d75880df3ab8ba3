"""The APIs that this program serves, each below a path of its own; references are made from this list."""

from typing import Final

from queue_service.api.endpoint import Api, Section
from queue_service.api.endpoints import QUEUE_ENDPOINTS
from queue_service.api.monitoring import MONITORING
from queue_service.api.queue import QueueApi

QUEUE: Final = Api(
    "queue",
    "Queue",
    "Tasks and their runs: created by schedulers, claimed and resolved by workers, told on the bus.",
    [Section(QueueApi, QUEUE_ENDPOINTS), MONITORING],
)
APIS: Final = (QUEUE,)

"""What this program serves: the list of features and, with theirs, of all APIs. References follow from it."""

from collections.abc import Sequence
from typing import Final

from queue_service.api.apis import CORE_APIS
from queue_service.api.endpoint import Api
from queue_service.features.feature import Feature
from queue_service.features.hooks.feature import HOOKS
from queue_service.features.jobs.feature import JOBS
from queue_service.features.kv.feature import KV
from queue_service.features.streams.feature import STREAMS
from queue_service.features.triggers.feature import TRIGGERS
from queue_service.features.worker_socket.feature import WORKER_SOCKET

FEATURES: Final[Sequence[Feature]] = (HOOKS, JOBS, KV, TRIGGERS, WORKER_SOCKET, STREAMS)
APIS: Final[Sequence[Api]] = (*CORE_APIS, *(api for feature in FEATURES for api in feature.apis))

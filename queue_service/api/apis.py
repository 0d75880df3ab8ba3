"""The APIs of the queue and of the services beside it; those of features are in ``catalogue``."""

from typing import Final

from queue_service.api.artifact_api import ArtifactApi
from queue_service.api.artifact_endpoints import ARTIFACT_ENDPOINTS
from queue_service.api.attempt_api import AttemptApi
from queue_service.api.attempt_endpoints import ATTEMPT_ENDPOINTS
from queue_service.api.auth_api import AuthApi
from queue_service.api.auth_endpoints import AUTH_ENDPOINTS
from queue_service.api.bulk_api import BulkApi
from queue_service.api.bulk_endpoints import BULK_ENDPOINTS
from queue_service.api.controls_api import ControlsApi
from queue_service.api.controls_endpoints import CONTROL_ENDPOINTS
from queue_service.api.endpoint import Api, Section
from queue_service.api.endpoints import QUEUE_ENDPOINTS
from queue_service.api.index_api import IndexApi
from queue_service.api.index_endpoints import INDEX_ENDPOINTS
from queue_service.api.monitoring import MONITORING
from queue_service.api.object_api import ObjectApi
from queue_service.api.object_endpoints import OBJECT_ENDPOINTS
from queue_service.api.purge_cache_api import PurgeCacheApi
from queue_service.api.purge_cache_endpoints import PURGE_CACHE_ENDPOINTS
from queue_service.api.queue import QueueApi
from queue_service.api.search_api import SearchApi
from queue_service.api.search_endpoints import SEARCH_ENDPOINTS
from queue_service.api.worker_api import WorkerApi
from queue_service.api.worker_endpoints import WORKER_ENDPOINTS

QUEUE: Final = Api(
    "queue",
    "Queue",
    "Tasks and their runs: created by schedulers, claimed and resolved by workers, told on the bus.",
    [
        Section(QueueApi, QUEUE_ENDPOINTS),
        Section(ArtifactApi, ARTIFACT_ENDPOINTS),
        Section(WorkerApi, WORKER_ENDPOINTS),
        Section(ControlsApi, CONTROL_ENDPOINTS, extension=True),
        Section(AttemptApi, ATTEMPT_ENDPOINTS, extension=True),
        Section(BulkApi, BULK_ENDPOINTS, extension=True),
        Section(SearchApi, SEARCH_ENDPOINTS, extension=True),
        MONITORING,
    ],
)
AUTH: Final = Api(
    "auth",
    "Auth",
    "Clients and their credentials, roles and what they give.",
    [Section(AuthApi, AUTH_ENDPOINTS), MONITORING],
)
OBJECT: Final = Api(
    "object",
    "Object",
    "Takes and gives bytes by name: those of artifacts of storage type `object`, and any others.",
    [Section(ObjectApi, OBJECT_ENDPOINTS), MONITORING],
)
INDEX: Final = Api(
    "index",
    "Index",
    "Finds tasks by names that their creators chose: `index.<path>` among the routes of a task.",
    [Section(IndexApi, INDEX_ENDPOINTS), MONITORING],
)
PURGE_CACHE: Final = Api(
    "purge-cache",
    "Purge-Cache",
    "Tells workers which of their caches they must not use any more.",
    [Section(PurgeCacheApi, PURGE_CACHE_ENDPOINTS), MONITORING],
)
CORE_APIS: Final = (QUEUE, AUTH, OBJECT, INDEX, PURGE_CACHE)

"""The table of endpoints of attached work."""

from typing import Final

from queue_service.api.endpoint import Endpoint
from queue_service.features.worker_socket.api import WorkApi
from schemas import work as shapes

_CATEGORY: Final = "Attached Workers"

WORK_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="createWork",
        method="post",
        route="/tasks",
        category=_CATEGORY,
        title="Create an item of work",
        description=(
            "A task for a worker that is attached by a WebSocket. With `wait`, seconds up to 60, the answer "
            "comes when the item is done; 202 when that takes longer. Hanging up cancels nothing."
        ),
        handler=WorkApi.create_work,
        scopes="work:create:<name>",
        deferred=True,
        query=("wait",),
        input=shapes.CreateWorkRequest,
        output=shapes.WorkResponse,
        refuses=(409, 424, 502, 504),
        creates=True,
        goes_on=True,
    ),
    Endpoint(
        name="listWork",
        method="get",
        route="/list",
        category=_CATEGORY,
        title="List the items that workers have",
        description="The items in flight of all gateways, also at `/work/list`. An array.",
        handler=WorkApi.list_work,
        gives_array=True,
        scopes="work:list",
    ),
    Endpoint(
        name="heldWork",
        method="get",
        route="/held",
        category=_CATEGORY,
        title="List the items that wait for a worker",
        description="The items that no worker has, with the time at which they are given up.",
        handler=WorkApi.held_work,
        scopes="work:list",
        output=shapes.HeldWork,
    ),
    Endpoint(
        name="attachedWorkers",
        method="get",
        route="/workers",
        category=_CATEGORY,
        title="List the attached workers",
        description="The connections of the process that answers, with what they take and have.",
        handler=WorkApi.attached_workers,
        scopes="work:list",
        output=shapes.AttachedWorkers,
    ),
)
"""Every endpoint of attached work but the socket; the handlers are methods of :class:`WorkApi`."""

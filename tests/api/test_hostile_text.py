"""Text that databases or terminals stumble over, in every text of every body: refused or kept, no 5xx."""

import itertools
from collections.abc import Iterator
from typing import Any, Final

import pytest

from queue_service.api.apis import CORE_APIS
from queue_service.api.endpoint import Endpoint
from queue_service.api.examples import REQUESTS
from queue_service.operations import first_start
from schemas.ids import slugid
from tests.api.definitions import QUEUES
from tests.api.running_queue import RunningQueue

HOSTILE: Final = ("a\0b", "\0", "\U0010ffff\ufffe", "\x7f\x80\u2028", "\u202e", "'\"\\;--%_", "")
BODIES: Final = {
    f"{api.service}.{endpoint.name}": (api.service, endpoint)
    for api in CORE_APIS
    for endpoint in api.endpoints
    if endpoint.input is not None
}


def spoiled(value: Any) -> Iterator[Any]:
    """The value with one of its texts, or the name of a member, replaced by a hostile one, in every way."""
    if isinstance(value, str):
        yield from HOSTILE
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from ({**value, name: other} for other in spoiled(member))
            rest = {key: kept for key, kept in value.items() if key != name}
            yield from ({**rest, other: member} for other in HOSTILE)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from ([*value[:place], other, *value[place + 1 :]] for other in spoiled(item))


@pytest.mark.parametrize("name", BODIES)
async def test_hostile_text_is_refused_or_kept(queue: RunningQueue, name: str) -> None:
    service, endpoint = BODIES[name]
    await queue.database.write(lambda tx: first_start.begin(tx, None))
    running = await queue.claimed()
    assert endpoint.input is not None
    numbers = itertools.count()
    for example in REQUESTS[endpoint.input.schema_name].values():
        for body in spoiled(example):
            target = _target(endpoint, running, next(numbers))
            reply = await queue.call(endpoint.method.upper(), target, body, service=service)
            assert reply.status < 500, f"{target} {body!r}: {reply.body.decode()}"


def _target(endpoint: Endpoint, running: str, number: int) -> str:
    """The path of a call that meets nothing of the calls before, and a running task."""
    provisioner_id, worker_type = QUEUES["build"].split("/")
    parameters = {
        "taskId": slugid() if endpoint.name == "createTask" else running,
        "taskGroupId": running,
        "taskQueueId": f"{provisioner_id}%2F{worker_type}",
        "workerPoolId": f"{provisioner_id}%2F{worker_type}",
        "provisionerId": provisioner_id,
        "workerType": worker_type,
        "workerGroup": "eu-central",
        "workerId": "worker-1",
        "runId": "0",
    }
    return "/".join(
        parameters.get(part[1:-1], f"name-{number}") if part.startswith("<") else part
        for part in endpoint.route.split("/")
    )

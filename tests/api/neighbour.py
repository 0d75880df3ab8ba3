"""Calls of a service beside the queue; every reply is judged by the shape that its endpoint declares."""

import json
import re
from typing import Any

from jsonschema import Draft202012Validator

from queue_service.api.app import Application
from queue_service.api.endpoint import Api
from schemas.export import json_schema
from tests.api.asgi import Reply, request
from tests.api.running_queue import NOTHING, RunningQueue


class Neighbour:
    """The client of one service in the process of a queue."""

    def __init__(self, queue: RunningQueue, api: Api, application: Application | None = None) -> None:
        self._application = application or queue.application
        self._api = api

    async def call(self, method: str, target: str, body: object = NOTHING) -> Reply:
        """One call below the service's path; ``body`` is sent as JSON."""
        pieces = [] if body is NOTHING else [json.dumps(body).encode()]
        headers = {} if body is NOTHING else {"Content-Type": "application/json"}
        reply = await request(
            self._application, method, self._api.base_path + target, headers=headers, body=pieces
        )
        if reply.status == 200:
            self._judge(method, target, reply.json())
        return reply

    async def get(self, target: str) -> dict[str, Any]:
        """What a GET answers, which must succeed."""
        return succeeded(await self.call("GET", target))

    async def put(self, target: str, body: object) -> dict[str, Any]:
        return succeeded(await self.call("PUT", target, body))

    async def post(self, target: str, body: object = NOTHING) -> dict[str, Any]:
        return succeeded(await self.call("POST", target, body))

    def _judge(self, method: str, target: str, body: object) -> None:
        path = target.partition("?")[0].rstrip("/")
        shapes = [
            endpoint.output
            for endpoint in self._api.endpoints
            if endpoint.method == method.lower() and re.fullmatch(_form(endpoint.route), path)
        ]
        if shapes and shapes[0] is not None:
            Draft202012Validator(json_schema(shapes[0])).validate(body)


def succeeded(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, f"{reply.status} {reply.body.decode()}"
    return dict(reply.json())


def _form(route: str) -> str:
    return re.sub(r"/<\w+>$", "(/[^/]+)?", re.sub(r"<\w+>(?=/)", "[^/]+", route))

"""The endpoints that every service has: is it alive, and which program is it (``queue-behaviour.md`` 1.1)."""

import time
from typing import Final

from queue_service.api.endpoint import Answer, Call, Endpoint, Section
from queue_service.api.health import Health


class Monitoring:
    """Answers for the whole program; each service's path leads here."""

    def __init__(self, version: str, health: Health | None = None) -> None:
        self._version = version
        self._health = health
        self._started = time.monotonic()

    async def ping(self, call: Call[None]) -> dict[str, object]:
        return {"alive": True, "uptime": round(time.monotonic() - self._started, 3)}

    async def lbheartbeat(self, call: Call[None]) -> dict[str, object]:
        return {}

    async def heartbeat(self, call: Call[None]) -> Answer | dict[str, object]:
        if self._health is None:
            return {}
        condition = await self._health.look()
        # `{}` is the answer of the wire (``queue-behaviour.md`` 1); the port of the metrics tells all.
        return {} if condition.ready else Answer(503, condition.facts)

    async def version(self, call: Call[None]) -> dict[str, object]:
        return {
            "version": self._version,
            "commit": "",
            "source": "taskbus",
            "build": "",
        }


_PING: Final = Endpoint(
    name="ping",
    method="get",
    route="/ping",
    category="Monitoring",
    title="Ping",
    description="Answers while the process serves requests; `uptime` is in seconds.",
    handler=Monitoring.ping,
)
_HEARTBEATS: Final = (
    Endpoint(
        name="lbheartbeat",
        method="get",
        route="/__lbheartbeat__",
        category="Monitoring",
        title="Load balancer heartbeat",
        description="Answers while the process serves requests.",
        handler=Monitoring.lbheartbeat,
    ),
    Endpoint(
        name="heartbeat",
        method="get",
        route="/__heartbeat__",
        category="Monitoring",
        title="Heartbeat",
        description="Whether this process can serve: 503 while the database cannot be used or has an older "
        "schema. The body says how database, schema, broker and background work are.",
        handler=Monitoring.heartbeat,
    ),
    Endpoint(
        name="version",
        method="get",
        route="/__version__",
        category="Monitoring",
        title="Version",
        description="Which program this is.",
        handler=Monitoring.version,
    ),
)
MONITORING: Final = Section(Monitoring, (_PING, *_HEARTBEATS))
"""To be the last section of every API."""
ROOT: Final = Section(Monitoring, _HEARTBEATS)
"""Those that exist at the server root as well."""

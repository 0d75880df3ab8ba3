"""A service behind its gate, and callers that sign what they ask of it."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from jsonschema import Draft202012Validator

from events.messages import decode
from queue_service.api.apis import AUTH
from queue_service.api.routing import Router
from queue_service.core.access import Client
from queue_service.core.limits import Limits
from queue_service.operations import first_start
from queue_service.store.vault import Vault
from schemas.base import Wire
from schemas.export import json_schema
from schemas.times import format_time
from tests.api.asgi import Reply
from tests.api.contract import Told
from tests.api.manual_clock import ManualClock
from tests.api.running_queue import ISSUER, NOTHING, RunningQueue
from tests.auth.callers import Caller, hash_of, header

Json = dict[str, Any]

ROOT: Final = Caller(ISSUER.client_id, ISSUER.access_token)
NEVER: Final = datetime(3000, 1, 1, tzinfo=UTC)
_ROUTES: Final = Router(AUTH.endpoints)
_nonces: Final = itertools.count()


class SecuredQueue(RunningQueue):
    """A running queue whose callers need credentials. :attr:`root` may do everything."""

    def __init__(self, url: str, clock: ManualClock, *, limits: Limits | None = None) -> None:
        now = clock.now()
        token = Vault(b"the secret key of the tests").seal(ROOT.client_id, ROOT.key)
        root = Client(ROOT.client_id, "root", ("*",), token, NEVER, now, now, now, now)
        super().__init__(url, clock, limits=limits, static={root.client_id: root}, secured=True)
        self.root = Signed(self, ROOT)
        self.anonymous = Signed(self, None)

    async def begin(self) -> None:
        """The first start, or a further one."""
        await self.database.write(lambda tx: first_start.begin(tx, None))

    async def client(self, client_id: str, *scopes: str, **members: Any) -> "Signed":
        """Create a client with these scopes; who signs as it."""
        created = await self.root.put(f"/clients/{quoted(client_id)}", self.wanted(*scopes, **members))
        return Signed(self, Caller(client_id, created["accessToken"]))

    async def role(self, role_id: str, *scopes: str) -> Json:
        """Create a role with these scopes."""
        body = {"description": "", "scopes": list(scopes)}
        return dict(await self.root.put(f"/roles/{quoted(role_id)}", body))

    def wanted(self, *scopes: str, days: float = 1, **members: Any) -> Json:
        """The body that creates a client with these scopes."""
        expires = format_time(self.clock.now() + timedelta(days=days))
        return {"expires": expires, "description": "a client", "scopes": list(scopes), **members}

    async def told(self) -> list[tuple[str, str]]:
        """Exchange and client or role of the auth service's messages since the last look, judged."""
        return [_about(message) for message in await self.messages()]

    async def generation(self) -> int:
        """How often clients and roles have changed."""
        await self.directory.refresh(self.directory.generation)
        return self.directory.generation


@dataclass(frozen=True)
class Signed:
    """Somebody who calls a service; every reply is judged by the shape that its endpoint declares."""

    queue: SecuredQueue
    caller: Caller | None

    def by(self, caller: Caller) -> "Signed":
        return Signed(self.queue, caller)

    async def call(
        self, method: str, target: str, body: object = NOTHING, *, service: str = "auth", **signed: Any
    ) -> Reply:
        """One call below the base path of a service; ``signed`` is what the signature says instead."""
        content = b"" if body is NOTHING else json.dumps(body).encode()
        headers = {"host": "taskbus.example"}
        if body is not NOTHING:
            headers["content-type"] = "application/json"
        if self.caller is not None:
            attributes = self.caller.attributes(
                **{
                    "method": method,
                    "resource": f"/api/{service}/v1{target}",
                    "host": "taskbus.example",
                    "port": 80,
                    "ts": int(self.queue.clock.now().timestamp()),
                    "nonce": f"n{next(_nonces)}",
                    "hash": hash_of(content, headers.get("content-type", "")),
                    **signed,
                }
            )
            headers["authorization"] = header(attributes)
        reply = await self.queue.send(method, target, [content], headers=headers, service=service)
        if service == "auth":
            _judge(method, target, reply)
        return reply

    async def get(self, target: str) -> Any:
        return succeeded(await self.call("GET", target))

    async def put(self, target: str, body: object) -> Any:
        return succeeded(await self.call("PUT", target, body))

    async def post(self, target: str, body: object = NOTHING) -> Any:
        return succeeded(await self.call("POST", target, body))

    async def delete(self, target: str) -> None:
        reply = await self.call("DELETE", target)
        assert (reply.status, reply.body) == (204, b""), reply.body.decode()

    async def scopes(self) -> list[str]:
        """What the caller may do."""
        return list((await self.get("/scopes/current"))["scopes"])


def quoted(name: str) -> str:
    """The name as one segment of a URL."""
    return "".join(letter if letter.isalnum() else f"%{ord(letter):02X}" for letter in name)


def refused(reply: Reply, status: int, code: str, *words: str) -> None:
    """The call was refused so, with a message that holds these words."""
    assert (reply.status, reply.code) == (status, code), reply.body.decode()
    for word in words:
        assert word in reply.message


def succeeded(reply: Reply) -> Any:
    assert reply.status == 200, f"{reply.status} {reply.body.decode()}"
    return reply.json()


def ids(entries: Sequence[Json], name: str) -> list[str]:
    return [entry[name] for entry in entries]


def _judge(method: str, target: str, reply: Reply) -> None:
    match = _ROUTES.match(target.partition("?")[0], method.lower())
    endpoint = None if match is None else match.methods.get(method.lower())
    if reply.status == 200 and endpoint is not None and endpoint.output is not None:
        Draft202012Validator(json_schema(endpoint.output)).validate(reply.json())


def _about(message: Told) -> tuple[str, str]:
    event = decode(message.exchange, json.dumps(message.body).encode())
    assert isinstance(event, Wire), message.exchange
    assert event.to_wire() == message.body
    assert (message.routing_key, message.cc, message.body["version"]) == ("_", (), 1)
    name = message.exchange.removeprefix("exchange/taskcluster-auth/v1/")
    return name, str(message.body["clientId" if name.startswith("client") else "roleId"])

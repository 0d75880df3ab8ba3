"""Text that databases stumble over, in every text of every body and in every parameter: no 5xx."""

from typing import Any, Final
from urllib.parse import quote

from queue_service.api.endpoint import Endpoint
from queue_service.features.kv.feature import KV_API
from tests.api.test_hostile_text import HOSTILE, spoiled
from tests.kv.running_kv import RunningKv

PARAMETERS: Final = {
    "tenant": "acme",
    "kvNamespace": "a/b",
    "key": "k",
    "set": "s",
    "leaseId": "fN1SbArXTPSVFNUvaOlinQ",
}
ENDPOINTS: Final = [endpoint for endpoint in KV_API.endpoints if endpoint.args]


def target(endpoint: Endpoint, **others: str) -> str:
    path = endpoint.route
    for name, value in {**PARAMETERS, **others}.items():
        path = path.replace(f"<{name}>", quote(value, safe=""))
    return path


async def send(kv: RunningKv, endpoint: Endpoint, path: str, *body: Any) -> None:
    reply = await kv.call(endpoint.method.upper(), path, *body)
    assert reply.status < 500, f"{path} {body!r}: {reply.body.decode()}"


async def test_hostile_bodies_are_refused_or_kept(kv: RunningKv) -> None:
    for endpoint in ENDPOINTS:
        examples = {} if endpoint.input is None else KV_API.examples[endpoint.input.schema_name]
        for example in examples.values():
            for body in spoiled({name: value for name, value in example.items() if name != "wait"}):
                await send(kv, endpoint, target(endpoint), body)


async def test_hostile_parameters_are_refused_or_kept(kv: RunningKv) -> None:
    for endpoint in ENDPOINTS:
        for name in endpoint.args:
            for text in HOSTILE:
                example = {} if endpoint.input is None else next(iter(_examples(endpoint)))
                await send(kv, endpoint, target(endpoint, **{name: text}), *([example] if example else []))
        for name in endpoint.query:
            for text in HOSTILE:
                await send(kv, endpoint, f"{target(endpoint)}?{name}={quote(text, safe='')}")


def _examples(endpoint: Endpoint) -> list[Any]:
    assert endpoint.input is not None
    return [
        {name: value for name, value in example.items() if name != "wait"}
        for example in KV_API.examples[endpoint.input.schema_name].values()
    ]

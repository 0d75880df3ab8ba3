"""Requests by schemathesis from the OpenAPI document, mixed with what is known to exist."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core import NOT_SET
from schemathesis.schemas import APIOperation

from queue_service.catalogue import APIS
from tests.fuzz.caller import Request
from tests.fuzz.known import Known

Json = dict[str, Any]

HOSTILE: Final = (
    "\0", "a\0b", "\ud800", "\udfff\ud800", "‮", "𝕏" * 40, "x" * 5000, "../../etc/passwd", "%00", "**",
    "-1", "9" * 400, "1e400", "NaN", "'; --", "{{7*7}}", "\r\nX: y", "9999-12-31T23:59:59.999Z",
    "0000-01-01T00:00:00Z", 10**30, -(10**30), 1e308, -0.0, 2**63, 2**31, True, None, [], {}, [[]] * 40,
)  # fmt: skip
"""Values that have broken other programs."""

_ROUTES: Final = {f"{api.service}.{endpoint.name}": endpoint for api in APIS for endpoint in api.endpoints}


@dataclass(frozen=True)
class Target:
    """One operation, with the cases that fit its schema or those that do not."""

    operation: APIOperation
    mode: GenerationMode

    @property
    def name(self) -> str:
        """Service and method, such as ``queue.createTask``."""
        return str(self.operation.definition.raw["operationId"])


def targets(document: Json) -> list[Target]:
    """Every operation of the document, twice."""
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    return [Target(operation, mode) for operation in operations for mode in GenerationMode]


def each(target: Target, number: int, seed_: int, send: Callable[[Case], None]) -> None:
    """Call ``send`` with up to ``number`` cases; what it raises ends them and comes through. The seed decides
    which.
    """
    raised: list[Exception] = []

    @seed(seed_)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # the service changes with each request: nothing can be shrunk
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(case=_cases(target))
    def run(case: Case) -> None:
        if raised:
            return
        try:
            send(case)
        except Exception as error:  # kept from hypothesis, which would send the request again
            raised.append(error)

    with suppress(Unsatisfiable):  # what takes nothing cannot be given anything wrong
        run()
    if raised:
        raise raised[0]


def _cases(target: Target) -> st.SearchStrategy[Case]:
    """Schemathesis makes no parameter with a slash, so these are filled in here."""
    patterns = {
        parameter["name"]: parameter["schema"]["pattern"]
        for parameter in target.operation.definition.raw.get("parameters", ())
        if parameter["in"] == "path" and "/" in parameter["schema"]["pattern"]
    }
    cases = target.operation.as_strategy(
        generation_mode=target.mode, path_parameters=dict.fromkeys(patterns, "x")
    )
    slashed = st.fixed_dictionaries({name: st.from_regex(text) for name, text in patterns.items()})
    return st.builds(_filled, cases, slashed)


def _filled(case: Case, parameters: dict[str, str]) -> Case:
    case.path_parameters.update(parameters)
    return case


_WAITS: Final = [str(seconds) for seconds in range(2, 61)]


class Mixer:
    """Turns cases into requests, partly about what is known."""

    def __init__(self, known: Known, seed_: int) -> None:
        self._known = known
        self._random = random.Random(seed_)

    def request(self, case: Case) -> Request:
        endpoint = _ROUTES[case.operation.definition.raw["operationId"]]
        given = case.path_parameters or {}
        known = 0.3 if endpoint.name.startswith("create") else 0.8
        together = self._known.together(given) if self._chance(known / 2) else {}
        parameters = {
            name: together.get(name) or self._parameter(name, value, known) for name, value in given.items()
        }
        path = case.path
        for name, value in parameters.items():
            path = path.replace(f"{{{name}}}", quote(str(value), safe="", errors="surrogatepass"))
        query = {
            name: (self._known.value(name) or value) if self._chance(0.3) else value
            for name, value in (case.query or {}).items()
        }
        if query.get("wait") in _WAITS:
            query["wait"] = "1"  # seconds that would really be waited
        target = path + ("?" + urlencode(query, doseq=True, errors="surrogatepass") if query else "")
        body, headers = None, _headers(case)
        if case.body is not NOT_SET:
            shape = endpoint.input.schema_name if endpoint.input is not None else ""
            value = self._body(case.body, shape)
            if isinstance(value, dict) and "uploadId" in value and "uploadId" in together:
                value = {**value, "uploadId": together["uploadId"]}
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            headers = [("Content-Type", case.media_type or "application/json"), *headers]
        return Request(case.method, target, body, tuple(headers))

    def _parameter(self, name: str, value: Any, known: float) -> Any:
        """A value for the path; schemathesis quotes its own already."""
        if self._chance(0.03):
            return self._random.choice(HOSTILE)
        found = self._known.value(name) if self._chance(known) else None
        return found or unquote(str(value))

    def _body(self, generated: Any, shape: str) -> Any:
        body = generated
        if self._chance(0.7):
            body = self._known.body(shape)
            if isinstance(body, dict) and isinstance(generated, dict) and generated and self._chance(0.5):
                taken = self._random.sample(
                    sorted(generated), k=min(len(generated), self._random.choice((1, 2)))
                )
                body = {**body, **{name: generated[name] for name in taken}}
        return self._spoiled(body) if self._chance(0.15) else body

    def _spoiled(self, body: Any) -> Any:
        """The body with a hostile value somewhere."""
        if isinstance(body, dict) and body:
            name = self._random.choice(sorted(body))
            return {**body, name: self._spoiled(body[name])}
        if isinstance(body, list) and body and self._chance(0.8):
            place = self._random.randrange(len(body))
            return [*body[:place], self._spoiled(body[place]), *body[place + 1 :]]
        return self._random.choice(HOSTILE)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def blobs(self) -> Iterator[Request]:
        """Requests for the bytes of artifacts, about addresses that the service has signed."""
        if not self._known.blobs:
            return
        target = self._random.choice(list(self._known.blobs))
        path, _, query = target.partition("?")
        hostile = quote(str(self._random.choice(HOSTILE)), safe="", errors="surrogatepass")
        content = self._random.randbytes(self._random.randrange(300))
        kind = ("Content-Type", self._random.choice(("text/plain", "application/zip", "x" * 300, "")))
        yield Request("PUT", target, content, (kind,))
        yield Request("GET", target)
        yield Request("GET", target.replace("PUT", "GET"), None, (("Range", self._range()),))
        yield Request("HEAD", target, None, (("If-None-Match", "*"),))
        yield Request("PUT", f"{path}/{hostile}?{query}", content, (kind,))
        yield Request("GET", f"{path}?{query}&{hostile}={hostile}")
        yield Request("GET", f"{path}?{hostile}")
        yield Request(self._random.choice(("POST", "DELETE", "OPTIONS", "PATCH")), target, content)

    def _range(self) -> str:
        first, last = (self._random.choice(("", "0", "5", "99", "9" * 30, "-1", "x")) for _ in range(2))
        return f"bytes={first}-{last}{self._random.choice(('', ',0-1', ',' * 50))}"


def _headers(case: Case) -> list[tuple[str, str]]:
    """The headers of a case that HTTP can carry."""
    return [
        (name, value)
        for name, value in (case.headers or {}).items()
        if isinstance(value, str)
        and value.isascii()
        and value.isprintable()
        and name.lower() != "content-type"
    ]

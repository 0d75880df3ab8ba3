"""Requests signed line by line as ``auth.md`` 1 and 2 say it, without the code under test."""

import base64
import hashlib
import hmac
import json
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from queue_service.auth.authenticator import Authenticator, Identity, StoredClient
from queue_service.auth.request import SignedRequest
from queue_service.auth.roles import Roles
from schemas.times import EPOCH, from_ms

T = TypeVar("T")

NOW: Final = from_ms(1700000000000)
SECONDS: Final = 1700000000
MS: Final = 1000 * SECONDS
TOKEN: Final = "vuOoBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA"
OTHER_TOKEN: Final = "AaaaBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA"
SEED: Final = "fN1SbArXTPSVFNUvaOlinQeXCjaj5mQVSZSwMc5cW2wQ"
HOUR: Final = 3_600_000
JSON: Final = "application/json"


def standard_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url_safe_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def encoded(ext: object) -> str:
    return standard_base64(json.dumps(ext).encode())


def sign(key: str, lines: Iterable[object], *, end: str = "") -> bytes:
    text = "\n".join(map(str, lines)) + end
    return hmac.new(key.encode("ascii"), text.encode(), hashlib.sha256).digest()


def hash_of(body: bytes, content_type: str) -> str:
    kind = content_type.split(";")[0].strip().lower().encode()
    return standard_base64(hashlib.sha256(b"hawk.1.payload\n" + kind + b"\n" + body + b"\n").digest())


@dataclass(frozen=True)
class Caller:
    """Credentials, and the requests that are made with them."""

    client_id: str = "static/demo"
    key: str = TOKEN
    ext: str | None = None

    def attributes(
        self,
        method: str = "GET",
        resource: str = "/api/queue/v1/ping",
        *,
        host: str = "localhost",
        port: int = 8080,
        ts: object = SECONDS,
        nonce: str = "Ab12_x",
        hash: str | None = None,
    ) -> dict[str, str]:
        """What the Authorization header of such a request says."""
        lines = ["hawk.1.header", ts, nonce, method, resource, host, port, hash or "", self.ext or ""]
        given = {"id": self.client_id, "ts": str(ts), "nonce": nonce, "ext": self.ext, "hash": hash}
        given["mac"] = standard_base64(sign(self.key, lines, end="\n"))
        return {name: value for name, value in given.items() if value is not None}

    def request(
        self,
        method: str = "GET",
        resource: str = "/api/queue/v1/ping",
        *,
        body: bytes = b"",
        content_type: str = "",
        hashed: bool = False,
        **signed: Any,
    ) -> SignedRequest:
        """A request with a header, to localhost:8080 whatever was ``signed``."""
        if hashed:
            signed["hash"] = hash_of(body, content_type)
        authorization = header(self.attributes(method, resource, **signed))
        return SignedRequest(method, resource, "localhost", 8080, authorization, content_type, body)

    def bewit(
        self,
        resource: str,
        expiry: object = SECONDS + 900,
        *,
        host: str = "localhost",
        port: int = 8080,
    ) -> str:
        lines = ["hawk.1.bewit", expiry, "", "GET", resource, host, port, "", self.ext or ""]
        mac = standard_base64(sign(self.key, lines, end="\n"))
        return url_safe_base64("\\".join([self.client_id, str(expiry), mac, self.ext or ""]).encode())

    def signed_url(self, resource: str, expiry: object = SECONDS + 900) -> SignedRequest:
        """A GET of a signed URL."""
        return got(f"{resource}{'&' if '?' in resource else '?'}bewit={self.bewit(resource, expiry)}")

    def with_ext(self, ext: object) -> "Caller":
        return replace(self, ext=encoded(ext))

    def restricted_to(self, *scopes: str) -> "Caller":
        told = json.loads(base64.b64decode(self.ext)) if self.ext else {}
        return self.with_ext({**told, "authorizedScopes": list(scopes)})

    def certificate(
        self,
        scopes: Sequence[str] = (),
        name: str | None = None,
        *,
        start: int = MS - HOUR,
        expiry: int = MS + HOUR,
        seed: str = SEED,
    ) -> dict[str, Any]:
        """A certificate that this client issues."""
        named = [] if name is None else [f"clientId:{name}", f"issuer:{self.client_id}"]
        lines = [
            "version:1",
            *named,
            f"seed:{seed}",
            f"start:{start}",
            f"expiry:{expiry}",
            "scopes:",
            *scopes,
        ]
        return {
            "version": 1,
            "scopes": list(scopes),
            "start": start,
            "expiry": expiry,
            "seed": seed,
            "signature": standard_base64(sign(self.key, lines)),
            **({} if name is None else {"issuer": self.client_id}),
        }

    def temporary(self, certificate: Mapping[str, Any], name: str | None = None) -> "Caller":
        """Who has the temporary credentials with this certificate."""
        key = url_safe_base64(sign(self.key, [certificate.get("seed", "")]))
        return Caller(name or self.client_id, key).with_ext({"certificate": dict(certificate)})

    def issue(self, *scopes: str, name: str | None = None, **times: Any) -> "Caller":
        return self.temporary(self.certificate(scopes, name, **times), name)


def header(attributes: Mapping[str, str]) -> str:
    return "Hawk " + ", ".join(f'{name}="{value}"' for name, value in attributes.items())


def got(resource: str, authorization: str | None = None) -> SignedRequest:
    return SignedRequest("GET", resource, "localhost", 8080, authorization)


def stored(
    client_id: str = "static/demo",
    *scopes: str,
    token: str = TOKEN,
    expires: datetime = NOW + timedelta(days=365),
    disabled: bool = False,
) -> StoredClient:
    return StoredClient(client_id, token, scopes, expires, disabled)


@dataclass
class FixedDirectory:
    """Clients and roles that change only when a test changes them."""

    clients: dict[str, StoredClient] = field(default_factory=dict)
    roles: Roles = field(default_factory=lambda: Roles({"anonymous": ["public"]}))
    asked: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, *clients: StoredClient, **roles: Sequence[str]) -> "FixedDirectory":
        return cls(
            {client.client_id: client for client in clients}, Roles({"anonymous": ["public"], **roles})
        )

    async def client(self, client_id: str) -> StoredClient | None:
        self.asked.append(client_id)
        return self.clients.get(client_id)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


def judged(
    who: Authenticator | FixedDirectory | StoredClient,
    request: SignedRequest,
    now: datetime = NOW,
    *,
    check_payload: bool = True,
) -> Identity:
    """Who sent the request."""
    if isinstance(who, StoredClient):
        who = FixedDirectory.of(who)
    if isinstance(who, FixedDirectory):
        who = Authenticator(who)
    return at_once(who.authenticate(request, now, check_payload=check_payload))


FOREVER: Final = EPOCH.replace(year=9999)
DEMO: Final = Caller()

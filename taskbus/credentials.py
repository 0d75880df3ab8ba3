"""Who a client is: permanent or temporary credentials, and the signatures made with them.

Rules: ``auth.md`` 1 and 2. What is secret never shows in a ``repr``.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, Self

from schemas.ids import slugid
from schemas.queue import TaskCredentials
from schemas.times import to_ms
from taskbus import hawk

CLIENT_ID_VARIABLE: Final = "TASKCLUSTER_CLIENT_ID"
ACCESS_TOKEN_VARIABLE: Final = "TASKCLUSTER_ACCESS_TOKEN"
CERTIFICATE_VARIABLE: Final = "TASKCLUSTER_CERTIFICATE"

LONGEST_LIFE: Final = timedelta(days=31)
"""Of temporary credentials."""
URL_LIFE: Final = timedelta(minutes=15)
"""Of a signed URL, unless said otherwise."""

_CONTENT_TYPE: Final = "application/json"


@dataclass(frozen=True)
class Credentials:
    """A client's id and access token.

    ``certificate`` (a JSON string) makes them temporary ones. ``authorized_scopes`` restricts the calls made
    with them to these scopes. Raises ValueError for what can be no credentials.
    """

    client_id: str
    access_token: str = field(repr=False)
    certificate: str | None = field(default=None, repr=False)
    authorized_scopes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_id.isprintable() or set(self.client_id) & set('"\\'):
            raise ValueError(f"client_id: expected printable characters, no quotes, got {self.client_id!r}")
        if not self.access_token or not self.access_token.isascii():
            raise ValueError("access_token: expected ASCII characters")
        if self.authorized_scopes is not None:
            object.__setattr__(self, "authorized_scopes", tuple(self.authorized_scopes))
        _ = self._ext

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """Those of TASKCLUSTER_CLIENT_ID, TASKCLUSTER_ACCESS_TOKEN and TASKCLUSTER_CERTIFICATE, if set.

        Raises ValueError that names the variable which is missing or wrong.
        """
        client_id, token = environment.get(CLIENT_ID_VARIABLE), environment.get(ACCESS_TOKEN_VARIABLE)
        if not client_id and not token:
            return None
        if not client_id or not token:
            missing = ACCESS_TOKEN_VARIABLE if client_id else CLIENT_ID_VARIABLE
            raise ValueError(f"{missing}: expected a value beside that of the other variable")
        try:
            return cls(client_id, token, environment.get(CERTIFICATE_VARIABLE) or None)
        except ValueError as error:
            raise ValueError(f"TASKCLUSTER_… credentials in the environment: {error}") from None

    @classmethod
    def of_claim(cls, given: TaskCredentials) -> Self:
        """Those that a claim brings."""
        return cls(given.client_id, given.access_token, given.certificate)

    def to_env(self) -> dict[str, str]:
        """The variables that :meth:`from_env` and every other client read."""
        certificate = {CERTIFICATE_VARIABLE: self.certificate} if self.certificate else {}
        return {CLIENT_ID_VARIABLE: self.client_id, ACCESS_TOKEN_VARIABLE: self.access_token, **certificate}

    @property
    def temporary(self) -> bool:
        """Whether they end by themselves, and cannot issue others."""
        return self.certificate is not None

    def restricted_to(self, *scopes: str) -> Self:
        """The same client, whose calls may do no more than these scopes allow."""
        return replace(self, authorized_scopes=scopes)

    def issue(
        self,
        scopes: Iterable[str],
        *,
        lifetime: timedelta,
        name: str | None = None,
        now: datetime | None = None,
        seed: Callable[[], str] = lambda: slugid() + slugid(),
    ) -> Self:
        """Temporary credentials for others, made without asking the server; nobody can take them back.

        With a ``name`` they act as the client of that name, for which the issuer needs the scope
        ``auth:create-client:<name>``; without one as the issuer itself. The issuer must have every scope
        given. Raises ValueError if these credentials are temporary, or for a lifetime of more than 31 days.
        """
        if self.certificate is not None:
            raise ValueError("temporary credentials cannot issue others: use those of a permanent client")
        if not timedelta(0) < lifetime <= LONGEST_LIFE:
            raise ValueError(f"lifetime: expected at most {LONGEST_LIFE.days} days, got {lifetime}")
        if name == self.client_id:
            raise ValueError("name: expected another one than that of the issuer")
        start = now or datetime.now(UTC)
        certificate: dict[str, Any] = {
            "version": 1,
            "scopes": list(scopes),
            "start": to_ms(start),
            "expiry": to_ms(start + lifetime),
            "seed": seed(),
        }
        if name is not None:
            certificate["issuer"] = self.client_id
        certificate["signature"] = base64.b64encode(self._digest(_signed_text(certificate, name))).decode()
        token = base64.urlsafe_b64encode(self._digest(certificate["seed"])).decode().rstrip("=")
        return replace(
            self,
            client_id=name or self.client_id,
            access_token=token,
            certificate=json.dumps(certificate, separators=(",", ":")),
        )

    def authorization(self, method: str, url: str, body: bytes | None) -> str:
        """The Authorization header of one attempt at a request; ``body`` is JSON."""
        return hawk.header(
            self.client_id,
            self._key,
            method,
            hawk.Target.of(url),
            timestamp=int(time.time()),
            nonce=secrets.token_urlsafe(6),
            content_type="" if body is None else _CONTENT_TYPE,
            body=body or b"",
            ext=self._ext,
        )

    def signed_url(self, url: str, lifetime: timedelta = URL_LIFE, *, now: float | None = None) -> str:
        """A URL that anybody may GET for that long, with what these credentials may do."""
        expiry = int((time.time() if now is None else now) + lifetime.total_seconds())
        made = hawk.bewit(self.client_id, self._key, hawk.Target.of(url), expiry=expiry, ext=self._ext)
        return f"{url}{'&' if '?' in url else '?'}bewit={made}"

    @cached_property
    def _key(self) -> bytes:
        return self.access_token.encode("ascii")

    @cached_property
    def _ext(self) -> str:
        """What goes with every signature: nothing for permanent credentials without restriction."""
        told: dict[str, Any] = {}
        if self.certificate is not None:
            try:
                told["certificate"] = json.loads(self.certificate)
            except ValueError:
                told["certificate"] = None
            if not isinstance(told["certificate"], dict):
                raise ValueError("certificate: expected a JSON object as a string")
        if self.authorized_scopes is not None:
            told["authorizedScopes"] = list(self.authorized_scopes)
        return base64.b64encode(json.dumps(told, separators=(",", ":")).encode()).decode() if told else ""

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode(), hashlib.sha256)


def _signed_text(certificate: Mapping[str, Any], name: str | None) -> str:
    named = [] if name is None else [f"clientId:{name}", f"issuer:{certificate['issuer']}"]
    times = [f"{member}:{certificate[member]}" for member in ("seed", "start", "expiry")]
    return "\n".join(["version:1", *named, *times, "scopes:", *certificate["scopes"]])

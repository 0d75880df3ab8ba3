"""Named temporary credentials, made without storing anything (``auth.md`` 2)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.ids import slugid
from schemas.queue import TaskCredentials
from schemas.times import to_ms


@dataclass(frozen=True, slots=True)
class Issuer:
    """The permanent client that issues temporary credentials."""

    client_id: str
    access_token: str

    def __repr__(self) -> str:
        return f"Issuer({self.client_id!r})"


def two_slugids() -> str:
    """The 44-character seed of a certificate; also the form of a generated access token."""
    return slugid() + slugid()


def named_credentials(
    issuer: Issuer,
    name: str,
    scopes: Sequence[str],
    *,
    start: datetime,
    expiry: datetime,
    seed: Callable[[], str] = two_slugids,
) -> TaskCredentials:
    """Credentials of the client ``name`` with these scopes, valid from ``start`` to ``expiry``."""
    key = issuer.access_token.encode()
    certificate: dict[str, object] = {
        "version": 1,
        "scopes": list(scopes),
        "start": to_ms(start),
        "expiry": to_ms(expiry),
        "seed": seed(),
        "issuer": issuer.client_id,
    }
    certificate["signature"] = signature(key, name, certificate, scopes)
    token = hmac.digest(key, str(certificate["seed"]).encode(), hashlib.sha256)
    return TaskCredentials.trusted(
        client_id=name,
        access_token=base64.urlsafe_b64encode(token).decode().rstrip("="),
        certificate=json.dumps(certificate, separators=(",", ":")),
    )


def signature(key: bytes, name: str, certificate: dict[str, object], scopes: Sequence[str]) -> str:
    """What the issuer signs, line by line (``auth.md`` 2.2)."""
    text = "\n".join(
        (
            f"version:{certificate['version']}",
            f"clientId:{name}",
            f"issuer:{certificate['issuer']}",
            f"seed:{certificate['seed']}",
            f"start:{certificate['start']}",
            f"expiry:{certificate['expiry']}",
            "scopes:",
            *scopes,
        )
    )
    return base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()

"""Certificates of temporary credentials: what makes one valid, step by step (``auth.md`` 2.4)."""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from queue_service.auth.errors import NotAuthentic
from queue_service.auth.scopes import ScopeSet, valid_scope
from schemas.times import to_ms

SKEW: Final = timedelta(minutes=5)
"""How far the clock of an issuer may be off."""
LONGEST_LIFE: Final = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the issuer of temporary credentials says of them. Times are milliseconds since the epoch."""

    name: str | None
    """The client that they are for; without one they are for the issuer itself."""
    issuer: str
    scopes: tuple[str, ...]
    start: int
    expiry: int
    seed: str = field(repr=False)
    signature: str = field(repr=False)


def issuer_of(certificate: object, hawk_id: str) -> str:
    """The client that issued the certificate in a request signed as ``hawk_id``. Raises NotAuthentic."""
    if not isinstance(certificate, dict):
        raise NotAuthentic("The certificate must be an object.")
    if "issuer" not in certificate:
        if "clientId" in certificate:
            raise NotAuthentic("A certificate without `issuer` must not have a `clientId`.")
        return hawk_id
    issuer = certificate["issuer"]
    if not isinstance(issuer, str) or issuer == hawk_id:
        raise NotAuthentic("The `issuer` of the certificate must be a client other than the one it is for.")
    return issuer


def read_certificate(members: Mapping[str, Any], hawk_id: str) -> Certificate:
    """The certificate in a request signed as ``hawk_id``. Raises NotAuthentic unless it is in form."""
    if type(members.get("version")) is not int or members["version"] != 1:
        raise NotAuthentic("The `version` of the certificate must be 1.")
    seed = members.get("seed")
    if not isinstance(seed, str) or len(seed) != 44:
        raise NotAuthentic("The `seed` of the certificate must have 44 characters.")
    for name in ("start", "expiry"):
        if type(members.get(name)) is not int:
            raise NotAuthentic(f"The `{name}` of the certificate must be milliseconds since 1970.")
    signature = members.get("signature")
    if not isinstance(signature, str):
        raise NotAuthentic("The `signature` of the certificate must be a string.")
    return Certificate(
        name=hawk_id if "issuer" in members else None,
        issuer=members.get("issuer", hawk_id),
        scopes=read_scopes(members.get("scopes"), "The `scopes` of the certificate"),
        start=members["start"],
        expiry=members["expiry"],
        seed=seed,
        signature=signature,
    )


def read_scopes(value: object, what: str) -> tuple[str, ...]:
    """The value as scopes. Raises NotAuthentic, which says ``what`` is wrong."""
    if not isinstance(value, list) or not all(isinstance(one, str) and valid_scope(one) for one in value):
        raise NotAuthentic(f"{what} must be an array of scopes, which are printable ASCII.")
    return tuple(value)


def check_time(certificate: Certificate, now: datetime) -> None:
    """Raises NotAuthentic unless the credentials are valid now."""
    if certificate.start > to_ms(now + SKEW):
        raise NotAuthentic("The temporary credentials are not valid yet: look at `start`, and at the clocks.")
    if certificate.expiry < to_ms(now - SKEW):
        raise NotAuthentic("The temporary credentials have expired.")
    if certificate.expiry - certificate.start > LONGEST_LIFE // timedelta(milliseconds=1):
        raise NotAuthentic(f"Temporary credentials may be valid for {LONGEST_LIFE.days} days at most.")


def check_rights(certificate: Certificate, issuer: ScopeSet) -> None:
    """Raises NotAuthentic unless the expanded scopes of the issuer allow what the certificate gives."""
    if certificate.name is not None and not issuer.satisfies(f"auth:create-client:{certificate.name}"):
        raise NotAuthentic(
            f"The issuer `{certificate.issuer}` lacks the scope `auth:create-client:{certificate.name}`."
        )
    for scope in certificate.scopes:
        if not issuer.satisfies(scope):
            raise NotAuthentic(
                f"The issuer `{certificate.issuer}` lacks the scope `{scope}`, which the certificate gives."
            )


def check_signature(certificate: Certificate, key: bytes) -> None:
    """Raises NotAuthentic unless the issuer, who has this key, signed the certificate (2.2)."""
    expected = base64.b64encode(_digest(key, _signed_text(certificate)))
    if not hmac.compare_digest(expected, certificate.signature.encode("utf-8", "surrogatepass")):
        raise NotAuthentic("The signature of the certificate does not match.")


def temporary_key(certificate: Certificate, key: bytes) -> bytes:
    """The key that requests with the certificate are signed with (2.3)."""
    return base64.urlsafe_b64encode(_digest(key, certificate.seed)).rstrip(b"=")


def _signed_text(certificate: Certificate) -> str:
    named = []
    if certificate.name is not None:
        named = [f"clientId:{certificate.name}", f"issuer:{certificate.issuer}"]
    return "\n".join(
        [
            "version:1",
            *named,
            f"seed:{certificate.seed}",
            f"start:{certificate.start}",
            f"expiry:{certificate.expiry}",
            "scopes:",
            *certificate.scopes,
        ]
    )


def _digest(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")

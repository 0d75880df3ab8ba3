"""Hawk: how a header or a URL proves who made the request (``auth.md`` 1).

Our own and not a library's: ``docs/decisions/0009-own-hawk.md``.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from queue_service.auth.errors import NotAuthentic
from queue_service.auth.request import SignedRequest

MAX_HEADER: Final = 64 * 1024
"""Characters of an Authorization header or a bewit. A certificate in it holds all scopes of its task."""

_FIRST_NAME: Final = re.compile(r"(?i:hawk) +([a-z]+)=")
_NEXT_NAME: Final = re.compile(r" *, *([a-z]+)=")
_NEEDED: Final = ("id", "ts", "nonce", "mac")
_KNOWN: Final = frozenset((*_NEEDED, "hash", "ext"))

_SECONDS: Final = re.compile(r"[0-9]{1,15}")
_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a request brings to prove who sent it; nothing of it is believed before :meth:`check_mac`."""

    kind: Literal["header", "bewit"]
    client_id: str
    ts: str
    """Seconds since the epoch: when it was signed, of a bewit when it ends. As it was written."""
    nonce: str
    mac: str
    method: str
    resource: str
    hash: str | None
    """Of the body, if the client signed it."""
    ext: str
    """Still encoded; empty without."""

    def check_time(self, now: datetime, skew: timedelta) -> None:
        """Raises NotAuthentic when a signature is too old or too new, or a signed URL has expired."""
        seconds = now.timestamp()
        if self.kind == "bewit":
            if int(self.ts) <= seconds:
                raise NotAuthentic(f"The signed URL has expired: it ended at {self.ts} (now: {seconds:.0f}).")
        elif abs(int(self.ts) - seconds) > skew.total_seconds():
            raise NotAuthentic(
                f"The request was signed at {self.ts}, which is too far from the time of the server"
                f" ({seconds:.0f}). Look at the clock of the client."
            )

    def check_mac(self, key: bytes, request: SignedRequest) -> None:
        """Raises NotAuthentic unless the holder of the key signed exactly this request."""
        # Neither an attribute nor a part of a bewit can hold what Hawk would escape in ext.
        text = (
            f"hawk.1.{self.kind}\n{self.ts}\n{self.nonce}\n{self.method}\n{self.resource}\n"
            f"{request.host}\n{request.port}\n{self.hash or ''}\n{self.ext}\n"
        )
        if not hmac.compare_digest(_base64_hmac(key, text), self.mac):
            raise NotAuthentic(
                "The signature does not match: another access token, or not the method, URL, host or port"
                f" that was signed (this is {request.host}, port {request.port})."
            )

    def check_payload(self, request: SignedRequest) -> None:
        """Raises NotAuthentic unless the body is the one that was signed, if one was."""
        if self.hash is not None and not hmac.compare_digest(
            payload_hash(request.content_type, request.body), self.hash
        ):
            raise NotAuthentic("The hash that was signed is not that of the body and its Content-Type.")


def signature_of(request: SignedRequest) -> Signature | None:
    """The signature of a request; None for a request without. Raises NotAuthentic for one out of form."""
    bewit, resource = _without_bewit(request.resource)
    if request.authorization is None:
        return None if bewit is None else _read_bewit(bewit, request.method, resource)
    if bewit is not None:
        raise NotAuthentic("The request has both an Authorization header and a bewit.")
    return _read_header(request.authorization, request.method, resource)


def _read_header(text: str, method: str, resource: str) -> Signature:
    if len(text) > MAX_HEADER:
        raise NotAuthentic(f"The Authorization header is longer than {MAX_HEADER} characters.")
    attributes = _attributes(text)
    if not _KNOWN.issuperset(attributes):
        raise NotAuthentic(f"The Authorization header may have the attributes {', '.join(sorted(_KNOWN))}.")
    for name in _NEEDED:
        if not attributes.get(name):
            raise NotAuthentic(f"The Authorization header lacks the attribute `{name}`.")
    return Signature(
        kind="header",
        client_id=attributes["id"],
        ts=_seconds(attributes["ts"]),
        nonce=attributes["nonce"],
        mac=attributes["mac"],
        method=method,
        resource=resource,
        hash=attributes.get("hash"),
        ext=attributes.get("ext", ""),
    )


def _attributes(text: str) -> dict[str, str]:
    """The attributes of a header by name. What is between two quotes is a value, and may be very long."""
    *pieces, end = text.split('"')
    names = [
        (_NEXT_NAME if place else _FIRST_NAME).fullmatch(piece) for place, piece in enumerate(pieces[::2])
    ]
    printable = text.isascii() and text.isprintable() and "\\" not in text
    if not pieces or len(pieces) % 2 or end.strip(" ") or None in names or not printable:
        raise NotAuthentic('The Authorization header must be `Hawk` and then `name="value"`, with commas.')
    attributes = {name[1]: value for name, value in zip(names, pieces[1::2], strict=True) if name}
    if len(attributes) < len(names):
        raise NotAuthentic("An attribute of the Authorization header is there more than once.")
    return attributes


def _without_bewit(resource: str) -> tuple[str | None, str]:
    """The bewit of a raw resource, None without, and the resource as it was before the bewit was added."""
    path, _, query = resource.partition("?")
    if "bewit=" not in query:
        return None, resource
    parts = query.split("&")
    bewits = [part for part in parts if part.startswith("bewit=")]
    if not bewits:
        return None, resource
    if len(bewits) > 1:
        raise NotAuthentic("The URL has more than one bewit.")
    parts.remove(bewits[0])
    return bewits[0].removeprefix("bewit="), "?".join((path, "&".join(parts))) if parts else path


def _read_bewit(text: str, method: str, resource: str) -> Signature:
    if method not in ("GET", "HEAD"):
        raise NotAuthentic("A bewit is good for GET and HEAD only.")
    if len(text) > MAX_HEADER:
        raise NotAuthentic(f"The bewit is longer than {MAX_HEADER} characters.")
    try:
        inner = _decoded(text.replace("%3D", "=").replace("%3d", "=")).decode("ascii")
    except ValueError:
        raise NotAuthentic("The bewit is not base64 of ASCII text.") from None
    parts = inner.split("\\")
    if len(parts) != 4 or not all(parts[:3]) or not inner.isprintable():
        raise NotAuthentic("The bewit must have the four parts client id, expiry, mac and ext.")
    client_id, expiry, mac, ext = parts
    return Signature(
        kind="bewit",
        client_id=client_id,
        ts=_seconds(expiry),
        nonce="",
        mac=mac,
        method="GET",
        resource=resource,
        hash=None,
        ext=ext,
    )


def _seconds(text: str) -> str:
    if _SECONDS.fullmatch(text) is None:
        raise NotAuthentic("The time of the signature must be seconds since 1970, a whole number.")
    return text


def decoded_ext(ext: str) -> dict[str, Any]:
    """What a client says beside its signature. Raises NotAuthentic when that is no JSON object."""
    try:
        value = json.loads(_decoded(ext).decode()) if ext else {}
    except (ValueError, RecursionError):
        raise NotAuthentic("`ext` is not base64 of JSON.") from None
    if not isinstance(value, dict):
        raise NotAuthentic("`ext` must be a JSON object.")
    return value


def payload_hash(content_type: str, body: bytes) -> str:
    """The hash of a body; the parameters of its content type do not count."""
    kind = content_type.partition(";")[0].strip().lower().encode()
    return base64.b64encode(hashlib.sha256(b"hawk.1.payload\n%b\n%b\n" % (kind, body)).digest()).decode()


def _base64_hmac(key: bytes, text: str) -> str:
    digest = hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")
    return base64.b64encode(digest).decode()


def _decoded(text: str) -> bytes:
    """Base64 in one of its two alphabets, with or without padding. Raises ValueError."""
    bare = text.rstrip("=").translate(_STANDARD_ALPHABET)
    return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)

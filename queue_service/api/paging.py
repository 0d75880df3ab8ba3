"""Pages: ``limit`` and ``continuationToken`` (``queue-behaviour.md`` 9)."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from queue_service.core.errors import InputError

MAX_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Which page is asked for: entries after a key, at most ``limit`` of them."""

    after: str
    limit: int

    @property
    def wanted(self) -> int:
        """One more than the limit, to know whether there are more."""
        return self.limit + 1

    def cut(self, found: Sequence[str]) -> tuple[list[str], str | None]:
        """The keys of this page, and the token of the next one if there is one."""
        keys = list(found[: self.limit])
        return keys, _token(keys[-1]) if len(found) > self.limit else None


def decimal(digits: str) -> int:
    """The value of a string of digits; very long ones are simply large."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < 10 else 10**9


def page_of(query: Mapping[str, str]) -> Page:
    """The page that a query string asks for. Raises InputError for a token that we did not make."""
    limit = min(decimal(query["limit"]), MAX_LIMIT) if "limit" in query else MAX_LIMIT
    token = query.get("continuationToken")
    return Page(_key(token) if token is not None else "", max(limit, 1))


def _token(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _key(token: str) -> str:
    try:
        key = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        key = ""
    if not key or _token(key) != token or not key.isprintable():
        raise InputError("`continuationToken` is not one that this service has given out.")
    return key

"""Pages: ``limit`` and ``continuationToken`` (``queue-behaviour.md`` 9)."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from queue_service.core.errors import InputError

MAX_LIMIT = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


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
        return keys, token_of(keys[-1]) if len(found) > self.limit else None

    def token_after(self, key: str) -> str:
        """The token of the page that begins after this key."""
        return token_of(key)


def decimal(digits: str) -> int:
    """The value of a string of digits; very long ones are simply large."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < 10 else 10**9


def page_of(query: Mapping[str, str], *, limit: str = "limit", usual: int = MAX_LIMIT) -> Page:
    """The page that a query string asks for: ``limit`` is what its size is called, ``usual`` its default.

    Raises InputError for a token that we did not make.
    """
    size = min(decimal(query[limit]), MAX_LIMIT) if limit in query else usual
    token = query.get("continuationToken")
    return Page(_key(token) if token is not None else "", max(size, 1))


def token_of(key: str) -> str:
    """A token that stands for this key."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _key(token: str) -> str:
    try:
        key = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        key = ""
    if not key or token_of(key) != token or _CONTROL.search(key):
        raise InputError("`continuationToken` is not one that this service has given out.")
    return key

"""URLs that carry their own permission: what may be sent or fetched, and until when, signed with HMAC."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode

from queue_service.blobs.store import checked_content_type, checked_key

PATH: Final = "/blobs/"
_FIELDS: Final[dict[str, frozenset[str]]] = {
    "PUT": frozenset({"expires", "type", "length"}),
    "GET": frozenset({"expires"}),
}
_SIGNATURE: Final = "signature"


class UrlRefused(Exception):
    """The URL permits nothing, or not any more."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What a signed URL permits."""

    method: Literal["PUT", "GET"]
    """GET includes HEAD."""
    key: str
    expires: datetime | None
    """In whole seconds; None is for ever."""
    content_type: str = ""
    content_length: int | None = None

    def fields(self) -> dict[str, str]:
        """The query of the URL, without its signature."""
        fields: dict[str, str] = {}
        if self.expires is not None:
            fields["expires"] = str(int(self.expires.timestamp()))
        if self.method == "PUT":
            fields["type"] = self.content_type
            if self.content_length is not None:
                fields["length"] = str(self.content_length)
        return fields


class SignedUrls:
    """Makes and checks URLs below ``root_url``; ``secret`` is the same in all processes that serve them."""

    def __init__(self, root_url: str, secret: bytes) -> None:
        self._root_url = root_url.rstrip("/")
        self._secret = secret

    def upload(self, key: str, *, content_type: str, content_length: int | None, expires: datetime) -> str:
        """A URL for one PUT of these bytes. Raises InvalidKey, InvalidContentType."""
        content_type = checked_content_type(content_type)
        return self._url(Permission("PUT", checked_key(key), _up(expires), content_type, content_length))

    def download(self, key: str, *, expires: datetime | None) -> str:
        """A URL for GET and HEAD. Raises InvalidKey."""
        return self._url(Permission("GET", checked_key(key), None if expires is None else _up(expires)))

    def permission(self, method: Literal["PUT", "GET"], key: str, query: str, now: datetime) -> Permission:
        """What the URL of this request permits now. Raises UrlRefused.

        The values are signed and not their spelling, as some clients spell a query anew.
        """
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=8)
        except ValueError:
            raise UrlRefused("The URL is not signed.") from None
        fields = dict(pairs)
        given = fields.pop(_SIGNATURE, "")
        if len(pairs) != len(fields) + 1 or not fields.keys() <= _FIELDS[method]:
            raise UrlRefused("The URL is not signed as expected.")
        if not hmac.compare_digest(given.encode(), self._signature(method, key, fields).encode()):
            raise UrlRefused(f"The signature of the URL is not that of a {method} of this blob.")
        # From here on the fields are our own.
        expires = _moment(fields["expires"]) if "expires" in fields else None
        if expires is not None and expires <= now:
            raise UrlRefused(f"The URL expired at {expires:%Y-%m-%dT%H:%M:%SZ}.")
        length = fields.get("length")
        return Permission(
            method, key, expires, fields.get("type", ""), None if length is None else int(length)
        )

    def _url(self, permission: Permission) -> str:
        fields = permission.fields()
        signature = self._signature(permission.method, permission.key, fields)
        return f"{self._root_url}{PATH}{permission.key}?{urlencode({**fields, _SIGNATURE: signature})}"

    def _signature(self, method: str, key: str, fields: dict[str, str]) -> str:
        text = json.dumps([method, key, sorted(fields.items())])
        return hmac.digest(self._secret, text.encode(), hashlib.sha256).hex()


def _up(moment: datetime) -> datetime:
    """The whole second that is not before the moment."""
    return moment if moment.microsecond == 0 else moment.replace(microsecond=0) + timedelta(seconds=1)


def _moment(seconds: str) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)

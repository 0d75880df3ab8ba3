"""The seam between artifacts and where their bytes lie; clients send and fetch the bytes by URL."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

MAX_KEY: Final = 200
_KEY: Final = re.compile(r"[a-z0-9_-]+(/[a-z0-9_-]+)*")
_CONTENT_TYPE: Final = re.compile(r"[ -~]{0,255}")


class InvalidKey(ValueError):
    """A key is 1 to 200 of ``a-z0-9_-/``, in parts that are not empty: safe as a path and as an S3 key."""


class InvalidContentType(ValueError):
    """A content type is a line of printable ASCII: it travels as a header."""


class BlobsUnavailable(Exception):
    """The bytes cannot be reached now, such as a bucket that does not answer; try again."""


class BlobStore(Protocol):
    """Keeps blobs by key. Every method raises InvalidKey for a key that :func:`checked_key` refuses.

    A blob is visible once its upload is complete, and as a whole: what was cut in the middle never is.
    A second upload of a key replaces the first in one step.
    Keys of blobs that anybody may read should begin with ``public/``, so that the policy of a bucket can
    name them.
    """

    async def upload_url(
        self, key: str, *, content_type: str, content_length: int | None, expires: datetime
    ) -> str:
        """An absolute URL that takes one HTTP PUT, answered with 200, until ``expires``.

        The PUT must have this content type and, unless None, this length in bytes. Its content encoding is
        kept and the bytes are stored as they come. Raises InvalidContentType.
        """
        ...

    async def download_url(self, key: str, *, expires: datetime, public: bool = False) -> str:
        """An absolute URL for GET; it may be made before the upload is complete, and answers 404 until then.

        ``public``: anybody may read it, so that the URL may outlive ``expires`` where the settings say so.
        """
        ...

    async def write(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store a small blob that came inside a call, as one complete upload (``dataInline`` of objects)."""
        ...

    async def size(self, key: str) -> int | None:
        """The length in bytes as stored; None without a complete upload. Raises BlobsUnavailable."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete these blobs, any number of them; those that do not exist are no error.

        Raises BlobsUnavailable when some may be left.
        """
        ...


def checked_key(key: str) -> str:
    """The key itself. Raises InvalidKey."""
    if len(key) > MAX_KEY or _KEY.fullmatch(key) is None:
        raise InvalidKey(f"{key[:MAX_KEY]!r} is no key. {InvalidKey.__doc__}")
    return key


def checked_content_type(content_type: str) -> str:
    """The content type as it travels: without space around it. Raises InvalidContentType."""
    if _CONTENT_TYPE.fullmatch(content_type) is None:
        raise InvalidContentType(f"{content_type!r} is no content type. {InvalidContentType.__doc__}")
    return content_type.strip(" ")

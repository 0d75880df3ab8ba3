"""A blob store in memory; tests upload and look at bytes where a client would use the URLs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from queue_service.blobs.store import checked_content_type, checked_key


@dataclass(frozen=True)
class UploadUrl:
    """What was promised with an upload URL."""

    key: str
    content_type: str
    content_length: int | None
    expires: datetime


class MemoryBlobs:
    """Keeps bytes by key; ``put`` is the client's upload."""

    def __init__(self) -> None:
        self.bytes: dict[str, bytes] = {}
        self.urls: dict[str, UploadUrl] = {}
        """What each upload URL that was given out allows."""
        self.deleted: list[str] = []

    def put(self, url: str, data: bytes) -> None:
        """Upload to a URL that was given out."""
        self.bytes[self.urls[url].key] = data

    def fetch(self, url: str) -> bytes:
        """What is behind a download URL. Raises KeyError when there is nothing."""
        return self.bytes[url.removeprefix("https://blobs.test/get/").partition("?")[0]]

    async def upload_url(
        self, key: str, *, content_type: str, content_length: int | None, expires: datetime
    ) -> str:
        url = f"https://blobs.test/put/{len(self.urls)}/{checked_key(key)}"
        self.urls[url] = UploadUrl(key, checked_content_type(content_type), content_length, expires)
        return url

    async def download_url(self, key: str, *, expires: datetime, public: bool = False) -> str:
        query = "public" if public else f"until={expires.timestamp():.0f}"
        return f"https://blobs.test/get/{checked_key(key)}?{query}"

    async def write(self, key: str, data: bytes, *, content_type: str) -> None:
        checked_content_type(content_type)
        self.bytes[checked_key(key)] = data

    async def size(self, key: str) -> int | None:
        return len(self.bytes[key]) if key in self.bytes else None

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.deleted.append(checked_key(key))
            self.bytes.pop(key, None)

"""Blobs in a bucket of an S3-compatible service: clients send and fetch them there by presigned URLs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from queue_service.blobs.store import BlobsUnavailable, checked_content_type, checked_key
from queue_service.clock import Clock

T = TypeVar("T")

THREADS: Final = 8
DELETED_AT_ONCE: Final = 1000
"""What S3 takes in one call."""
LONGEST_URL: Final = 7 * 24 * 3600
"""Seconds; S3 signs none for longer."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where the bucket is and who we are there."""

    name: str
    endpoint: str = ""
    """URL of the service; empty is AWS."""
    region: str = "us-east-1"
    access_key: str = ""
    """Empty takes the credentials of the environment or the machine, as the AWS programs do."""
    secret_key: str = field(default="", repr=False)
    prefix: str = ""
    """Before every key, such as ``taskbus/``."""
    path_style: bool = False
    """The bucket's name in the path of URLs and not in their host."""


class S3Blobs:
    """Keeps blobs in a bucket (see :class:`~queue_service.blobs.store.BlobStore`).

    ``public_links``: download URLs of public blobs are not signed; the policy of the bucket must let anybody
    read what begins with the prefix and ``public/``.
    """

    def __init__(self, bucket: Bucket, clock: Clock, *, public_links: bool = False) -> None:
        self._bucket = bucket
        self._clock = clock
        self._client = _client(bucket, "s3v4")
        self._unsigned = _client(bucket, UNSIGNED) if public_links else None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")

    async def upload_url(
        self, key: str, *, content_type: str, content_length: int | None, expires: datetime
    ) -> str:
        # Content-Encoding is not signed, so that clients may send one; S3 keeps it.
        promised: dict[str, Any] = {"ContentType": checked_content_type(content_type)}
        if content_length is not None:
            promised["ContentLength"] = content_length
        return await self._url(self._client, "put_object", key, expires, **promised)

    async def download_url(self, key: str, *, expires: datetime, public: bool = False) -> str:
        client = self._unsigned if public and self._unsigned is not None else self._client
        return await self._url(client, "get_object", key, expires)

    async def write(self, key: str, data: bytes, *, content_type: str) -> None:
        where, content_type = self._where(key), checked_content_type(content_type)
        await self._asked(lambda: self._client.put_object(**where, Body=data, ContentType=content_type))

    async def size(self, key: str) -> int | None:
        where = self._where(key)
        try:
            found = await self._asked(lambda: self._client.head_object(**where))
        except _Missing:
            return None
        return int(found["ContentLength"])

    async def delete(self, keys: Sequence[str]) -> None:
        names = [self._where(key)["Key"] for key in keys]
        for first in range(0, len(names), DELETED_AT_ONCE):
            await self._delete_some(names[first : first + DELETED_AT_ONCE])

    async def close(self) -> None:
        """Take no more work; calls that wait for the bucket are not waited for."""
        self._threads.shutdown(wait=False)

    async def _delete_some(self, names: Sequence[str]) -> None:
        listed = {"Objects": [{"Key": name} for name in names], "Quiet": True}
        done: Mapping[str, Any] = await self._asked(
            lambda: self._client.delete_objects(Bucket=self._bucket.name, Delete=listed)
        )
        if errors := done.get("Errors"):
            text = f"the bucket did not delete {len(errors)} blobs: {errors[0].get('Code')}"
            raise BlobsUnavailable(text)

    async def _url(self, client: Any, call: str, key: str, expires: datetime, **promised: Any) -> str:
        seconds = round((expires - self._clock.now()).total_seconds())
        params = {**self._where(key), **promised}
        # In a thread: it is a millisecond of work, and now and then new credentials are fetched for it.
        url: str = await self._asked(
            lambda: client.generate_presigned_url(
                call, Params=params, ExpiresIn=min(max(seconds, 1), LONGEST_URL)
            )
        )
        return url

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": self._bucket.prefix + checked_key(key)}

    async def _asked(self, call: Callable[[], T]) -> T:
        """Ask the bucket, in a thread. Raises BlobsUnavailable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            if code in ("404", "NoSuchKey", "NotFound"):
                raise _Missing from None
            raise BlobsUnavailable(f"the bucket answers {code}") from error
        except BotoCoreError as error:
            raise BlobsUnavailable(f"the bucket cannot be asked: {type(error).__name__}") from error


class _Missing(BlobsUnavailable):
    """The bucket has no such blob."""


def _client(bucket: Bucket, signature: object) -> Any:
    return boto3.Session().client(
        "s3",
        endpoint_url=bucket.endpoint or None,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key or None,
        aws_secret_access_key=bucket.secret_key or None,
        config=Config(
            signature_version=signature,
            s3={"addressing_style": "path" if bucket.path_style else "virtual"},
            connect_timeout=5,
            read_timeout=20,
            retries={"mode": "standard", "max_attempts": 3},
            # The checksums that newer versions add would be demanded of the clients of presigned URLs.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )

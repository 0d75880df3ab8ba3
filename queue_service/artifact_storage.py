"""Where the bytes of artifacts lie, by the settings: in a bucket when one is named, else in a directory."""

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from queue_service.blobs.directory import Directory
from queue_service.blobs.local import LocalBlobs
from queue_service.blobs.urls import SignedUrls
from queue_service.clock import Clock
from queue_service.settings import Settings

if TYPE_CHECKING:
    from queue_service.blobs.s3 import S3Blobs

_PURPOSE: Final = b"taskbus signed URLs of blobs"


class ArtifactStorageUnusable(Exception):
    """The bytes of artifacts cannot be kept as the settings say; the text says why and what to change."""


def open_blobs(settings: Settings, clock: Clock, secret: bytes) -> "LocalBlobs | S3Blobs":
    """The store. ``secret`` is the service's, the same in all of its processes and after a restart.

    Raises ArtifactStorageUnusable.
    """
    return _bucket(settings, clock) if settings.artifacts_s3_bucket else _directory(settings, clock, secret)


def _bucket(settings: Settings, clock: Clock) -> "S3Blobs":
    try:
        from queue_service.blobs.s3 import Bucket, S3Blobs  # time and memory that few need

        bucket = Bucket(
            name=settings.artifacts_s3_bucket,
            endpoint=settings.artifacts_s3_endpoint,
            region=settings.artifacts_s3_region,
            access_key=settings.artifacts_s3_access_key,
            secret_key=settings.artifacts_s3_secret_key.get_secret_value(),
            prefix=settings.artifacts_s3_prefix,
            path_style=settings.artifacts_s3_path_style,
        )
        return S3Blobs(bucket, clock, public_links=settings.artifacts_public_links)
    except ModuleNotFoundError:
        text = "TASKBUS_ARTIFACTS_S3_BUCKET needs a further library: pip install 'taskbus[s3]'"
        raise ArtifactStorageUnusable(text) from None
    except ValueError as error:
        raise ArtifactStorageUnusable(f"TASKBUS_ARTIFACTS_S3_ENDPOINT is not usable: {error}") from None


def _directory(settings: Settings, clock: Clock, secret: bytes) -> LocalBlobs:
    directory = Directory(settings.artifacts_path, reserve=settings.artifacts_disk_reserve)
    if settings.artifacts_directory:
        try:
            directory.prepare()
        except OSError as error:
            raise ArtifactStorageUnusable(f"TASKBUS_ARTIFACTS_DIRECTORY is not usable: {error}") from None
    return LocalBlobs(
        directory,
        SignedUrls(settings.reached_at, hmac.digest(secret, _PURPOSE, hashlib.sha256)),
        clock,
        max_size=settings.artifacts_max_bytes,
        public_links=settings.artifacts_public_links,
    )

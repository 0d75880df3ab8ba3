"""What only a bucket does: presigned URLs, deletion in batches, and a service that does not answer."""

import os
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import aiohttp
import boto3
import pytest

from queue_service.blobs.s3 import Bucket, S3Blobs
from queue_service.blobs.store import BlobsUnavailable
from queue_service.clock import SystemClock
from tests.blobs.client import Client, soon
from tests.blobs.serving import bound


def query(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


async def test_what_was_promised_is_signed(s3_blobs: S3Blobs) -> None:
    url = await s3_blobs.upload_url("a", content_type="text/plain", content_length=12, expires=soon())
    assert query(url)["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]


async def test_an_encoding_and_an_unknown_length_are_left_to_the_client(s3_blobs: S3Blobs) -> None:
    url = await s3_blobs.upload_url("a", content_type="text/plain", content_length=None, expires=soon())
    assert query(url)["X-Amz-SignedHeaders"] == ["content-type;host"]


async def test_no_checksum_is_demanded_of_clients(s3_blobs: S3Blobs) -> None:
    url = await s3_blobs.upload_url("a", content_type="text/plain", content_length=12, expires=soon())
    assert not [name for name in query(url) if "checksum" in name.lower()]


@pytest.mark.parametrize(
    ("ahead", "seconds"),
    [
        (timedelta(minutes=45), range(2695, 2701)),
        (timedelta(days=30), range(604800, 604801)),
        (timedelta(days=-1), range(1, 2)),
    ],
)
async def test_a_url_lives_as_long_as_asked_and_at_most_a_week(
    s3_blobs: S3Blobs, ahead: timedelta, seconds: range
) -> None:
    url = await s3_blobs.download_url("a", expires=SystemClock().now() + ahead)
    assert int(query(url)["X-Amz-Expires"][0]) in seconds


async def test_keys_lie_below_the_prefix(
    s3_blobs: S3Blobs, bucket: Bucket, http: aiohttp.ClientSession
) -> None:
    await Client(s3_blobs, http).put("t/1", b"bytes")
    listed = boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
    ).list_objects_v2(Bucket=bucket.name)
    assert [found["Key"] for found in listed["Contents"]] == ["taskbus/t/1"]


async def test_the_bucket_is_named_in_the_host_or_in_the_path(bucket: Bucket) -> None:
    for path_style, expected in (
        (True, ("s3.example.com", "/artifacts/t/1")),
        (False, ("artifacts.s3.example.com", "/t/1")),
    ):
        blobs = S3Blobs(
            Bucket("artifacts", "https://s3.example.com", "us-east-1", "key", "hush", path_style=path_style),
            SystemClock(),
        )
        where = urlsplit(await blobs.download_url("t/1", expires=soon()))
        assert (where.hostname, where.path) == expected
        await blobs.close()


async def test_links_to_public_blobs_are_unsigned_when_the_settings_say_so(bucket: Bucket) -> None:
    blobs = S3Blobs(bucket, SystemClock(), public_links=True)
    url = await blobs.download_url("public/1", expires=soon(), public=True)
    assert url == f"{bucket.endpoint}/{bucket.name}/taskbus/public/1"
    assert "X-Amz-Signature" in await blobs.download_url("t/1", expires=soon())
    await blobs.close()


async def test_links_to_public_blobs_are_signed_otherwise(s3_blobs: S3Blobs) -> None:
    assert "X-Amz-Signature" in await s3_blobs.download_url("public/1", expires=soon(), public=True)


async def test_a_bucket_that_does_not_exist_is_told(s3_endpoint: str) -> None:
    blobs = S3Blobs(
        Bucket("no-such-bucket", s3_endpoint, "us-east-1", "key", "hush", path_style=True), SystemClock()
    )
    with pytest.raises(BlobsUnavailable, match="NoSuchBucket"):
        await blobs.delete(["a"])
    with pytest.raises(BlobsUnavailable, match="NoSuchBucket"):
        await blobs.write("a", b"bytes", content_type="text/plain")
    await blobs.close()


async def test_a_service_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.RetryHandler.needs_retry", lambda *_, **__: None)
    with bound() as listener:
        port = listener.getsockname()[1]
    blobs = S3Blobs(
        Bucket("b", f"http://127.0.0.1:{port}", "us-east-1", "key", "hush", path_style=True), SystemClock()
    )
    for call in (blobs.size("a"), blobs.delete(["a"]), blobs.write("a", b"", content_type="a/b")):
        with pytest.raises(BlobsUnavailable, match="cannot be asked: EndpointConnectionError"):
            await call
    await blobs.close()


async def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("SHARED_CREDENTIALS_FILE", "CONFIG_FILE"):
        monkeypatch.setenv(f"AWS_{name}", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    blobs = S3Blobs(Bucket("b", "https://s3.example.com"), SystemClock())
    with pytest.raises(BlobsUnavailable, match="NoCredentialsError"):
        await blobs.download_url("t/1", expires=soon())
    await blobs.close()


async def test_blobs_that_were_not_deleted_are_told(
    s3_blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(**_: object) -> dict[str, object]:
        return {"Errors": [{"Key": "taskbus/a", "Code": "AccessDenied"}]}

    monkeypatch.setattr(s3_blobs._client, "delete_objects", refuses)
    with pytest.raises(BlobsUnavailable, match="1 blobs: AccessDenied"):
        await s3_blobs.delete(["a", "b"])


def test_the_secret_is_never_shown(bucket: Bucket) -> None:
    assert bucket.secret_key == "hush"
    assert "hush" not in repr(bucket)

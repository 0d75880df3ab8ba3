"""Both kinds of store, each empty and reached over real HTTP: a directory, and a bucket of an S3 server."""

import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import aiohttp
import boto3
import pytest
from moto.server import ThreadedMotoServer

from queue_service.blobs.local import LocalBlobs
from queue_service.blobs.s3 import Bucket, S3Blobs
from queue_service.clock import SystemClock
from tests.blobs.client import Client
from tests.blobs.serving import bound, serving

REGION: Final = "us-east-1"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server of this session."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str) -> Bucket:
    """An empty bucket."""
    found = Bucket(
        name=f"test-{uuid.uuid4()}",
        endpoint=s3_endpoint,
        region=REGION,
        access_key="key",
        secret_key="hush",
        prefix="taskbus/",
        path_style=True,
    )
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name=REGION,
        aws_access_key_id="key",
        aws_secret_access_key="hush",
    )
    client.create_bucket(Bucket=found.name)
    return found


@pytest.fixture
async def s3_blobs(bucket: Bucket) -> AsyncIterator[S3Blobs]:
    blobs = S3Blobs(bucket, SystemClock())
    yield blobs
    await blobs.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
async def local_blobs(directory: Path) -> AsyncIterator[LocalBlobs]:
    async with serving(directory, bound()) as blobs:
        yield blobs


@pytest.fixture(params=["local", "s3"])
def blobs(request: pytest.FixtureRequest) -> LocalBlobs | S3Blobs:
    found: LocalBlobs | S3Blobs = request.getfixturevalue(f"{request.param}_blobs")
    return found


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def client(blobs: LocalBlobs | S3Blobs, http: aiohttp.ClientSession) -> Client:
    return Client(blobs, http)


@pytest.fixture
def local_client(local_blobs: LocalBlobs, http: aiohttp.ClientSession) -> Client:
    return Client(local_blobs, http)

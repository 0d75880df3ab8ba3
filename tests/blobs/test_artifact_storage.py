"""Which store the settings make, and what is said when they cannot."""

import builtins
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from queue_service.artifact_storage import ArtifactStorageUnusable, open_blobs
from queue_service.blobs.local import LocalBlobs
from queue_service.blobs.s3 import S3Blobs
from queue_service.blobs.urls import UrlRefused
from queue_service.clock import SystemClock
from queue_service.service import Service
from queue_service.settings import Settings
from tests.api.asgi import request
from tests.blobs.client import soon

Open = Callable[..., "LocalBlobs | S3Blobs"]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    stores: list[LocalBlobs | S3Blobs] = []

    def open_(secret: bytes = b"secret", **settings: Any) -> LocalBlobs | S3Blobs:
        values = {"database_url": f"sqlite:///{tmp_path}/taskbus.sqlite", **settings}
        stores.append(open_blobs(Settings(**values), SystemClock(), secret))
        return stores[-1]

    yield open_
    for store in stores:
        await store.close()


async def test_bytes_lie_beside_the_sqlite_file(opened: Open, tmp_path: Path) -> None:
    await opened().write("t/1", b"bytes", content_type="text/plain")
    assert (tmp_path / "taskbus-artifacts" / "blobs" / "t" / "1.blob").is_file()


async def test_bytes_lie_in_the_directory_of_the_settings(opened: Open, tmp_path: Path) -> None:
    await opened(artifacts_directory=str(tmp_path / "elsewhere")).write("t/1", b"bytes", content_type="a/b")
    assert (tmp_path / "elsewhere" / "blobs" / "t" / "1.blob").is_file()


def test_without_sqlite_bytes_lie_in_the_working_directory() -> None:
    for url in ("postgresql://localhost/taskbus", "sqlite://", "sqlite:///:memory:"):
        assert Settings(database_url=url).artifacts_path == Path("taskbus-artifacts")


def test_a_service_that_is_not_asked_for_artifacts_makes_no_directory(opened: Open, tmp_path: Path) -> None:
    opened()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_told_at_once(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactStorageUnusable, match="TASKBUS_ARTIFACTS_DIRECTORY"):
        opened(artifacts_directory=str(tmp_path / "file" / "below"))


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({"port": 8081}, "http://127.0.0.1:8081/blobs/t/1?"),
        ({"host": "::1", "port": 8081}, "http://[::1]:8081/blobs/t/1?"),
        ({"root_url": "https://example.com/taskbus/"}, "https://example.com/taskbus/blobs/t/1?"),
    ],
)
async def test_urls_begin_where_clients_reach_the_service(
    opened: Open, settings: dict[str, Any], start: str
) -> None:
    assert (await opened(**settings).download_url("t/1", expires=soon())).startswith(start)


async def test_another_process_with_the_same_secret_serves_the_urls(opened: Open) -> None:
    query = (await opened().download_url("t/1", expires=soon())).partition("?")[2]
    same, other = opened(), opened(secret=b"other")
    assert isinstance(same, LocalBlobs)
    assert isinstance(other, LocalBlobs)
    now = SystemClock().now()
    assert same.urls.permission("GET", "t/1", query, now).key == "t/1"
    with pytest.raises(UrlRefused):
        other.urls.permission("GET", "t/1", query, now)


async def test_a_bucket_that_is_named_is_used(opened: Open) -> None:
    blobs = opened(
        artifacts_s3_bucket="artifacts",
        artifacts_s3_endpoint="https://s3.example.com",
        artifacts_s3_access_key="key",
        artifacts_s3_secret_key="hush",
        artifacts_s3_prefix="taskbus/",
        artifacts_s3_path_style=True,
    )
    url = await blobs.download_url("t/1", expires=soon())
    assert isinstance(blobs, S3Blobs)
    assert url.startswith("https://s3.example.com/artifacts/taskbus/t/1?")


def test_an_endpoint_that_is_no_url_is_told(opened: Open) -> None:
    with pytest.raises(ArtifactStorageUnusable, match="TASKBUS_ARTIFACTS_S3_ENDPOINT"):
        opened(artifacts_s3_bucket="artifacts", artifacts_s3_endpoint="s3.example.com")


def test_a_missing_library_is_told_with_how_to_get_it(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    import_ = builtins.__import__

    def without_s3(name: str, *rest: Any) -> Any:
        if name == "queue_service.blobs.s3":
            raise ModuleNotFoundError(name="boto3")
        return import_(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_s3)
    with pytest.raises(ArtifactStorageUnusable, match=r"pip install 'taskbus\[s3\]'"):
        opened(artifacts_s3_bucket="artifacts")


@pytest.mark.parametrize("prefix", ["taskbus", "/", "/taskbus/", "a//", "ä/", "a b/", "a/\n"])
def test_a_prefix_is_a_folder(opened: Open, prefix: str) -> None:
    with pytest.raises(ValueError, match="artifacts_s3_prefix"):
        opened(artifacts_s3_bucket="artifacts", artifacts_s3_prefix=prefix)


async def test_the_service_serves_its_blobs(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/taskbus.sqlite",
        amqp_port=0,
        root_url="http://queue",
        root_access_token="h" * 44,
    )
    async with Service(settings, roles=frozenset({"api"})) as service:
        url = await service.blobs.upload_url("t/1", content_type="a/b", content_length=5, expires=soon())
        headers = {"content-type": "a/b", "content-length": "5"}
        target = url.removeprefix("http://queue")
        assert (
            await request(service.application, "PUT", target, headers=headers, body=[b"bytes"])
        ).status == 200
        target = (await service.blobs.download_url("t/1", expires=soon())).removeprefix("http://queue")
        assert (await request(service.application, "GET", target)).body == b"bytes"

"""What every store does, whoever keeps the bytes: tested over real HTTP on a directory and on S3."""

import gzip
import random

import pytest

from queue_service.blobs.local import CHUNK
from queue_service.blobs.store import InvalidContentType, InvalidKey
from tests.blobs.client import Client, soon

SENT = random.Random(3).randbytes(3 * CHUNK + 1)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 1])
async def test_bytes_come_back_as_they_were_sent(client: Client, size: int) -> None:
    sent = SENT[:size]
    assert (await client.put("t/1/0/log", sent, promised=size)).status == 200
    got = await client.get("t/1/0/log")
    assert (got.status, got.body) == (200, sent)
    assert got.headers["Content-Type"] == "text/plain"
    assert got.headers["Content-Length"] == str(size)
    assert await client.blobs.size("t/1/0/log") == size


async def test_compressed_bytes_are_kept_compressed(client: Client) -> None:
    sent = gzip.compress(b"a line of a log\n" * 1000)
    await client.put("log", sent, headers={"Content-Encoding": "gzip"})
    got = await client.get("log")
    assert got.body == sent
    assert got.headers["Content-Encoding"] == "gzip"
    assert await client.blobs.size("log") == len(sent)


async def test_without_an_encoding_none_comes_back(client: Client) -> None:
    await client.put("log", b"bytes")
    assert "Content-Encoding" not in (await client.get("log")).headers


@pytest.mark.parametrize(
    "content_type", ["application/octet-stream", "image/svg+xml", 'text/plain; charset="utf-8"', "x/y;a=b,c"]
)
async def test_the_content_type_comes_back(client: Client, content_type: str) -> None:
    assert (await client.put("blob", b"bytes", content_type=content_type)).status == 200
    assert (await client.get("blob")).headers["Content-Type"] == content_type


async def test_before_the_upload_there_is_nothing(client: Client) -> None:
    assert (await client.get("blob")).status == 404
    assert await client.blobs.size("blob") is None


async def test_a_second_upload_replaces_the_first(client: Client) -> None:
    await client.put("blob", b"first", content_type="text/plain", headers={"Content-Encoding": "gzip"})
    await client.put("blob", b"and second", content_type="text/html")
    got = await client.get("blob")
    assert (got.body, got.headers["Content-Type"]) == (b"and second", "text/html")
    assert "Content-Encoding" not in got.headers


async def test_an_upload_cut_in_the_middle_leaves_nothing(client: Client) -> None:
    await client.put_cut("blob", SENT[: CHUNK + 1], announced=len(SENT))
    assert await client.blobs.size("blob") is None
    assert (await client.get("blob")).status == 404


async def test_an_upload_cut_in_the_middle_leaves_the_earlier_one(client: Client) -> None:
    await client.put("blob", b"whole")
    await client.put_cut("blob", SENT[: CHUNK + 1], announced=len(SENT))
    assert (await client.get("blob")).body == b"whole"


async def test_a_part_can_be_fetched(client: Client) -> None:
    await client.put("blob", b"0123456789")
    got = await client.get("blob", {"Range": "bytes=2-4"})
    assert (got.status, got.body, got.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")


async def test_small_bytes_are_stored_without_a_url(client: Client) -> None:
    await client.blobs.write("blob", b"small", content_type="application/json")
    got = await client.get("blob")
    assert (got.body, got.headers["Content-Type"]) == (b"small", "application/json")


async def test_deleted_blobs_are_gone_and_missing_ones_are_no_error(client: Client) -> None:
    await client.put("t/1/a", b"1")
    await client.put("t/1/b", b"2")
    await client.put("t/10/a", b"3")
    await client.blobs.delete(["t/1/a", "t/1/b", "never/there", "t/1/a"])
    assert [await client.blobs.size(key) for key in ("t/1/a", "t/1/b", "t/10/a")] == [None, None, 1]


async def test_any_number_of_blobs_is_deleted(client: Client) -> None:
    await client.blobs.delete([])
    keys = [f"t/{number}" for number in range(2500)]
    for key in (keys[0], keys[-1]):
        await client.put(key, b"bytes")
    await client.blobs.delete(keys)
    assert [await client.blobs.size(key) for key in (keys[0], keys[-1])] == [None, None]


async def test_a_key_may_be_the_beginning_of_another(client: Client) -> None:
    await client.put("a/b", b"short")
    await client.put("a/b/c", b"long")
    assert [(await client.get(key)).body for key in ("a/b", "a/b/c")] == [b"short", b"long"]
    await client.blobs.delete(["a/b"])
    assert (await client.get("a/b/c")).body == b"long"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../../b",
        "a/./b",
        "a.b",
        "a\\b",
        "a b",
        "a\n",
        "a\x00b",
        "A",
        "ä",
        "%2e%2e/a",
        "a?b",
        "a" * 201,
    ],
)
async def test_any_other_key_is_refused(client: Client, key: str) -> None:
    blobs = client.blobs
    with pytest.raises(InvalidKey):
        await blobs.upload_url(key, content_type="a/b", content_length=1, expires=soon())
    with pytest.raises(InvalidKey):
        await blobs.download_url(key, expires=soon())
    with pytest.raises(InvalidKey):
        await blobs.size(key)
    with pytest.raises(InvalidKey):
        await blobs.write(key, b"bytes", content_type="a/b")
    with pytest.raises(InvalidKey):
        await blobs.delete(["fine", key])


@pytest.mark.parametrize("content_type", ["text/plain\r\nX-Evil: 1", "text/\x00", "täxt/plain", "a" * 256])
async def test_a_content_type_that_is_no_header_is_refused(client: Client, content_type: str) -> None:
    with pytest.raises(InvalidContentType):
        await client.blobs.upload_url("a", content_type=content_type, content_length=1, expires=soon())
    with pytest.raises(InvalidContentType):
        await client.blobs.write("a", b"bytes", content_type=content_type)

"""Real connections that stall, break or are refused, and a server that ends or is killed in the middle."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from queue_service.blobs.directory import Directory, Stored
from queue_service.blobs.local import CHUNK, LocalBlobs
from queue_service.blobs.urls import SignedUrls
from queue_service.clock import SystemClock
from tests.blobs.client import Client, ask, begin, soon
from tests.blobs.serving import MAX_SIZE, SECRET, bound, serving

LARGE = 16 * CHUNK
"""More than the buffers of a connection hold."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""What the server says once it has begun the file of an upload."""


def files(directory: Path) -> list[Path]:
    return [found for found in directory.rglob("*") if found.is_file()]


@pytest.fixture
async def impatient(directory: Path) -> AsyncIterator[LocalBlobs]:
    """A server that gives up a client after a moment."""
    async with serving(directory, bound(), idle=0.1) as blobs:
        yield blobs


async def upload_url(blobs: LocalBlobs, *, length: int | None = None) -> str:
    return await blobs.upload_url("blob", content_type="text/plain", content_length=length, expires=soon())


async def test_an_upload_that_stalls_is_given_up(impatient: LocalBlobs, directory: Path) -> None:
    reader, writer = await begin(await upload_url(impatient), LARGE, b"a beginning")
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in answer
    await reader.read()
    writer.close()
    assert files(directory) == []


async def test_a_download_that_is_not_taken_is_given_up(
    impatient: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await impatient.write("blob", bytes(LARGE), content_type="text/plain")
    where = urlsplit(await impatient.download_url("blob", expires=soon()))
    loop, given_up = asyncio.get_running_loop(), asyncio.Event()
    close = Stored.close

    def watched(stored: Stored) -> None:
        close(stored)
        loop.call_soon_threadsafe(given_up.set)

    monkeypatch.setattr(Stored, "close", watched)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1024)
    writer.write(f"GET {where.path}?{where.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await given_up.wait()
    assert len(await reader.read()) < LARGE
    writer.close()


async def test_a_client_that_still_sends_gets_its_refusal(local_client: Client) -> None:
    reply = await local_client.put("blob", bytes(MAX_SIZE + 1))
    assert reply.status == 413
    assert json.loads(reply.body)["code"] == "InputTooLarge"


async def test_a_client_that_asks_first_need_not_send_what_is_refused(local_blobs: LocalBlobs) -> None:
    reader, writer = await ask(await upload_url(local_blobs, length=5), 6)
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_client_that_asks_first_is_told_to_go_on(local_blobs: LocalBlobs) -> None:
    reader, writer = await ask(await upload_url(local_blobs, length=5), 5)
    assert await reader.readuntil(b"\r\n\r\n") == CONTINUE
    writer.write(b"bytes")
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_uploads_of_one_key_at_the_same_time_leave_one_of_them_whole(local_client: Client) -> None:
    bodies = [bytes([number]) * (CHUNK + number) for number in range(8)]
    replies = await asyncio.gather(*(local_client.put("blob", body) for body in bodies))
    assert {reply.status for reply in replies} == {200}
    assert (await local_client.get("blob")).body in bodies


async def test_a_connection_serves_one_transfer_after_the_other(local_client: Client) -> None:
    for number in range(5):
        body = bytes([number]) * (number * CHUNK)
        assert (await local_client.put("blob", body)).status == 200
        assert (await local_client.get("blob")).body == body


async def test_the_end_of_the_server_does_not_wait_for_uploads(directory: Path) -> None:
    async with serving(directory, bound()) as blobs:
        reader, writer = await ask(await upload_url(blobs), LARGE)
        assert await reader.readuntil(b"\r\n\r\n") == CONTINUE
        assert len(files(directory)) == 1
    writer.close()
    assert files(directory) == []


async def test_a_server_that_is_killed_leaves_nothing_visible_and_the_next_one_sweeps(
    directory: Path,
) -> None:
    with bound() as listener:
        host, port = listener.getsockname()
        program = [sys.executable, "-m", "tests.blobs.serving", str(directory), str(listener.fileno())]
        process = await asyncio.create_subprocess_exec(*program, pass_fds=[listener.fileno()])
        urls = SignedUrls(f"http://{host}:{port}", SECRET)
        url = urls.upload("blob", content_type="text/plain", content_length=None, expires=soon())
        reader, writer = await ask(url, LARGE)
        assert await reader.readuntil(b"\r\n\r\n") == CONTINUE
        writer.write(bytes(LARGE - 1))
        await writer.drain()
        process.kill()
        await process.wait()
    writer.close()
    store = Directory(directory)
    assert store.size("blob") is None
    (left,) = files(directory)
    os.utime(left, (0, 0))
    assert store.sweep(SystemClock().now()) == 1
    assert files(directory) == []

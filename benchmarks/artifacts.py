"""A large artifact up and down, beside plain file copy over HTTP on the same disk in the same run."""

import os
import socket
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.environment import Environment, process
from benchmarks.keeping import SECRET
from benchmarks.machine import Program
from benchmarks.measuring import Quantities
from benchmarks.own_process import in_own_process
from benchmarks.report import Section
from queue_service.blobs.urls import SignedUrls
from tests.servers.processes import free_port

METHOD = """\
One file of random bytes, sent and fetched by a client that does nothing else (sendfile up, one buffer down)
in a process of its own. Artifact: the part of the service that keeps artifacts, alone in a process; an upload
is answered when its bytes are on the disk (fsync). Copy: an aiohttp server that writes the body to a file and
sends it, with and without fsync. The three take turns, 3 times, so that other work on the machine meets them
alike. Processor time is the server's, memory its resident part before a round and the most it ever had."""
TARGET = "Target: 1 GB up and down at 60 % of plain file copy or more, memory flat"

MEGABYTE: Final = 1e6
SIZE: Final = 1000 * 10**6
QUICK_SIZE: Final = 100 * 10**6
CONTENT_TYPE: Final = "application/octet-stream"
BUFFER: Final = 1 << 20
OURS, COPY, SYNCED_COPY = "artifact", "plain copy", "plain copy, fsync"


@dataclass(frozen=True, slots=True)
class Peer:
    """A server, and where a file is sent to and fetched from."""

    program: Program
    port: int
    upload: str
    download: str


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Artifacts on local disk", METHOD, notes=[TARGET])
    size, rounds = (QUICK_SIZE, 1) if quick else (SIZE, 3)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskbus-bench-")))
        source = folder / "source"
        _write_random(source, size)
        ours = await _ours(stack, folder)
        copy = await _copy(stack, folder)
        synced = Peer(copy.program, copy.port, copy.upload + "?sync", copy.download)
        found: dict[str, list[Quantities]] = {OURS: [], COPY: [], SYNCED_COPY: []}
        for _ in range(rounds):
            for case, peer in ((OURS, ours), (COPY, copy), (SYNCED_COPY, synced)):
                found[case].append(await _round(peer, source, size))
    for case, runs in found.items():
        section.add(case, runs)
    for quantity in ("up", "down"):
        for peer_case in (COPY, SYNCED_COPY):
            section.ratio(quantity, OURS, peer_case)
    return section


async def _ours(stack: AsyncExitStack, folder: Path) -> Peer:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.keeping", str(folder / "artifacts"), str(port)]
    program = await stack.enter_async_context(process(command, {}, announcement=b"serves"))
    urls, expires = SignedUrls("", SECRET), datetime.now(UTC) + timedelta(days=1)
    upload = urls.upload("blob", content_type=CONTENT_TYPE, content_length=None, expires=expires)
    return Peer(program, port, upload, urls.download("blob", expires=expires))


async def _copy(stack: AsyncExitStack, folder: Path) -> Peer:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.copying", str(folder), str(port)]
    program = await stack.enter_async_context(process(command, {}, announcement=b"serves"))
    return Peer(program, port, "/copy", "/copy")


async def _round(peer: Peer, source: Path, size: int) -> Quantities:
    """Up, then down."""
    memory, used = _resident(peer.program), peer.program.cpu_seconds()
    up = await in_own_process(partial(send, peer.port, peer.upload, source))
    between = peer.program.cpu_seconds()
    down = await in_own_process(partial(fetch, peer.port, peer.download, size))
    gigabytes = size / 1e9
    return {
        ("up", "MB/s"): size / up / MEGABYTE,
        ("down", "MB/s"): size / down / MEGABYTE,
        ("processor up", "s/GB"): (between - used) / gigabytes,
        ("processor down", "s/GB"): (peer.program.cpu_seconds() - between) / gigabytes,
        ("memory before", "MB"): memory / MEGABYTE,
        ("at most", "MB"): _most_resident(peer.program) / MEGABYTE,
    }


def send(port: int, target: str, source: Path) -> float:
    """Seconds until the answer to a PUT of the file."""
    with socket.create_connection(("127.0.0.1", port)) as connection, source.open("rb") as file:
        began = time.monotonic()
        head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\n"
        connection.sendall(f"{head}Content-Length: {os.fstat(file.fileno()).st_size}\r\n\r\n".encode())
        connection.sendfile(file)
        _check(connection.recv(BUFFER))
        return time.monotonic() - began


def fetch(port: int, target: str, size: int) -> float:
    """Seconds until the last byte of a GET."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        began = time.monotonic()
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(BUFFER)
        _check(head)
        got, buffer = len(head.partition(b"\r\n\r\n")[2]), bytearray(BUFFER)
        while got < size:
            received = connection.recv_into(buffer)
            if not received:
                raise EOFError(f"{got} of {size} bytes")
            got += received
        return time.monotonic() - began


def _check(answer: bytes) -> None:
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"not 200: {answer[:200]!r}")


def _write_random(path: Path, size: int) -> None:
    part = os.urandom(10**7)
    with path.open("wb") as file:
        for _ in range(size // len(part)):
            file.write(part)


def _resident(program: Program) -> int:
    resident: int = program.main.memory_info().rss
    return resident


def _most_resident(program: Program) -> int:
    """The most it ever had."""
    for line in Path(f"/proc/{program.main.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return _resident(program)

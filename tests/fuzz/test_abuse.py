"""What no client sends: the service refuses or closes, goes on, and its log has no traceback."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final
from urllib.parse import urlsplit

import psutil
import pytest

from tests.clients.deployment import Deployment
from tests.fuzz.conftest import CONNECTIONS
from tests.fuzz.raw import Connection, answer

pytestmark = pytest.mark.e2e

PING: Final = b"GET /api/queue/v1/ping HTTP/1.1\r\nHost: a\r\n"
SMUGGLED: Final = b"GET /__version__ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked"
MIB: Final = 1024 * 1024
GROWTH: Final = 500
"""MiB that large bodies may take on top of what the service has."""


@pytest.fixture(autouse=True)
def unshaken(impatient: Deployment) -> Iterator[None]:
    """After the test the service answers, and nothing went wrong inside."""
    said = len(impatient.log.read_text())
    yield
    assert ping(impatient) == 200
    log = impatient.log.read_text()[said:]
    assert "Traceback" not in log, log


def ping(service: Deployment) -> int:
    connection = http.client.HTTPConnection(urlsplit(service.root_url).netloc, timeout=10)
    try:
        connection.request("GET", "/api/queue/v1/ping")
        return connection.getresponse().status
    finally:
        connection.close()


def chunked(body: bytes) -> bytes:
    return post(CHUNKED, body=body)


def post(*lines: bytes, body: bytes = b"", path: bytes = b"/api/queue/v1/tasks") -> bytes:
    head = [b"POST %b HTTP/1.1" % path, b"Host: a", b"Content-Type: application/json", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


# ---- requests out of form -----------------------------------------------------------------------------

REFUSED: Final = {
    "a header of 100 KB": PING + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
    "10,000 headers": PING + b"X: 1\r\n" * 10_000 + b"\r\n",
    "201 headers": PING + b"X: 1\r\n" * 200 + b"\r\n",
    "a URL of 100 KB": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a header name of 100 KB": PING + b"x" * 100_000 + b": 1\r\n\r\n",
    "a header that never ends": PING + b"X: " + b"x" * 1_000_000,
    "a method that never ends": b"G" * 100_000,
    "a trailer that never ends": chunked(b"2\r\n{}\r\n0\r\nX: " + b"x" * 300_000),
    "a chunk extension that never ends": chunked(b"2;" + b"x" * 300_000),
    "a chunk length that is no number": chunked(b"zz\r\n{}\r\n0\r\n\r\n"),
    "a chunk length below zero": chunked(b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk length beyond 64 bits": chunked(b"f" * 17 + b"\r\n{}"),
    "a chunk longer than its length": chunked(b"1\r\n{}\r\n0\r\n\r\n"),
    "a length below zero": post(b"Content-Length: -1", body=b"{}"),
    "a length that is no number": post(b"Content-Length: two", body=b"{}"),
    "a length with a sign": post(b"Content-Length: +2", body=b"{}"),
    "a length in hexadecimal": post(b"Content-Length: 0x2", body=b"{}"),
    "a length beyond 64 bits": post(b"Content-Length: " + b"9" * 30, body=b"{}"),
    "two lengths": post(b"Content-Length: 2", b"Content-Length: 44", body=b"{}" + SMUGGLED),
    "a length and chunks": post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
    "chunks and a length": post(CHUNKED, b"Content-Length: 4", body=b"0\r\n\r\n" + SMUGGLED),
    "chunks that are not the last coding": post(b"Transfer-Encoding: chunked, identity", body=SMUGGLED),
    "an unknown coding": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + SMUGGLED),
    "a space before the colon": post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "a folded header": post(b"Content-Length: 0\r\n 5", body=SMUGGLED),
    "a line feed alone": b"GET /api/queue/v1/ping HTTP/1.1\nHost: a\n\n" + SMUGGLED,
    "a carriage return in a header": PING + b"X: a\rTransfer-Encoding: chunked\r\n\r\n",
    "NUL in a header": PING + b"X: a\0b\r\n\r\n",
    "NUL in the path": b"GET /api/queue/v1/ping\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes that are no ASCII in the path": b"GET /api/queue/v1/task/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the path": b"GET /api/queue/v1/a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "no path": b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "another version": b"GET /api/queue/v1/ping HTTP/9.9\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("16030100f1010000ed0303") + b"\x42" * 230,
    "noise": bytes(range(256)) * 8,
}  # fmt: skip


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_a_request_out_of_form_is_refused_and_its_connection_closed(
    impatient: Deployment, request_: bytes
) -> None:
    statuses, said = answer(impatient.root_url, request_)
    assert all(400 <= status < 500 for status in statuses), said
    assert len(statuses) <= 1, said
    assert b'"version"' not in said, "what was hidden in the request was answered"


@pytest.mark.parametrize(
    "head", [name for name in REFUSED if "KB" in name or "headers" in name or "never" in name]
)
def test_a_head_that_is_too_large_is_told_so(impatient: Deployment, head: str) -> None:
    statuses, _ = answer(impatient.root_url, REFUSED[head])
    assert statuses in ([431], [400], []), statuses  # the reply may be lost with what was not read


ODD: Final = {
    "100 headers": (PING + b"X: 1\r\n" * 100, 200),
    "a header of 30 KB": (PING + b"X: " + b"x" * 30_000 + b"\r\n", 200),
    "a URL of 60 KB": (b"GET /" + b"x" * 60_000 + b" HTTP/1.1\r\nHost: a\r\n", 404),
    "no host": (b"GET /api/queue/v1/ping HTTP/1.1\r\n", 200),
    "two hosts": (PING + b"Host: b\r\n", 200),
    "a whole URL": (b"GET http://b/api/queue/v1/ping HTTP/1.1\r\nHost: a\r\n", 200),
    "another protocol offered": (PING + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", 200),
    "an expectation": (PING + b"Expect: the-unexpected\r\n", 200),
    "a trace": (b"TRACE /api/queue/v1/ping HTTP/1.1\r\nHost: a\r\n", 404),
    "an unknown method": (b"PROPFIND /api/queue/v1/ping HTTP/1.1\r\nHost: a\r\n", 404),
    "options of everything": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n", 404),
    "escapes of no UTF-8": (b"GET /api/queue/v1/task/%ff%fe HTTP/1.1\r\nHost: a\r\n", 400),
    "half an escape": (b"GET /api/queue/v1/task/%f HTTP/1.1\r\nHost: a\r\n", 400),
    "bytes of no ASCII in the query": (b"GET /api/auth/v1/ping?limit=%ff HTTP/1.1\r\n", 400),
    "10,000 keys in the query": (b"GET /api/auth/v1/ping?%b HTTP/1.1\r\n" % (b"a=1&" * 10_000), 400),
}  # fmt: skip


@pytest.mark.parametrize(("head", "status"), ODD.values(), ids=ODD)
def test_an_odd_request_is_answered_as_any_other(impatient: Deployment, head: bytes, status: int) -> None:
    statuses, said = answer(impatient.root_url, head + b"Connection: close\r\n\r\n")
    assert statuses == [status], said


def test_a_body_shorter_than_announced_leaves_no_trace(impatient: Deployment) -> None:
    with Connection(impatient.root_url) as connection:
        connection.send(post(b"Content-Length: 100", body=b"{}"))
        connection.end()
        assert connection.replies() == b""


def test_a_body_longer_than_announced_is_no_second_request(impatient: Deployment) -> None:
    statuses, said = answer(impatient.root_url, post(b"Content-Length: 2", body=b"{}{}"))
    assert statuses in ([400], [200], [200, 400]), said


def test_a_thousand_requests_at_once_are_answered_in_their_order(impatient: Deployment) -> None:
    statuses, _ = answer(impatient.root_url, (PING + b"\r\n") * 999 + PING + b"Connection: close\r\n\r\n")
    assert statuses == [200] * 1000


# ---- slow clients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("beginning", [b"", b"G", PING, PING + b"\r\n", PING + b"\r\n" + PING])
def test_a_client_that_falls_silent_is_cut_off(impatient: Deployment, beginning: bytes) -> None:
    with Connection(impatient.root_url) as connection:
        connection.send(beginning)
        assert connection.closed_within(5)


def goes_on(connection: Connection, data: bytes) -> bool:
    """Send a little and wait a little; whether the connection was closed."""
    connection.send(data)
    return connection.closed_within(0.1)


def test_a_client_that_sends_its_head_byte_by_byte_is_cut_off(impatient: Deployment) -> None:
    with Connection(impatient.root_url) as connection:
        assert any(goes_on(connection, bytes([byte])) for byte in PING[:50])


def test_a_client_that_goes_on_with_a_body_nobody_wants_is_cut_off(impatient: Deployment) -> None:
    with Connection(impatient.root_url) as connection:
        connection.send(PING + b"Transfer-Encoding: chunked\r\n\r\n")
        assert any(goes_on(connection, b"1\r\nx\r\n") for _ in range(50))


def test_a_thousand_idle_connections_hinder_nobody_and_are_closed(impatient: Deployment) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(Connection(impatient.root_url)) for _ in range(1000)]
        assert ping(impatient) == 200
        assert all(connection.closed_within(10) for connection in idle)


def test_connections_beyond_their_number_are_closed_at_once(impatient: Deployment) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(Connection(impatient.root_url))
        further = [stack.enter_context(Connection(impatient.root_url)) for _ in range(20)]
        closed = [connection.closed_within(0.5) for connection in further]
    assert sum(closed) >= 19  # the one that was there before may have gone


# ---- large bodies -------------------------------------------------------------------------------------

LARGE: Final = {
    "one text": (b'{"taskIds": ["' + b"x" * (10 * MIB - 100) + b'"]}', {200, 503}),
    "90,000 ids": (b'{"taskIds": [' + b'"%b",' % (b"x" * 100) * 90_000 + b'""]}', {200, 503}),
    "90,000 wrong ids": (b'{"taskIds": [' + b"0," * 90_000 + b"0]}", {400}),
    "90,000 unknown members": (b"{%b}" % b",".join(b'"%d":0' % number for number in range(90_000)), {400}),
    "five million numbers": (b'{"taskIds": [' + b"0," * 5_000_000 + b"0]}", {413}),
    "three million arrays": (b'{"taskIds": [' + b"[]," * 3_000_000 + b"0]}", {413}),
    "five million levels": (b"[" * 5_000_000 + b"]" * 5_000_000, {413}),
    "a number of ten million digits": (b'{"taskIds": [' + b"9" * (10 * MIB - 100) + b"]}", {400, 503}),
    "five million quotes": (b'{"' + b'\\"' * 5_000_000, {400, 503}),
}


@pytest.mark.parametrize(("body", "statuses"), LARGE.values(), ids=LARGE)
def test_large_bodies_at_the_same_time_take_bounded_memory(
    impatient: Deployment, body: bytes, statuses: set[int]
) -> None:
    process = psutil.Process(impatient.pid)
    before = process.memory_info().rss // MIB
    answered: list[list[int]] = []

    def send() -> None:
        request = post(b"Content-Length: %d" % len(body), b"Connection: close", body=body)
        answered.append(answer(impatient.root_url, request)[0])

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    peak = before
    for thread in threads:
        while thread.is_alive():
            peak = max(peak, process.memory_info().rss // MIB)
            thread.join(0.02)
    assert peak - before < GROWTH
    assert {status for reply in answered for status in reply} <= statuses

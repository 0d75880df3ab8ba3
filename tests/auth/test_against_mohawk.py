"""The Python library for Hawk signs and checks as we do; it is what Python clients use."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mohawk import Receiver, Sender
from mohawk.base import Resource
from mohawk.bewit import get_bewit
from mohawk.exc import HawkFail

from queue_service.auth.authenticator import NotAuthentic, StoredClient
from queue_service.auth.request import SignedRequest, host_and_port
from schemas.times import EPOCH
from tests.auth.callers import FOREVER, OTHER_TOKEN, TOKEN, encoded, judged

CLIENT: Final = StoredClient("static/demo", TOKEN, ("*",), FOREVER, False)
CREDENTIALS: Final = {"id": "static/demo", "key": TOKEN, "algorithm": "sha256"}

# Without a semicolon: in the last part of a path the library loses what follows one.
words: Final = st.text("aZ09-._~!$'()*+,:@", min_size=1, max_size=6)
paths: Final = st.lists(st.one_of(words, st.sampled_from(["%2F", "%20", "%C3%A4", ""])), max_size=4).map(
    lambda parts: "/api/" + "/".join(parts)
)
queries: Final = st.lists(st.builds("{}={}".format, words, words), max_size=2).map("&".join)
resources: Final = st.builds(lambda path, query: f"{path}?{query}" if query else path, paths, queries)
roots: Final = st.sampled_from(
    [
        "http://localhost:8080",
        "http://localhost",
        "https://taskbus.example",
        "http://TASKBUS.example:81",
        "http://[::1]:8080",
        "https://127.0.0.1:8443",
    ]
)
methods: Final = st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"])
bodies: Final = st.binary(max_size=40)
content_types: Final = st.sampled_from(
    ["", "application/json", "Application/JSON; charset=utf-8", "text/plain"]
)
exts: Final = st.one_of(
    st.none(), st.lists(words, max_size=3).map(lambda scopes: encoded({"authorizedScopes": scopes}))
)


def received(root: str, method: str, resource: str, header: str | None, **parts: Any) -> SignedRequest:
    """The request as it arrives here."""
    scheme, _, authority = root.partition("://")
    host, port = host_and_port({b"host": authority.encode()}, scheme)
    return SignedRequest(method, resource, host, port, header, **parts)


def believed(request: SignedRequest) -> bool:
    try:
        return judged(CLIENT, request, datetime.now(UTC)).status == "auth-success"
    except NotAuthentic:
        return False


@settings(deadline=None)
@given(roots, methods, resources, bodies, content_types, exts)
def test_we_take_what_it_signs(
    root: str, method: str, resource: str, body: bytes, content_type: str, ext: str | None
) -> None:
    sender = Sender(CREDENTIALS, root + resource, method, content=body, content_type=content_type, ext=ext)
    assert believed(
        received(root, method, resource, sender.request_header, content_type=content_type, body=body)
    )


@settings(deadline=None)
@given(roots, resources, exts, st.integers(1, 10**6))
def test_we_take_urls_that_it_signs(root: str, resource: str, ext: str | None, seconds: int) -> None:
    ends = int(time.time()) + seconds + 60
    signed = Resource(
        url=root + resource, method="GET", credentials=CREDENTIALS, timestamp=str(ends), nonce="", ext=ext
    )
    mark = "&" if "?" in resource else "?"
    request = received(root, "GET", f"{resource}{mark}bewit={get_bewit(signed)}", None)
    assert believed(request)


CHANGES: Final = st.fixed_dictionaries(
    {},
    optional={
        "method": methods,
        "resource": resources,
        "body": bodies,
        "content_type": content_types,
        "key": st.just(OTHER_TOKEN),
        "seconds": st.sampled_from([-2000, -800, 800, 2000]),
        "root": roots,
    },
)


@settings(deadline=None, max_examples=200)
@given(roots, methods, resources, bodies, content_types, CHANGES)
def test_we_refuse_what_it_refuses(
    root: str, method: str, resource: str, body: bytes, content_type: str, changes: dict[str, Any]
) -> None:
    """A request that is changed on its way, signed with another key, or at another time."""
    now = int(time.time())
    sender = Sender(
        {**CREDENTIALS, "key": changes.get("key", TOKEN)},
        root + resource,
        method,
        content=body,
        content_type=content_type,
        _timestamp=str(now + changes.get("seconds", 0)),
    )
    arrives = {
        "method": method,
        "resource": resource,
        "body": body,
        "content_type": content_type,
        "root": root,
        **changes,
    }
    request = received(
        arrives["root"],
        arrives["method"],
        arrives["resource"],
        sender.request_header,
        content_type=arrives["content_type"],
        body=arrives["body"],
    )
    try:
        Receiver(
            lambda _: CREDENTIALS,
            sender.request_header,
            arrives["root"] + arrives["resource"],
            arrives["method"],
            content=arrives["body"],
            content_type=arrives["content_type"],
            timestamp_skew_in_seconds=900,
        )
        it_believes = True
    except HawkFail:
        it_believes = False
    assert believed(request) is it_believes


def test_we_take_a_header_longer_than_it_does() -> None:
    """Its limit is 4,096 characters; the certificate of a task with many scopes is longer."""
    ext = encoded({"authorizedScopes": [f"scope:{number}" for number in range(500)]})
    url = "http://localhost:8080/a"
    sender = Sender(CREDENTIALS, url, "GET", content="", content_type="", ext=ext)
    assert len(sender.request_header) > 4096
    assert believed(received("http://localhost:8080", "GET", "/a", sender.request_header))
    with pytest.raises(HawkFail, match="4096"):
        Receiver(lambda _: CREDENTIALS, sender.request_header, url, "GET", content="", content_type="")


def test_its_expired_requests_are_expired_here() -> None:
    sender = Sender(
        CREDENTIALS, "http://localhost/a", "GET", content="", content_type="", _timestamp="1700000000"
    )
    request = received("http://localhost", "GET", "/a", sender.request_header)
    signed = EPOCH + timedelta(seconds=1700000000)
    assert judged(CLIENT, request, signed).status == "auth-success"
    assert not believed(replace(request))

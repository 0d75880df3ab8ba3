"""Which host and port a client signed, also behind a proxy (``auth.md`` 1.1)."""

import pytest

from queue_service.auth.request import SignedRequest, host_and_port


@pytest.mark.parametrize(
    ("host", "scheme", "signed"),
    [
        ("localhost:8080", "http", ("localhost", 8080)),
        ("LocalHost:8080", "http", ("localhost", 8080)),
        ("taskbus.example", "http", ("taskbus.example", 80)),
        ("taskbus.example", "https", ("taskbus.example", 443)),
        ("taskbus.example:80", "https", ("taskbus.example", 80)),
        ("[::1]:8080", "http", ("::1", 8080)),
        ("[FE80::1]", "https", ("fe80::1", 443)),
    ],
)
def test_host_and_port_are_those_of_the_host_header(host: str, scheme: str, signed: tuple[str, int]) -> None:
    assert host_and_port({b"host": host.encode()}, scheme) == signed


@pytest.mark.parametrize(
    ("host", "forwarded", "port"),
    [
        ("a:8080", {"port": "9090"}, 9090),
        ("a:8080", {"port": "9090", "proto": "https"}, 9090),
        ("a:8080", {"port": "443", "proto": "http"}, 443),
        ("a:8080", {"proto": "https"}, 443),
        ("a", {"proto": "https"}, 443),
        ("a:8080", {"proto": "http"}, 8080),
        ("a:8080", {"proto": "anything"}, 8080),
        ("a", {"proto": "http"}, 80),
        ("[::1]:8080", {"proto": "https"}, 443),
    ],
)
def test_a_proxy_tells_the_port_that_the_client_used(host: str, forwarded: dict[str, str], port: int) -> None:
    headers = {f"x-forwarded-{name}".encode(): value.encode() for name, value in forwarded.items()}
    assert host_and_port({b"host": host.encode(), **headers}, "http")[1] == port


@pytest.mark.parametrize("port", ["", "x", "-1", "123456", "8080 ", "٣", "1e3"])
def test_a_port_that_is_none_fits_no_signature(port: str) -> None:
    assert host_and_port({b"host": b"a:80", b"x-forwarded-port": port.encode()}, "http") == ("a", 0)


def test_without_a_host_there_is_none() -> None:
    assert host_and_port({}, "http") == ("", 80)
    assert host_and_port({b"host": b"["}, "http") == ("", 80)


@pytest.mark.parametrize(
    ("authorization", "covers"),
    [(None, False), ('Hawk id="a", mac="b"', False), ('Hawk id="a", hash="x", mac="b"', True)],
)
def test_a_body_is_read_when_its_hash_is_signed(authorization: str | None, covers: bool) -> None:
    assert SignedRequest("PUT", "/", "a", 80, authorization).covers_body is covers


def test_a_request_does_not_show_what_was_secret_in_it() -> None:
    request = SignedRequest("GET", "/a?bewit=secret", "h", 80, 'Hawk mac="secret"', "", b"secret")
    assert repr(request) == "SignedRequest(GET h:80/a)"

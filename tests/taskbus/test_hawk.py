"""Signatures, by the test vectors of ``auth.md`` 1.8."""

import pytest

from taskbus import hawk
from taskbus.hawk import Target

KEY = b"vuOoBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA"
CLAIM = Target("localhost", 8080, "/api/queue/v1/claim-work/prov%2Fwt")


def test_vector_1_a_header_with_the_hash_of_its_body_and_ext() -> None:
    made = hawk.header(
        "static/demo",
        KEY,
        "POST",
        CLAIM,
        timestamp=1700000000,
        nonce="Ab12_x",
        content_type="application/json; charset=utf-8",
        body=b'{"workerGroup":"g","workerId":"w","tasks":1}',
        ext="eyJhdXRob3JpemVkU2NvcGVzIjpbImE6KiJdfQ==",
    )
    assert made == (
        'Hawk id="static/demo", ts="1700000000", nonce="Ab12_x", '
        'ext="eyJhdXRob3JpemVkU2NvcGVzIjpbImE6KiJdfQ==", '
        'hash="cpb8tDxG8NmQnA80uMB++cudNSscxJfRCh9p8FZlPiA=", '
        'mac="zroOkBjVJPJ4PHc4BRGiy8pxepDD94Vp5ygZ1z6X61M="'
    )


def test_vector_2_a_bewit() -> None:
    target = Target(
        "localhost", 8080, "/api/queue/v1/task/fN1SbArXTPSVFNUvaOlinQ/artifacts/private%2Flog.txt"
    )
    assert hawk.bewit("static/demo", KEY, target, expiry=1700000900) == (
        "c3RhdGljL2RlbW9cMTcwMDAwMDkwMFxwQ2I1S2t5U3V3UXR5ckxES2NpMjQxQ2pZQ1dLUHN1cUJoaElmUWFHazdnPVw"
    )


def test_without_ext_there_is_no_such_attribute() -> None:
    made = hawk.header("id", KEY, "GET", CLAIM, timestamp=1, nonce="n")
    assert "ext=" not in made
    assert 'hash="B0weSUXsMcb5UhL41FZbrUJCAotzSI3HawE1NPLRUz8="' in made


def test_the_hash_of_nothing_is_the_one_that_clients_send() -> None:
    assert hawk.payload_hash("", b"") == "B0weSUXsMcb5UhL41FZbrUJCAotzSI3HawE1NPLRUz8="


def test_only_the_kind_of_a_content_type_is_hashed() -> None:
    assert hawk.payload_hash("Application/JSON ; charset=utf-8", b"x") == hawk.payload_hash(
        "application/json", b"x"
    )


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://localhost:8080/api/queue/v1/claim-work/prov%2Fwt", CLAIM),
        ("http://LocalHost/tc/api?limit=1&x=%2F", Target("localhost", 80, "/tc/api?limit=1&x=%2F")),
        ("https://tc.example.com/api//x/", Target("tc.example.com", 443, "/api//x/")),
        ("http://[::1]:81/api", Target("::1", 81, "/api")),
        ("http://user:password@host/api", Target("host", 80, "/api")),
        ("http://host", Target("host", 80, "/")),
    ],
)
def test_a_url_is_signed_as_it_is_sent(url: str, target: Target) -> None:
    assert Target.of(url) == target

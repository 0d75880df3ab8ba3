"""The test vectors of ``auth.md`` 1.8: they are taken, and the formulas of these tests make them."""

from dataclasses import replace
from typing import Any, Final

import pytest

from queue_service.auth.authenticator import NotAuthentic
from queue_service.auth.hawk import payload_hash
from queue_service.auth.request import SignedRequest
from schemas.times import from_ms
from tests.auth.callers import DEMO, NOW, OTHER_TOKEN, SEED, TOKEN, got, hash_of, header, judged, stored

BODY: Final = b'{"workerGroup":"g","workerId":"w","tasks":1}'
CONTENT_TYPE: Final = "application/json; charset=utf-8"
CLAIM: Final = SignedRequest(
    "POST",
    "/api/queue/v1/claim-work/prov%2Fwt",
    "localhost",
    8080,
    'Hawk id="static/demo", ts="1700000000", nonce="Ab12_x", ext="eyJhdXRob3JpemVkU2NvcGVzIjpbImE6KiJdfQ==",'
    ' hash="cpb8tDxG8NmQnA80uMB++cudNSscxJfRCh9p8FZlPiA=",'
    ' mac="zroOkBjVJPJ4PHc4BRGiy8pxepDD94Vp5ygZ1z6X61M="',
    CONTENT_TYPE,
    BODY,
)
LOG: Final = "/api/queue/v1/task/fN1SbArXTPSVFNUvaOlinQ/artifacts/private%2Flog.txt"
BEWIT: Final = "c3RhdGljL2RlbW9cMTcwMDAwMDkwMFxwQ2I1S2t5U3V3UXR5ckxES2NpMjQxQ2pZQ1dLUHN1cUJoaElmUWFHazdnPVw"
TIMES: Final[dict[str, Any]] = {"start": 1700000000000, "expiry": 1700003600000, "seed": SEED}


def test_vector_1_a_header_with_hash_and_ext() -> None:
    identity = judged(stored("static/demo", "a:*", "b"), CLAIM)
    assert identity.client_id == "static/demo"
    assert identity.scopes.scopes == ("a:*", "assume:anonymous", "public")
    assert identity.hash == "cpb8tDxG8NmQnA80uMB++cudNSscxJfRCh9p8FZlPiA="


def test_vector_1_is_what_the_formulas_of_these_tests_make() -> None:
    caller = replace(DEMO, ext="eyJhdXRob3JpemVkU2NvcGVzIjpbImE6KiJdfQ==")
    signed = caller.attributes("POST", CLAIM.resource, hash=hash_of(BODY, CONTENT_TYPE))
    assert header(signed) == CLAIM.authorization


def test_vector_1_holds_for_its_key_alone() -> None:
    with pytest.raises(NotAuthentic, match="does not match"):
        judged(stored("static/demo", "a:*", token=OTHER_TOKEN), CLAIM)


def test_the_hash_of_nothing() -> None:
    """What Python clients send with every request without a body (1.2)."""
    assert payload_hash("", b"") == "B0weSUXsMcb5UhL41FZbrUJCAotzSI3HawE1NPLRUz8="
    assert payload_hash(CONTENT_TYPE, BODY) == "cpb8tDxG8NmQnA80uMB++cudNSscxJfRCh9p8FZlPiA="


def test_vector_2_a_bewit() -> None:
    assert judged(stored("static/demo", "b"), got(f"{LOG}?bewit={BEWIT}")).client_id == "static/demo"
    assert DEMO.bewit(LOG, 1700000900) == BEWIT


def test_vector_3_named_temporary_credentials() -> None:
    scopes = ["queue:status:*", "a"]
    certificate = {
        **TIMES,
        "version": 1,
        "scopes": scopes,
        "issuer": "static/demo",
        "signature": "XnuUZQK4M73rHs2r7YbJWWDNLerGM8hM382FUwNG9Lo=",
    }
    assert DEMO.certificate(scopes, "worker/temp", **TIMES) == certificate
    temporary = DEMO.temporary(certificate, "worker/temp")
    assert temporary.key == "P_5orKAumnlQuKP-BkVpUXeLmHucUBBo15Tsy7A-1uU"
    identity = judged(stored("static/demo", "*", token=TOKEN), temporary.request())
    assert identity.client_id == "worker/temp"
    assert identity.scopes.scopes == ("a", "assume:anonymous", "public", "queue:status:*")
    assert identity.expires == from_ms(1700003600000)


def test_vector_4_unnamed_temporary_credentials_without_scopes() -> None:
    certificate = {
        **TIMES,
        "version": 1,
        "scopes": [],
        "signature": "4ZJMCxRVfPb9n2A4DMuUbl0t9HSRBr0B3DXvz0KoFxY=",
    }
    assert DEMO.certificate([], **TIMES) == certificate
    identity = judged(stored("static/demo", "x"), DEMO.temporary(certificate).request())
    assert identity.client_id == "static/demo"
    assert identity.scopes.scopes == ("assume:anonymous", "public")
    assert identity.expires > NOW

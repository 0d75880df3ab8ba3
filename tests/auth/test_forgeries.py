"""Credentials that are not right: each is refused with its reason, and never with another error."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from queue_service.auth.authenticator import Authenticator, NotAuthentic
from queue_service.auth.request import SignedRequest
from tests.auth.callers import (
    DEMO,
    HOUR,
    JSON,
    MS,
    NOW,
    OTHER_TOKEN,
    SECONDS,
    SEED,
    TOKEN,
    Caller,
    FixedDirectory,
    encoded,
    got,
    header,
    judged,
    standard_base64,
    stored,
    url_safe_base64,
)

TASK: Final = "/api/queue/v1/task/fN1SbArXTPSVFNUvaOlinQ"
SIGNED: Final = DEMO.attributes("GET", TASK)
WEAK: Final = Caller("static/weak", OTHER_TOKEN)
NAMED: Final = DEMO.certificate(["a"], "some/body")
UNNAMED: Final = DEMO.certificate(["a"])
BEWIT: Final = DEMO.bewit(TASK)
CLAIM: Final = DEMO.request("POST", TASK, body=b'{"a":1}', content_type=JSON, hashed=True)


def with_header(text: str) -> SignedRequest:
    return got(TASK, text)


def with_attributes(**changes: str | None) -> SignedRequest:
    """The request with other attributes in its header; None leaves one out."""
    told = {name: value for name, value in {**SIGNED, **changes}.items() if value is not None}
    return with_header(header(told))


def issued(certificate: Mapping[str, Any], name: str | None = None, **changes: Any) -> SignedRequest:
    """A request with a certificate that was altered after it was signed."""
    return DEMO.temporary({**certificate, **changes}, name).request()


def without(certificate: Mapping[str, Any], member: str) -> dict[str, Any]:
    return {name: value for name, value in certificate.items() if name != member}


def inner(*parts: object) -> SignedRequest:
    """A request with a bewit of these parts."""
    return got(f"{TASK}?bewit={url_safe_base64(chr(92).join(map(str, parts)).encode())}")


MAC: Final = SIGNED["mac"]
ATTRIBUTES: Final = header(SIGNED).removeprefix("Hawk ")

FORGED: Final[dict[str, tuple[SignedRequest, str]]] = {
    # the header as text
    "empty": (with_header(""), "must be `Hawk`"),
    "scheme alone": (with_header("Hawk"), "must be `Hawk`"),
    "scheme and space": (with_header("Hawk "), "must be `Hawk`"),
    "another scheme": (with_header("Bearer abc"), "must be `Hawk`"),
    "another scheme with attributes": (with_header(f"Digest {ATTRIBUTES}"), "must be `Hawk`"),
    "no scheme": (with_header(ATTRIBUTES), "must be `Hawk`"),
    "truncated in a value": (with_header(header(SIGNED)[:-10]), "must be `Hawk`"),
    "truncated between attributes": (with_attributes(mac=None), "lacks the attribute `mac`"),
    "comma at the end": (with_header(f"Hawk {ATTRIBUTES},"), "must be `Hawk`"),
    "no commas": (with_header(f"Hawk {ATTRIBUTES.replace(',', '')}"), "must be `Hawk`"),
    "semicolons": (with_header(f"Hawk {ATTRIBUTES.replace(',', ';')}"), "must be `Hawk`"),
    "no quotes": (with_header("Hawk " + ATTRIBUTES.replace('"', "")), "must be `Hawk`"),
    "other quotes": (with_header("Hawk " + ATTRIBUTES.replace('"', "'")), "must be `Hawk`"),
    "space around =": (with_header("Hawk " + ATTRIBUTES.replace("=", " =")), "must be `Hawk`"),
    "newline": (with_header("Hawk " + ATTRIBUTES.replace(" ", "\n ")), "must be `Hawk`"),
    "newline at the end": (with_header(f"Hawk {ATTRIBUTES}\n"), "must be `Hawk`"),
    "upper-case names": (with_header("Hawk " + ATTRIBUTES.replace("nonce", "Nonce")), "must be `Hawk`"),
    "backslash in a value": (with_attributes(nonce="a\\b"), "must be `Hawk`"),
    "quote in a value": (with_attributes(nonce='a"b'), "must be `Hawk`"),
    "control character": (with_attributes(nonce="a\0b"), "must be `Hawk`"),
    "tab between attributes": (with_header(header(SIGNED).replace(" ", "\t")), "must be `Hawk`"),
    "not ASCII": (with_attributes(id="static/dem\xf6"), "must be `Hawk`"),
    "two headers in one": (with_header(f"Hawk {ATTRIBUTES}, Hawk {ATTRIBUTES}"), "must be `Hawk`"),
    "unknown attribute": (with_attributes(color="red"), "may have the attributes"),
    "app of another kind of Hawk": (with_attributes(app="a"), "may have the attributes"),
    "duplicate attribute": (with_header(f'Hawk {ATTRIBUTES}, id="x"'), "more than once"),
    "duplicate attribute, equal": (with_header(f"Hawk {ATTRIBUTES}, {ATTRIBUTES}"), "more than once"),
    "no id": (with_attributes(id=None), "`id`"),
    "empty id": (with_attributes(id=""), "`id`"),
    "no ts": (with_attributes(ts=None), "`ts`"),
    "no nonce": (with_attributes(nonce=None), "`nonce`"),
    "empty nonce": (with_attributes(nonce=""), "`nonce`"),
    "empty mac": (with_attributes(mac=""), "`mac`"),
    "huge": (with_attributes(nonce="x" * 65536), "longer than 65536"),
    "huge and blank": (with_header("Hawk " + " " * 60_000 + "x"), "must be `Hawk`"),
    "huge and full of commas": (with_header(f"Hawk {ATTRIBUTES}" + " ," * 25_000), "must be `Hawk`"),
    "huge and full of attributes": (with_header("Hawk " + 'a="",' * 12_000 + 'a=""'), "more than once"),
    "huge and never closed": (with_header('Hawk id="' + "x" * 60_000), "must be `Hawk`"),
    # time
    "ts is no number": (with_attributes(ts="now"), "whole number"),
    "ts is negative": (with_attributes(ts="-1"), "whole number"),
    "ts is a fraction": (with_attributes(ts=f"{SECONDS}.5"), "whole number"),
    "ts in milliseconds": (DEMO.request(ts=MS), "clock"),
    "ts is huge": (with_attributes(ts="9" * 5000), "whole number"),
    "ts in other digits": (with_header(header({**SIGNED, "ts": "\xb9\xb2"})), "must be `Hawk`"),
    "an hour ago": (DEMO.request(ts=SECONDS - 3600), "clock"),
    "in an hour": (DEMO.request(ts=SECONDS + 3600), "clock"),
    "ts moved after signing": (with_attributes(ts=str(SECONDS + 1)), "does not match"),
    # what was signed
    "another path": (replace(DEMO.request("GET", TASK), resource=f"{TASK}/status"), "does not match"),
    "another query": (replace(DEMO.request("GET", TASK), resource=f"{TASK}?a=1"), "does not match"),
    "encoded once more": (
        replace(DEMO.request("GET", "/a%2Fb"), resource="/a%252Fb"),
        "does not match",
    ),
    "decoded": (replace(DEMO.request("GET", "/a%2Fb"), resource="/a/b"), "does not match"),
    "other case of the path": (replace(DEMO.request("GET", TASK), resource=TASK.lower()), "does not match"),
    "another method": (replace(DEMO.request("GET", TASK), method="DELETE"), "does not match"),
    "HEAD with the signature of GET": (replace(DEMO.request("GET", TASK), method="HEAD"), "does not match"),
    "another host": (DEMO.request(host="taskbus.example"), "does not match"),
    "another port": (DEMO.request(port=80), "does not match"),
    "another nonce": (with_attributes(nonce="x"), "does not match"),
    "another body": (replace(CLAIM, body=b'{"a":2}'), "hash"),
    "another type of the body": (replace(CLAIM, content_type="text/plain"), "hash"),
    "empty hash": (DEMO.request(hash=""), "hash"),
    "hash of the wrong length": (DEMO.request(hash="AAAA"), "hash"),
    "hash added after signing": (with_attributes(hash="AAAA"), "does not match"),
    "hash taken out after signing": (
        replace(CLAIM, authorization=header(without(DEMO.attributes("POST", TASK, hash="AAAA"), "hash"))),
        "does not match",
    ),
    "ext added after signing": (with_attributes(ext=encoded({"authorizedScopes": []})), "does not match"),
    "ext taken out after signing": (
        replace(
            DEMO.restricted_to("a").request(),
            authorization=header({**DEMO.restricted_to("a").attributes(), "ext": ""}),
        ),
        "does not match",
    ),
    "another mac": (with_attributes(mac=standard_base64(bytes(32))), "does not match"),
    "mac without padding": (with_attributes(mac=MAC.rstrip("=")), "does not match"),
    "mac cut off": (with_attributes(mac=MAC[:-4]), "does not match"),
    "mac in another alphabet": (
        with_attributes(mac=MAC.replace("+", "-").replace("/", "_") + "x"),
        "does not match",
    ),
    # who signed
    "another key": (replace(DEMO, key=OTHER_TOKEN).request(), "does not match"),
    "key of another client": (Caller("static/weak", TOKEN).request(), "does not match"),
    "unknown client": (Caller("static/nobody").request(), "no client `static/nobody`"),
    "disabled client": (Caller("static/disabled").request(), "is disabled"),
    "expired client": (Caller("static/expired").request(), "has expired"),
    "client id in other case": (Caller("static/Demo").request(), "no client `static/Demo`"),
    "client id with a space": (Caller("static/demo ").request(), "can be none"),
    "client id of 64,000 characters": (Caller("x" * 64_000).request(), "can be none"),
    "client id of a pattern": (Caller("static/*").request(), "can be none"),
    # ext
    "ext is no base64": (replace(DEMO, ext="{}").request(), "not base64 of JSON"),
    "ext is cut off": (replace(DEMO, ext=encoded({"a": "b"})[:-3]).request(), "not base64 of JSON"),
    "ext is base64 of base64": (
        replace(DEMO, ext=standard_base64(encoded({"a": 1}).encode())).request(),
        "not base64 of JSON",
    ),
    "ext has padding inside": (replace(DEMO, ext="e30=e30=").request(), "not base64 of JSON"),
    "ext has spaces": (replace(DEMO, ext="e3 0=").request(), "not base64 of JSON"),
    "ext is no JSON": (replace(DEMO, ext=standard_base64(b"{")).request(), "not base64 of JSON"),
    "ext is no UTF-8": (replace(DEMO, ext=standard_base64(b'{"a":"\xff"}')).request(), "not base64 of JSON"),
    "ext is UTF-16": (
        replace(DEMO, ext=standard_base64('{"a":1}'.encode("utf-16"))).request(),
        "not base64 of JSON",
    ),
    "ext is an array": (DEMO.with_ext([]).request(), "must be a JSON object"),
    "ext is null": (DEMO.with_ext(None).request(), "must be a JSON object"),
    "ext is nested deeply": (
        replace(DEMO, ext=standard_base64(b'{"a":' + b"[" * 40_000)).request(),
        "not base64 of JSON",
    ),
    "ext has a huge number": (
        replace(DEMO, ext=standard_base64(b'{"a":%b}' % (b"9" * 40_000))).request(),
        "not base64 of JSON",
    ),
    # certificates
    "certificate as a string": (DEMO.with_ext({"certificate": "{}"}).request(), "must be an object"),
    "certificate is null": (DEMO.with_ext({"certificate": None}).request(), "must be an object"),
    "certificate is empty": (DEMO.with_ext({"certificate": {}}).request(), "`version`"),
    "version 2": (issued(UNNAMED, version=2), "`version`"),
    "version as text": (issued(UNNAMED, version="1"), "`version`"),
    "version true": (issued(UNNAMED, version=True), "`version`"),
    "no seed": (DEMO.temporary(without(UNNAMED, "seed")).request(), "`seed`"),
    "short seed": (issued(UNNAMED, seed=SEED[:-1]), "`seed`"),
    "seed is a list": (DEMO.with_ext({"certificate": {**UNNAMED, "seed": ["x"] * 44}}).request(), "`seed`"),
    "seed that is no text": (
        DEMO.with_ext({"certificate": {**UNNAMED, "seed": "\ud800" * 44}}).request(),
        "signature of the certificate",
    ),
    "start as text": (issued(UNNAMED, start=str(MS)), "`start`"),
    "start is a fraction": (issued(UNNAMED, start=MS + 0.5), "`start`"),
    "start true": (issued(UNNAMED, start=True), "`start`"),
    "start is infinite": (issued(UNNAMED, start=float("-inf")), "`start`"),
    "no expiry": (DEMO.temporary(without(UNNAMED, "expiry")).request(), "`expiry`"),
    "no scopes": (DEMO.temporary(without(UNNAMED, "scopes")).request(), "`scopes`"),
    "scopes as text": (issued(UNNAMED, scopes="a"), "`scopes`"),
    "a scope that is a number": (issued(UNNAMED, scopes=[1]), "`scopes`"),
    "a scope with a newline": (DEMO.issue("a\nb").request(), "`scopes`"),
    "a scope that is not ASCII": (DEMO.issue("\xe4").request(), "`scopes`"),
    "no signature": (DEMO.temporary(without(UNNAMED, "signature")).request(), "`signature`"),
    "signature is a number": (issued(UNNAMED, signature=1), "`signature`"),
    "signature that is no text": (issued(UNNAMED, signature="\ud800"), "signature of the certificate"),
    "signature not ASCII": (issued(UNNAMED, signature="\xe4"), "signature of the certificate"),
    "signature of another certificate": (
        issued(UNNAMED, signature=NAMED["signature"]),
        "signature of the certificate",
    ),
    "more scopes": (issued(UNNAMED, scopes=["a", "b"]), "signature of the certificate"),
    "wider scopes": (issued(UNNAMED, scopes=["a*"]), "signature of the certificate"),
    "10 KB of scopes added": (
        issued(UNNAMED, scopes=[f"a:{number:04}" for number in range(1500)]),
        "signature of the certificate",
    ),
    "a scope of 10 KB": (issued(UNNAMED, scopes=["a" * 10_000]), "signature of the certificate"),
    "a later end": (issued(UNNAMED, expiry=MS + 2 * HOUR), "signature of the certificate"),
    "an earlier start": (issued(UNNAMED, start=MS - 2 * HOUR), "signature of the certificate"),
    "another seed": (issued(UNNAMED, seed="B" * 44), "signature of the certificate"),
    "named after it was issued": (issued(UNNAMED, "some/body", issuer="static/demo"), "signature"),
    "another name": (issued(NAMED, "some/other"), "signature of the certificate"),
    "name without issuer": (issued(without(NAMED, "issuer"), "some/body"), "no client `some/body`"),
    "clientId without issuer": (issued(UNNAMED, clientId="static/demo"), "must not have a `clientId`"),
    "issuer of its own": (issued(NAMED, "static/demo"), "other than"),
    "issuer is a number": (issued(NAMED, "some/body", issuer=1), "`issuer`"),
    "issuer is null": (issued(NAMED, "some/body", issuer=None), "`issuer`"),
    "unknown issuer": (issued(NAMED, "some/body", issuer="static/nobody"), "no client"),
    "another issuer": (issued(NAMED, "some/body", issuer="static/root"), "signature of the certificate"),
    "issuer that is no text": (issued(NAMED, "some/body", issuer="\ud800"), "can be none"),
    "disabled issuer": (Caller("static/disabled").issue("a").request(), "is disabled"),
    "expired issuer": (Caller("static/expired").issue("a").request(), "has expired"),
    "issuer without the scope": (WEAK.issue("b").request(), "lacks the scope `b`"),
    "issuer without the wider scope": (WEAK.issue("a*").request(), "lacks the scope `a*`"),
    "issuer that may not name": (
        WEAK.issue("a", name="some/body").request(),
        "lacks the scope `auth:create-client:some/body`",
    ),
    "issued by temporary credentials": (
        replace(DEMO, key=DEMO.issue("*").key).issue("a").request(),
        "signature of the certificate",
    ),
    "issued by named temporary credentials": (
        replace(DEMO.issue("*", name="some/body"), ext=None).issue("a", name="other").request(),
        "no client `some/body`",
    ),
    "permanent key with a certificate": (replace(DEMO.issue("a"), key=TOKEN).request(), "does not match"),
    "temporary key without its certificate": (replace(DEMO.issue("a"), ext=None).request(), "does not match"),
    "name without its certificate": (Caller("some/body", DEMO.issue("a").key).request(), "no client"),
    "31 days and more": (DEMO.issue(start=MS, expiry=MS + 32 * 24 * HOUR).request(), "31 days"),
    "expired certificate": (DEMO.issue(start=MS - 2 * HOUR, expiry=MS - HOUR).request(), "have expired"),
    "certificate of tomorrow": (DEMO.issue(start=MS + HOUR, expiry=MS + 2 * HOUR).request(), "not valid yet"),
    # authorizedScopes
    "authorizedScopes as text": (DEMO.with_ext({"authorizedScopes": "a"}).request(), "`authorizedScopes`"),
    "authorizedScopes null": (DEMO.with_ext({"authorizedScopes": None}).request(), "`authorizedScopes`"),
    "authorizedScopes of numbers": (DEMO.with_ext({"authorizedScopes": [1]}).request(), "`authorizedScopes`"),
    "authorizedScopes not printable": (DEMO.restricted_to("a\0").request(), "`authorizedScopes`"),
    "authorizedScopes one lacks": (WEAK.restricted_to("a", "b").request(), "lack the scope `b`"),
    # signed URLs
    "bewit of another path": (got(f"{TASK}/status?bewit={BEWIT}"), "does not match"),
    "bewit of another query": (got(f"{TASK}?a=1&bewit={BEWIT}"), "does not match"),
    "bewit of another host": (
        got(f"{TASK}?bewit={DEMO.bewit(TASK, host='taskbus.example')}"),
        "does not match",
    ),
    "bewit of another port": (got(f"{TASK}?bewit={DEMO.bewit(TASK, port=80)}"), "does not match"),
    "bewit with PUT": (replace(got(f"{TASK}?bewit={BEWIT}"), method="PUT"), "GET and HEAD"),
    "bewit with POST": (replace(got(f"{TASK}?bewit={BEWIT}"), method="POST"), "GET and HEAD"),
    "bewit beside a header": (
        replace(got(f"{TASK}?bewit={BEWIT}"), authorization=header(SIGNED)),
        "both",
    ),
    "bewit beside a bad header": (got(f"{TASK}?bewit={BEWIT}", "x"), "both"),
    "two bewits": (got(f"{TASK}?bewit={BEWIT}&bewit={BEWIT}"), "more than one"),
    "empty bewit": (got(f"{TASK}?bewit="), "four parts"),
    "bewit of yesterday": (DEMO.signed_url(TASK, SECONDS - 86400), "expired"),
    "bewit of this second": (DEMO.signed_url(TASK, SECONDS), "expired"),
    "bewit cut off": (got(f"{TASK}?bewit={BEWIT[:-8]}"), "four parts"),
    "bewit is no base64": (got(f"{TASK}?bewit=a.b"), "base64"),
    "bewit encoded twice": (got(f"{TASK}?bewit={url_safe_base64(BEWIT.encode())}"), "four parts"),
    "bewit with encoded letters": (got(f"{TASK}?bewit=%{ord(BEWIT[0]):02x}{BEWIT[1:]}"), "base64"),
    "bewit not ASCII": (got(f"{TASK}?bewit={url_safe_base64('ä'.encode())}"), "base64 of ASCII"),
    "bewit of three parts": (inner("static/demo", SECONDS + 900, MAC), "four parts"),
    "bewit of five parts": (inner("static/demo", SECONDS + 900, MAC, "", ""), "four parts"),
    "bewit without id": (inner("", SECONDS + 900, MAC, ""), "four parts"),
    "bewit without mac": (inner("static/demo", SECONDS + 900, "", ""), "four parts"),
    "bewit without end": (inner("static/demo", "", MAC, ""), "four parts"),
    "bewit that never ends": (inner("static/demo", "never", MAC, ""), "whole number"),
    "bewit until 10^400": (inner("static/demo", "1" + "0" * 400, MAC, ""), "whole number"),
    "bewit with a newline": (inner("static/demo\nx", SECONDS + 900, MAC, ""), "four parts"),
    "bewit with the mac of a header": (inner("static/demo", SECONDS + 900, MAC, ""), "does not match"),
    "bewit of a later end": (
        inner(
            "static/demo",
            SECONDS + 9000,
            base64.urlsafe_b64decode(BEWIT + "=" * (-len(BEWIT) % 4)).decode().split("\\")[2],
            "",
        ),
        "does not match",
    ),
    "bewit of another key": (replace(DEMO, key=OTHER_TOKEN).signed_url(TASK), "does not match"),
    "bewit of nobody": (Caller("static/nobody").signed_url(TASK), "no client"),
    "bewit with bad ext": (replace(DEMO, ext="!").signed_url(TASK), "not base64 of JSON"),
    "bewit of an expired certificate": (
        DEMO.issue(start=MS - 2 * HOUR, expiry=MS - HOUR).signed_url(TASK),
        "have expired",
    ),
    "huge bewit": (got(f"{TASK}?bewit={'A' * 70_000}"), "longer than 65536"),
    "huge bewit of padding": (got(f"{TASK}?bewit={'%3D' * 20_000}x{'=' * 5_000}"), "base64"),
}


def directory() -> FixedDirectory:
    return FixedDirectory.of(
        stored("static/demo", "*"),
        stored("static/root", "*", token=OTHER_TOKEN),
        stored("static/weak", "a", "a:*", token=OTHER_TOKEN),
        stored("static/disabled", "*", disabled=True),
        stored("static/expired", "*", expires=NOW),
    )


def fresh() -> Authenticator:
    return Authenticator(directory())


def warm() -> Authenticator:
    """One that has seen the true credentials of everybody."""
    authenticator = fresh()
    for caller in (DEMO, WEAK, DEMO.temporary(UNNAMED), DEMO.temporary(NAMED, "some/body")):
        judged(authenticator, caller.request())
    return authenticator


@pytest.mark.parametrize("authenticator", [fresh, warm])
@pytest.mark.parametrize(("forged", "reason"), FORGED.values(), ids=FORGED)
def test_a_forgery_is_refused_with_its_reason(
    forged: SignedRequest, reason: str, authenticator: Callable[[], Authenticator]
) -> None:
    with pytest.raises(NotAuthentic) as refused:
        judged(authenticator(), forged)
    said = str(refused.value)
    assert reason in said
    assert said.isprintable()
    assert not any(secret in said for secret in (TOKEN, OTHER_TOKEN, SEED, DEMO.temporary(UNNAMED).key))


@pytest.mark.parametrize("authenticator", [fresh, warm])
def test_what_the_forgeries_are_made_of_is_taken(authenticator: Callable[[], Authenticator]) -> None:
    for request in (
        with_attributes(),
        CLAIM,
        issued(UNNAMED),
        issued(NAMED, "some/body"),
        WEAK.issue("a").request(),
        got(f"{TASK}?bewit={BEWIT}"),
    ):
        assert judged(authenticator(), request).status == "auth-success"


def test_a_certificate_takes_no_scope_that_could_be_two() -> None:
    """The signed text has a line for each scope: one with a newline would sign two."""
    certificate = DEMO.certificate(["a\nb"])
    assert certificate["signature"] == DEMO.certificate(["a", "b"])["signature"]
    with pytest.raises(NotAuthentic, match="printable"):
        judged(directory(), DEMO.temporary(certificate).request())

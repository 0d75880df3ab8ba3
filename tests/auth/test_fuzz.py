"""Whatever a request brings as credentials, it is authentic or not: there is no third outcome."""

import base64
import random
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from queue_service.auth.authenticator import Authenticator, Identity, NotAuthentic
from queue_service.auth.request import SignedRequest
from tests.auth.callers import DEMO, MS, Caller, FixedDirectory, got, judged, stored

TASK: Final = "/api/queue/v1/task/fN1SbArXTPSVFNUvaOlinQ"
CALLERS: Final = {
    "permanent": DEMO,
    "restricted": DEMO.restricted_to("a", "b:*"),
    "unnamed": DEMO.issue("a"),
    "named": DEMO.issue("a", name="some/body").restricted_to("a"),
}
AUTHENTICATOR: Final = Authenticator(FixedDirectory.of(stored("static/demo", "*")))
callers: Final = st.sampled_from(list(CALLERS.values()))

texts: Final = st.text(st.characters(max_codepoint=255), max_size=80)
"""What a header can hold: bytes that were decoded as Latin-1."""
scraps: Final = st.one_of(
    texts,
    st.sampled_from(
        ['"', "\\", ",", " ", "=", "\n", "\0", "&", "?", "%3D", "bewit=", 'id="', "Hawk ", "\xff"]
    ),
)
json_values: Final = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from([MS, "a", "static/demo", "\ud800", 10**400, -(10**400), 1e308]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def outcome(request: SignedRequest) -> Identity | None:
    """Who called; None for nobody who can be believed. Any other error is that of the test."""
    try:
        return judged(AUTHENTICATOR, request)
    except NotAuthentic:
        return None


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """The text with a part of it taken out, and something else put in or done to it."""
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + draw(st.sampled_from([0, 1, 2, 8, 1000])))))
    part = text[start:end]
    put_in = draw(st.one_of(scraps, st.just(part + part), st.just(part.swapcase()), st.just(part[::-1])))
    return text[:start] + put_in + text[end:]


@settings(deadline=None, max_examples=300)
@given(st.data(), callers)
def test_a_damaged_header_gives_nothing_new(data: st.DataObject, caller: Caller) -> None:
    request = caller.request("GET", TASK)
    assert request.authorization is not None
    header = data.draw(damaged(request.authorization))
    assert outcome(replace(request, authorization=header)) in (None, outcome(request))


@settings(deadline=None, max_examples=300)
@given(st.data(), callers)
def test_a_damaged_url_gives_nothing_new(data: st.DataObject, caller: Caller) -> None:
    request = caller.signed_url(f"{TASK}?a=1")
    found = outcome(replace(request, resource=data.draw(damaged(request.resource))))
    assert found in (None, outcome(request)) or found.status == "no-auth"


@settings(deadline=None, max_examples=300)
@given(texts)
@example("Hawk")
@example('Hawk id="", ts="", nonce="", mac=""')
def test_any_text_as_a_header_is_not_authentic(text: str) -> None:
    assert outcome(got(TASK, text)) is None
    assert outcome(got(TASK, f"Hawk {text}")) is None


@settings(deadline=None, max_examples=300)
@given(st.one_of(texts, st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
@example("")
@example("====")
@example("XFxc")
def test_any_text_as_a_bewit_is_not_authentic(text: str) -> None:
    assert outcome(got(f"{TASK}?bewit={text.replace('&', '')}")) is None


@settings(deadline=None, max_examples=300)
@given(st.one_of(texts.filter(lambda text: text.isascii() and text.isprintable()), st.just("")))
def test_any_text_as_a_signed_ext_is_judged(text: str) -> None:
    caller = replace(DEMO, ext=text.replace('"', "").replace("\\", ""))
    outcome(caller.request())
    outcome(caller.signed_url(TASK))


@settings(deadline=None, max_examples=300)
@given(json_values)
def test_any_json_as_a_signed_ext_is_judged(ext: Any) -> None:
    outcome(DEMO.with_ext(ext).request())
    outcome(DEMO.with_ext({"certificate": ext}).request())
    outcome(DEMO.with_ext({"authorizedScopes": ext}).request())


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(["version", "seed", "start", "expiry", "scopes", "signature", "issuer", "clientId"]),
    json_values,
    st.booleans(),
)
def test_any_member_of_a_certificate_is_judged(member: str, value: Any, named: bool) -> None:
    name = "some/body" if named else None
    true = DEMO.certificate(["a"], name)
    altered = DEMO.temporary(true, name).with_ext({"certificate": {**true, member: value}})
    found = outcome(altered.request())
    assert found is None or repr(value) == repr(true.get(member)) or member == "clientId"


@pytest.mark.parametrize("seed", range(5))
def test_every_single_changed_letter_is_noticed(seed: int) -> None:
    """Base64 has letters whose last bits do not count; what is signed is the text and not its meaning."""
    chance = random.Random(seed)
    for caller in CALLERS.values():
        request = caller.request("GET", TASK)
        header = request.authorization
        assert header is not None
        for place in range(len("Hawk "), len(header)):
            letter = chance.choice("ABab01+/-_=")
            changed = header[:place] + letter + header[place + 1 :]
            assert changed == header or outcome(replace(request, authorization=changed)) is None

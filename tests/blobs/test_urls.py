"""Signed URLs: what they permit, and that nothing else is permitted by changing them."""

from datetime import timedelta
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import pytest

from queue_service.blobs.urls import SignedUrls, UrlRefused
from tests.core.samples import NOW

URLS = SignedUrls("http://127.0.0.1:8080", b"secret")
LATER = (NOW + timedelta(minutes=45)).replace(microsecond=0)


def query(url: str) -> str:
    return urlsplit(url).query


def upload(*, content_type: str = "text/plain", content_length: int | None = 12) -> str:
    return query(URLS.upload("t/1", content_type=content_type, content_length=content_length, expires=LATER))


def download() -> str:
    return query(URLS.download("t/1", expires=LATER))


def test_a_url_is_absolute_below_the_root_url() -> None:
    for root in ("https://example.com/taskbus", "https://example.com/taskbus/"):
        url = SignedUrls(root, b"secret").download("t/1", expires=LATER)
        assert url.startswith("https://example.com/taskbus/blobs/t/1?")


def test_an_upload_url_says_what_was_promised() -> None:
    permission = URLS.permission("PUT", "t/1", upload(content_type="a/b; c=d&e=f+g"), NOW)
    assert (permission.key, permission.content_type, permission.content_length) == (
        "t/1",
        "a/b; c=d&e=f+g",
        12,
    )


def test_a_length_need_not_be_promised() -> None:
    assert URLS.permission("PUT", "t/1", upload(content_length=None), NOW).content_length is None


def test_another_spelling_of_the_query_is_the_same_url() -> None:
    given = upload(content_type="text/html; charset=utf-8")
    for spelling in (
        unquote(given.replace("+", "%20")).replace(" ", "+"),
        "&".join(reversed(given.split("&"))),
    ):
        assert spelling != given
        assert URLS.permission("PUT", "t/1", spelling, NOW).content_type == "text/html; charset=utf-8"


def test_a_url_expires() -> None:
    just_before = LATER - timedelta(milliseconds=1)
    assert URLS.permission("GET", "t/1", download(), just_before).key == "t/1"
    for moment in (LATER, LATER + timedelta(days=1)):
        with pytest.raises(UrlRefused, match="expired"):
            URLS.permission("GET", "t/1", download(), moment)


def test_a_url_lives_until_the_end_of_the_second() -> None:
    expires = LATER + timedelta(milliseconds=1)
    given = query(URLS.download("t/1", expires=expires))
    assert URLS.permission("GET", "t/1", given, expires).key == "t/1"


def test_a_url_may_live_for_ever() -> None:
    given = query(URLS.download("t/1", expires=None))
    assert URLS.permission("GET", "t/1", given, NOW + timedelta(days=36500)).expires is None


def test_a_url_permits_its_method_alone() -> None:
    with pytest.raises(UrlRefused):
        URLS.permission("PUT", "t/1", download(), NOW)
    with pytest.raises(UrlRefused):
        URLS.permission("GET", "t/1", upload(), NOW)
    bare = query(URLS.download("t/1", expires=LATER))
    assert "type" not in bare
    with pytest.raises(UrlRefused):
        URLS.permission("PUT", "t/1", bare, NOW)


def test_a_url_permits_its_key_alone() -> None:
    for key in ("t/2", "t/1/", "t", "t/1/2"):
        with pytest.raises(UrlRefused):
            URLS.permission("GET", key, download(), NOW)


def test_another_secret_signs_nothing() -> None:
    other = SignedUrls("http://127.0.0.1:8080", b"other")
    with pytest.raises(UrlRefused):
        other.permission("GET", "t/1", download(), NOW)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("expires", "9999999999"),
        ("expires", None),
        ("type", "text/html"),
        ("type", None),
        ("length", "13"),
        ("length", "012"),
        ("length", None),
        ("signature", None),
        ("signature", ""),
        ("signature", "0" * 64),
        ("signature", "ä"),
        ("key", "t/2"),
    ],
)
def test_a_changed_field_is_refused(name: str, value: str | None) -> None:
    fields = dict(parse_qsl(upload()))
    changed = {**fields, name: value} if value is not None else {k: v for k, v in fields.items() if k != name}
    with pytest.raises(UrlRefused):
        URLS.permission("PUT", "t/1", urlencode(changed), NOW)


@pytest.mark.parametrize("extra", ["&expires=9999999999", "&signature=0", "&x=y", "&type=", "&", "&%"])
def test_a_further_field_is_refused(extra: str) -> None:
    with pytest.raises(UrlRefused):
        URLS.permission("PUT", "t/1", upload() + extra, NOW)
    with pytest.raises(UrlRefused):
        URLS.permission("PUT", "t/1", (extra + "&" + upload()).removeprefix("&"), NOW)


@pytest.mark.parametrize("nothing", ["", "signature", "=", "&&&", "%00", "a=b&" * 1000])
def test_no_signature_is_no_permission(nothing: str) -> None:
    with pytest.raises(UrlRefused):
        URLS.permission("GET", "t/1", nothing, NOW)


def test_a_refusal_does_not_tell_the_right_signature() -> None:
    signature = dict(parse_qsl(download()))["signature"]
    with pytest.raises(UrlRefused) as refused:
        URLS.permission("GET", "t/1", download().replace(signature, "0" * 64), NOW)
    assert signature not in str(refused.value)

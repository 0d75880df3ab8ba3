"""Who calls and with which scopes, when everything is right (``auth.md`` 1.3, 1.5, 1.6, 1.7, 2.4)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from queue_service.auth.authenticator import Authenticator, NotAuthentic, StoredClient
from queue_service.auth.request import SignedRequest
from queue_service.auth.roles import Roles
from schemas.times import from_ms
from tests.auth.callers import (
    DEMO,
    HOUR,
    JSON,
    MS,
    NOW,
    OTHER_TOKEN,
    SECONDS,
    TOKEN,
    Caller,
    FixedDirectory,
    encoded,
    got,
    hash_of,
    judged,
    stored,
)

EVERYBODY: Final = ("assume:anonymous", "public")
DAY: Final = timedelta(days=1)


# ---- outcomes ------------------------------------------------------------------------------------------


def test_without_credentials_a_caller_is_anonymous() -> None:
    identity = judged(FixedDirectory.of(), got("/api/queue/v1/ping?a=1"))
    assert (identity.client_id, identity.status, identity.hash) == ("", "no-auth", None)
    assert identity.scopes.scopes == EVERYBODY
    assert identity.expires == NOW + timedelta(minutes=15)


def test_without_a_role_anonymous_there_is_the_scope_alone() -> None:
    assert judged(FixedDirectory(roles=Roles({})), got("/")).scopes.scopes == ("assume:anonymous",)


@pytest.mark.parametrize("ext", [None, "", "e30=", "e30"])
def test_permanent_credentials(ext: str | None) -> None:
    """Python sends the ext ``{}``, other clients none."""
    directory = FixedDirectory.of(stored("static/demo", "a", "assume:team"), team=["b"])
    identity = judged(directory, replace(DEMO, ext=ext).request())
    assert (identity.client_id, identity.status) == ("static/demo", "auth-success")
    assert identity.scopes.scopes == ("a", "assume:anonymous", "assume:team", "b", "public")
    assert identity.expires == directory.clients["static/demo"].expires


@pytest.mark.parametrize(
    "spelled",
    [
        'hawk id="{id}",ts="{ts}",nonce="{nonce}",mac="{mac}"',
        'HAWK  mac="{mac}" ,  nonce="{nonce}" , id="{id}", ts="{ts}"  ',
    ],
)
def test_attributes_stand_in_any_order_and_distance(spelled: str) -> None:
    request = replace(DEMO.request(), authorization=spelled.format(**DEMO.attributes()))
    assert judged(stored(), request).client_id == "static/demo"


def test_a_raw_target_is_signed_as_it_stands() -> None:
    request = DEMO.request("PUT", "/api/queue/v1/task/x%2Fy/%7Ez?b=%20&a=&a=1")
    assert judged(stored(), request).client_id == "static/demo"
    with pytest.raises(NotAuthentic):
        judged(stored(), replace(request, resource=request.resource.replace("%2F", "/")))


@pytest.mark.parametrize("seconds", [-900, 0, 900])
def test_a_clock_may_be_a_quarter_of_an_hour_off(seconds: int) -> None:
    assert judged(stored(), DEMO.request(ts=SECONDS + seconds)).status == "auth-success"


@pytest.mark.parametrize("seconds", [-901, 901])
def test_a_clock_may_not_be_more_off(seconds: int) -> None:
    with pytest.raises(NotAuthentic, match="clock"):
        judged(stored(), DEMO.request(ts=SECONDS + seconds))


def test_the_same_nonce_is_taken_again() -> None:
    """As in the reference: a client that repeats a request within a second is no attacker."""
    authenticator = Authenticator(FixedDirectory.of(stored()))
    assert judged(authenticator, DEMO.request()) == judged(authenticator, DEMO.request())


# ---- the body ------------------------------------------------------------------------------------------


def test_a_hash_is_that_of_the_body_and_the_kind_of_its_type() -> None:
    request = DEMO.request("POST", body=b"{}", content_type=JSON, hashed=True)
    for content_type in (JSON, "Application/JSON; charset=utf-8", " application/json ;x"):
        assert judged(stored(), replace(request, content_type=content_type)).hash is not None


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"{} ", JSON), (b"", JSON), (b"{}", ""), (b"{}", "text/json")]
)
def test_another_body_or_type_is_refused(body: bytes, content_type: str) -> None:
    request = DEMO.request("POST", body=b"{}", content_type=JSON, hashed=True)
    with pytest.raises(NotAuthentic, match="hash"):
        judged(stored(), replace(request, body=body, content_type=content_type))


def test_without_a_hash_the_body_is_not_looked_at() -> None:
    request = DEMO.request("POST", body=b"{}", content_type=JSON)
    assert judged(stored(), request).hash is None


def test_another_service_compares_the_hash_itself() -> None:
    request = DEMO.request("POST", body=b"{}", content_type=JSON, hashed=True)
    identity = judged(stored(), replace(request, body=b""), check_payload=False)
    assert identity.hash == hash_of(b"{}", JSON)


# ---- signed URLs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signed", "sent"),
    [
        ("/a", "/a?bewit={}"),
        ("/a?b=1", "/a?b=1&bewit={}"),
        ("/a?b=1", "/a?bewit={}&b=1"),
        ("/a?b=1&c=%2F", "/a?b=1&bewit={}&c=%2F"),
        ("/a", "/a?bewit={}="),
        ("/a", "/a?bewit={}%3D%3d"),
        ("/bewit=x", "/bewit=x?bewit={}"),
        ("/a?nobewit=1", "/a?nobewit=1&bewit={}"),
    ],
)
def test_a_signed_url_is_signed_without_the_bewit(signed: str, sent: str) -> None:
    identity = judged(stored("static/demo", "a"), got(sent.format(DEMO.bewit(signed))))
    assert (identity.client_id, identity.status) == ("static/demo", "auth-success")
    assert identity.scopes.scopes == ("a", *EVERYBODY)


def test_a_signed_url_is_good_for_head_too() -> None:
    assert judged(stored(), replace(DEMO.signed_url("/a"), method="HEAD")).status == "auth-success"


def test_a_signed_url_may_come_from_temporary_and_restricted_credentials() -> None:
    caller = DEMO.issue("a", "b", name="some/body").restricted_to("b")
    identity = judged(stored("static/demo", "*"), caller.signed_url("/a?b=1"))
    assert identity.client_id == "some/body"
    assert identity.scopes.scopes == ("assume:anonymous", "b", "public")


def test_a_signed_url_ends_in_its_second() -> None:
    request = DEMO.signed_url("/a", SECONDS)
    assert judged(stored(), request, NOW - timedelta(milliseconds=1)).status == "auth-success"
    with pytest.raises(NotAuthentic, match="expired"):
        judged(stored(), request)


@pytest.mark.parametrize("resource", ["/a?nobewit=x", "/bewit=x", "/a?x=bewit=y", "/a?Bewit=x"])
def test_what_only_looks_like_a_bewit_is_none(resource: str) -> None:
    assert judged(stored(), got(resource)).status == "no-auth"


# ---- temporary credentials -----------------------------------------------------------------------------


def test_unnamed_credentials_are_the_issuer_with_fewer_scopes() -> None:
    identity = judged(stored("static/demo", "a*", "b"), DEMO.issue("ab", "b").request())
    assert identity.client_id == "static/demo"
    assert identity.scopes.scopes == ("ab", "assume:anonymous", "b", "public")
    assert identity.expires == from_ms(MS + HOUR)


def test_named_credentials_are_another_client() -> None:
    issuer = stored("static/demo", "auth:create-client:some/*", "a")
    identity = judged(issuer, DEMO.issue("a", name="some/body").request())
    assert identity.client_id == "some/body"
    assert identity.scopes.scopes == ("a", *EVERYBODY)


def test_an_issuer_gives_what_its_roles_grant() -> None:
    directory = FixedDirectory.of(
        stored("static/demo", "assume:team"), team=["auth:create-client:some/*", "a:*"]
    )
    caller = DEMO.issue("a:b", "assume:team", name="some/body")
    assert "a:*" in judged(directory, caller.request()).scopes.scopes


def test_scopes_of_a_certificate_are_expanded() -> None:
    directory = FixedDirectory.of(stored("static/demo", "*"), team=["b"])
    assert "b" in judged(directory, DEMO.issue("assume:team").request()).scopes.scopes


def test_temporary_credentials_end_with_their_issuer() -> None:
    issuer = stored("static/demo", expires=NOW + timedelta(minutes=1))
    assert judged(issuer, DEMO.issue().request()).expires == issuer.expires


@pytest.mark.parametrize(
    ("start", "expiry"),
    [
        (MS + 300_000, MS + HOUR),
        (MS - HOUR, MS - 300_000),
        (MS - HOUR, MS - HOUR + 31 * 24 * HOUR),
    ],
)
def test_the_times_of_a_certificate_have_five_minutes_of_grace(start: int, expiry: int) -> None:
    assert judged(stored(), DEMO.issue(start=start, expiry=expiry).request()).status == "auth-success"


@pytest.mark.parametrize(
    ("start", "expiry", "reason"),
    [
        (MS + 300_001, MS + HOUR, "not valid yet"),
        (MS - HOUR, MS - 300_001, "have expired"),
        (MS - HOUR, MS - HOUR + 31 * 24 * HOUR + 1, "31 days"),
        (-(10**300), MS + HOUR, "31 days"),
        (MS, 10**300, "31 days"),
    ],
)
def test_the_times_of_a_certificate_have_no_more(start: int, expiry: int, reason: str) -> None:
    with pytest.raises(NotAuthentic, match=reason):
        judged(stored(), DEMO.issue(start=start, expiry=expiry).request())


# ---- restricted requests -------------------------------------------------------------------------------


def test_authorized_scopes_are_all_that_is_left() -> None:
    directory = FixedDirectory.of(stored("static/demo", "a*", "c", "assume:team"), team=["b:*"])
    identity = judged(directory, DEMO.restricted_to("ab", "b:x").request())
    assert identity.scopes.scopes == ("ab", "assume:anonymous", "b:x", "public")


def test_authorized_scopes_are_expanded() -> None:
    directory = FixedDirectory.of(stored("static/demo", "*"), team=["b:*"])
    identity = judged(directory, DEMO.restricted_to("assume:team").request())
    assert identity.scopes.scopes == ("assume:anonymous", "assume:team", "b:*", "public")


def test_no_authorized_scopes_leave_what_everybody_has() -> None:
    assert judged(stored("static/demo", "*"), DEMO.restricted_to().request()).scopes.scopes == EVERYBODY


def test_what_everybody_has_may_be_authorized() -> None:
    identity = judged(stored("static/demo"), DEMO.restricted_to("public").request())
    assert identity.scopes.scopes == EVERYBODY


def test_authorized_scopes_restrict_temporary_credentials() -> None:
    caller = DEMO.issue("a", "b").restricted_to("b")
    assert judged(stored("static/demo", "*"), caller.request()).scopes.scopes == (
        "assume:anonymous",
        "b",
        "public",
    )
    with pytest.raises(NotAuthentic, match="`c`"):
        judged(stored("static/demo", "*"), DEMO.issue("a", "b").restricted_to("c").request())


# ---- changes -------------------------------------------------------------------------------------------

CREDENTIALS: Final[dict[str, SignedRequest]] = {
    "permanent": DEMO.request(),
    "restricted": DEMO.restricted_to("a").request(),
    "unnamed": DEMO.issue("a").request(),
    "named": DEMO.issue("a", name="some/body").request(),
    "signed URL": DEMO.issue("a").signed_url("/a"),
}
ISSUER: Final = stored("static/demo", "a", "auth:create-client:*")


@pytest.mark.parametrize("request_", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda client: replace(client, disabled=True), "is disabled"),
        (lambda client: replace(client, expires=NOW), "has expired"),
        (lambda client: replace(client, access_token=OTHER_TOKEN), "not match"),
        (lambda client: None, "no client"),
    ],
    ids=["disabled", "expired", "reset", "deleted"],
)
def test_a_change_of_the_client_counts_from_the_next_request(
    request_: SignedRequest, change: Callable[[StoredClient], StoredClient | None], reason: str
) -> None:
    directory = FixedDirectory.of(ISSUER)
    authenticator = Authenticator(directory)
    assert judged(authenticator, request_) == judged(authenticator, request_)
    changed = change(ISSUER)
    directory.clients = {} if changed is None else {"static/demo": changed}
    with pytest.raises(NotAuthentic, match=reason):
        judged(authenticator, request_)


@pytest.mark.parametrize("name", ["restricted", "unnamed", "named", "signed URL"])
def test_scopes_that_a_client_loses_are_lost_to_what_it_issued(name: str) -> None:
    directory = FixedDirectory.of(ISSUER)
    authenticator = Authenticator(directory)
    judged(authenticator, CREDENTIALS[name])
    directory.clients = {"static/demo": replace(ISSUER, scopes=("auth:create-client:*",))}
    with pytest.raises(NotAuthentic, match="lack"):
        judged(authenticator, CREDENTIALS[name])


@pytest.mark.parametrize("request_", CREDENTIALS.values(), ids=CREDENTIALS)
def test_a_change_of_roles_counts_from_the_next_request(request_: SignedRequest) -> None:
    directory = FixedDirectory.of(
        replace(ISSUER, scopes=("assume:team",)), team=["a", "auth:create-client:*"]
    )
    authenticator = Authenticator(directory)
    assert judged(authenticator, request_).scopes.satisfies("a")
    directory.roles = Roles({"anonymous": ["other"], "team": ["a", "b", "auth:create-client:*"]})
    assert judged(authenticator, request_).scopes.satisfies("other")
    assert not judged(authenticator, request_).scopes.satisfies("public")


def test_an_issuer_that_loses_a_role_has_issued_nothing() -> None:
    directory = FixedDirectory.of(replace(ISSUER, scopes=("assume:team",)), team=["a"])
    authenticator = Authenticator(directory)
    judged(authenticator, CREDENTIALS["unnamed"])
    directory.roles = Roles({})
    with pytest.raises(NotAuthentic, match="lacks the scope `a`"):
        judged(authenticator, CREDENTIALS["unnamed"])


@pytest.mark.parametrize(
    ("request_", "later", "reason"),
    [
        (DEMO.request(ts=SECONDS + 2 * 86400), 2 * DAY, "client `static/demo` has expired"),
        (DEMO.issue().request(ts=SECONDS + 86400), DAY, "temporary credentials have expired"),
        (DEMO.signed_url("/a"), DAY, "signed URL has expired"),
    ],
    ids=["client", "certificate", "URL"],
)
def test_what_was_valid_does_not_stay_so(request_: SignedRequest, later: timedelta, reason: str) -> None:
    authenticator = Authenticator(FixedDirectory.of(stored("static/demo", expires=NOW + 2 * DAY)))
    signed_now = {
        "temporary": DEMO.issue().request(),
        "permanent": DEMO.request(),
        "URL": DEMO.signed_url("/a"),
    }
    for earlier in signed_now.values():
        judged(authenticator, earlier)
    with pytest.raises(NotAuthentic, match=reason):
        judged(authenticator, request_, NOW + later)


# ---- what nobody may do --------------------------------------------------------------------------------


class Watched(Roles):
    """Roles that count how often somebody makes the server expand scopes."""

    expansions = 0

    def expand(self, scopes: object) -> object:  # type: ignore[override]
        self.expansions += 1
        return super().expand(scopes)  # type: ignore[arg-type]


def test_without_the_key_nobody_makes_the_server_expand_scopes() -> None:
    roles = Watched({"anonymous": ["public"]})
    directory = FixedDirectory({"static/demo": stored("static/demo", "*")}, roles)
    forger = Caller("static/demo", OTHER_TOKEN).restricted_to(*(f"assume:{n}*" for n in range(100)))
    with pytest.raises(NotAuthentic, match="does not match"):
        judged(directory, forger.request())
    assert roles.expansions == 0


def test_the_directory_is_asked_for_well_formed_ids_only() -> None:
    directory = FixedDirectory.of(stored("static/demo", "*"))
    for caller in (
        Caller("a b"),
        Caller("x" * 501),
        Caller("some/body").with_ext({"certificate": {"issuer": "a\0"}}),
        Caller("some/body").with_ext({"certificate": {"issuer": "\ud800"}}),
    ):
        with pytest.raises(NotAuthentic):
            judged(directory, caller.request())
    assert directory.asked == []


def test_roles_that_grant_too_much_are_a_reason() -> None:
    roles = {f"{number}-*": [f"assume:{number + 1}-<..>{turn}" for turn in "lr"] for number in range(30)}
    directory = FixedDirectory({"static/demo": stored("static/demo", "assume:0-")}, Roles(roles))
    with pytest.raises(NotAuthentic, match="more scopes than"):
        judged(directory, DEMO.request())


def test_a_secret_shows_in_no_representation() -> None:
    client = stored("static/demo", "a")
    assert TOKEN not in repr(client)
    assert TOKEN not in repr(Authenticator(FixedDirectory.of(client)))


def test_ext_is_read_in_both_alphabets() -> None:
    """Python sends the one for URLs, the others the standard one, some without padding."""
    told = {"authorizedScopes": ["a?>~b~~"]}
    standard = encoded(told)
    assert set("+/") & set(standard)
    for ext in (standard, standard.rstrip("="), standard.replace("+", "-").replace("/", "_")):
        request = replace(DEMO, ext=ext).request()
        assert "a?>~b~~" in judged(stored("static/demo", "*"), request).scopes.scopes


def test_a_certificate_of_a_task_with_many_scopes_passes() -> None:
    scopes = [f"queue:route:index.project.taskbus.{number:04}.{'x' * 60}" for number in range(400)]
    request = DEMO.issue(*scopes).request()
    assert len(request.authorization or "") > 40_000
    assert len(judged(stored("static/demo", "*"), request).scopes.scopes) == 402

"""Credentials: where they come from, what they issue, and what of them is never shown."""

import base64
import json
from datetime import timedelta

import pytest

from schemas.times import from_ms
from taskbus import Credentials

TOKEN = "vuOoBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA"
SEED = "fN1SbArXTPSVFNUvaOlinQeXCjaj5mQVSZSwMc5cW2wQ"
DEMO = Credentials("static/demo", TOKEN)
HOUR = timedelta(hours=1)
START = from_ms(1700000000000)


def test_vector_3_named_temporary_credentials() -> None:
    made = DEMO.issue(
        ["queue:status:*", "a"], lifetime=HOUR, name="worker/temp", now=START, seed=lambda: SEED
    )
    assert made.client_id == "worker/temp"
    assert made.access_token == "P_5orKAumnlQuKP-BkVpUXeLmHucUBBo15Tsy7A-1uU"
    assert json.loads(made.certificate or "") == {
        "version": 1,
        "scopes": ["queue:status:*", "a"],
        "start": 1700000000000,
        "expiry": 1700003600000,
        "seed": SEED,
        "issuer": "static/demo",
        "signature": "XnuUZQK4M73rHs2r7YbJWWDNLerGM8hM382FUwNG9Lo=",
    }


def test_vector_4_temporary_credentials_without_a_name() -> None:
    made = DEMO.issue([], lifetime=HOUR, now=START, seed=lambda: SEED)
    certificate = json.loads(made.certificate or "")
    assert made.client_id == "static/demo"
    assert certificate["signature"] == "4ZJMCxRVfPb9n2A4DMuUbl0t9HSRBr0B3DXvz0KoFxY="
    assert "issuer" not in certificate


def test_every_issue_has_a_seed_of_its_own() -> None:
    one, other = (DEMO.issue([], lifetime=HOUR) for _ in range(2))
    assert len(json.loads(one.certificate or "")["seed"]) == 44
    assert one.access_token != other.access_token


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(days=31, seconds=1), timedelta(hours=-1)])
def test_a_lifetime_that_no_server_accepts_is_refused(lifetime: timedelta) -> None:
    with pytest.raises(ValueError, match="lifetime: expected at most 31 days"):
        DEMO.issue([], lifetime=lifetime)


def test_temporary_credentials_issue_no_others() -> None:
    made = DEMO.issue(["*"], lifetime=HOUR)
    assert made.temporary
    with pytest.raises(ValueError, match="temporary credentials cannot issue others"):
        made.issue([], lifetime=HOUR)


def test_the_issuers_own_name_is_no_name_for_others() -> None:
    with pytest.raises(ValueError, match="name: expected another one"):
        DEMO.issue([], lifetime=HOUR, name="static/demo")


def test_what_goes_with_each_signature_is_the_certificate_and_the_restriction() -> None:
    made = DEMO.issue(["a"], lifetime=HOUR).restricted_to("a:b")
    header = made.authorization("GET", "http://localhost/api", None)
    ext = json.loads(base64.b64decode(header.partition('ext="')[2].partition('"')[0]))
    assert ext == {"certificate": json.loads(made.certificate or ""), "authorizedScopes": ["a:b"]}
    assert "ext=" not in DEMO.authorization("GET", "http://localhost/api", None)
    assert "ext=" in DEMO.restricted_to().authorization("GET", "http://localhost/api", None)


def test_no_two_signatures_are_alike() -> None:
    made = {DEMO.authorization("GET", "http://localhost/api", None) for _ in range(100)}
    assert len(made) == 100


@pytest.mark.parametrize(
    ("url", "joined"),
    [
        ("http://localhost:8080/a%2Fb", "http://localhost:8080/a%2Fb?bewit="),
        ("http://h/a?x=1", "http://h/a?x=1&bewit="),
    ],
)
def test_a_signed_url_keeps_what_it_had_and_lasts_fifteen_minutes(url: str, joined: str) -> None:
    signed = DEMO.signed_url(url, now=1700000000.7)
    assert signed.startswith(joined)
    bewit = signed.removeprefix(joined)
    assert "=" not in bewit
    client_id, expiry, _, ext = base64.urlsafe_b64decode(bewit + "=" * (-len(bewit) % 4)).decode().split("\\")
    assert (client_id, expiry, ext) == ("static/demo", "1700000900", "")


def test_the_environment_brings_them_and_takes_them() -> None:
    made = DEMO.issue(["a"], lifetime=HOUR, name="n")
    assert Credentials.from_env(made.to_env()) == made
    assert Credentials.from_env(DEMO.to_env()) == DEMO
    assert set(DEMO.to_env()) == {"TASKCLUSTER_CLIENT_ID", "TASKCLUSTER_ACCESS_TOKEN"}


@pytest.mark.parametrize("environment", [{}, {"TASKCLUSTER_CLIENT_ID": "", "TASKCLUSTER_ACCESS_TOKEN": ""}])
def test_an_environment_without_credentials_gives_none(environment: dict[str, str]) -> None:
    assert Credentials.from_env(environment) is None


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"TASKCLUSTER_CLIENT_ID": "c"}, "TASKCLUSTER_ACCESS_TOKEN: expected a value"),
        ({"TASKCLUSTER_ACCESS_TOKEN": "t"}, "TASKCLUSTER_CLIENT_ID: expected a value"),
        (
            {"TASKCLUSTER_CLIENT_ID": "c", "TASKCLUSTER_ACCESS_TOKEN": "t", "TASKCLUSTER_CERTIFICATE": "[]"},
            "certificate: expected a JSON object",
        ),
        ({"TASKCLUSTER_CLIENT_ID": 'a"b', "TASKCLUSTER_ACCESS_TOKEN": "t"}, "client_id: expected printable"),
        ({"TASKCLUSTER_CLIENT_ID": "c", "TASKCLUSTER_ACCESS_TOKEN": "tö"}, "access_token: expected ASCII"),
    ],
)
def test_an_environment_with_half_of_them_says_what_is_wrong(
    environment: dict[str, str], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        Credentials.from_env(environment)


def test_secrets_are_not_shown() -> None:
    made = DEMO.issue(["a"], lifetime=HOUR)
    for shown in (repr(DEMO), str(made), f"{made}"):
        assert TOKEN not in shown
        assert made.access_token not in shown
        assert "signature" not in shown
    assert "static/demo" in repr(DEMO)

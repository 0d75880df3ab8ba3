"""The credentials in claims (``queue-behaviour.md`` 7.3), judged by the formulas of ``auth.md`` 2."""

import base64
import hashlib
import hmac
import json
from datetime import datetime
from typing import Any, Final

import pytest

from queue_service.auth.temporary import Issuer, named_credentials, signature, two_slugids
from schemas.times import from_ms
from tests.api.running_queue import ISSUER, RunningQueue, at

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
DEMO: Final = Issuer("static/demo", "vuOoBTLkTDKsiDVZ2BuxUQ3ReqAqTXmzLAr1nOm6RQWA")
SEED: Final = "fN1SbArXTPSVFNUvaOlinQeXCjaj5mQVSZSwMc5cW2wQ"
START: Final = from_ms(1700000000000)
EXPIRY: Final = from_ms(1700003600000)


def sign(token: str, text: str) -> bytes:
    return hmac.new(token.encode("ascii"), text.encode(), hashlib.sha256).digest()


def verified(credentials: dict[str, str], token: str = ISSUER.access_token) -> dict[str, Any]:
    """The certificate, after everything that a server can check was checked (2.1 to 2.4)."""
    certificate: dict[str, Any] = json.loads(credentials["certificate"])
    assert set(certificate) == {"version", "scopes", "start", "expiry", "seed", "signature", "issuer"}
    assert certificate["version"] == 1
    assert isinstance(certificate["start"], int)
    assert isinstance(certificate["expiry"], int)
    assert len(certificate["seed"]) == 44
    text = "\n".join(
        [
            "version:1",
            f"clientId:{credentials['clientId']}",
            f"issuer:{certificate['issuer']}",
            f"seed:{certificate['seed']}",
            f"start:{certificate['start']}",
            f"expiry:{certificate['expiry']}",
            "scopes:",
            *certificate["scopes"],
        ]
    )
    assert certificate["signature"] == base64.b64encode(sign(token, text)).decode()
    key = base64.urlsafe_b64encode(sign(token, certificate["seed"])).decode().rstrip("=")
    assert credentials["accessToken"] == key
    assert len(key) == 43
    return certificate


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


# ---- test vectors -------------------------------------------------------------------------------------


def test_vector_3_named_credentials() -> None:
    made = named_credentials(
        DEMO, "worker/temp", ("queue:status:*", "a"), start=START, expiry=EXPIRY, seed=lambda: SEED
    )
    certificate = json.loads(made.certificate)
    assert certificate["signature"] == "XnuUZQK4M73rHs2r7YbJWWDNLerGM8hM382FUwNG9Lo="
    assert made.access_token == "P_5orKAumnlQuKP-BkVpUXeLmHucUBBo15Tsy7A-1uU"
    assert verified(made.to_wire(), DEMO.access_token)["scopes"] == ["queue:status:*", "a"]


def test_vector_4_is_what_the_formula_gives_without_a_name() -> None:
    """We never issue unnamed credentials; the vector proves the independent formula of these tests."""
    text = f"version:1\nseed:{SEED}\nstart:1700000000000\nexpiry:1700003600000\nscopes:"
    assert base64.b64encode(sign(DEMO.access_token, text)) == b"4ZJMCxRVfPb9n2A4DMuUbl0t9HSRBr0B3DXvz0KoFxY="


def test_without_scopes_the_signed_text_ends_with_the_word() -> None:
    certificate: dict[str, object] = {
        "version": 1,
        "issuer": "static/demo",
        "seed": SEED,
        "start": 1700000000000,
        "expiry": 1700003600000,
    }
    text = (
        "version:1\nclientId:worker/temp\nissuer:static/demo\n"
        f"seed:{SEED}\nstart:1700000000000\nexpiry:1700003600000\nscopes:"
    )
    made = signature(DEMO.access_token.encode(), "worker/temp", certificate, ())
    assert made == base64.b64encode(sign(DEMO.access_token, text)).decode()


def test_a_seed_is_two_slugids() -> None:
    assert len(two_slugids()) == 44
    assert two_slugids() != two_slugids()


def test_an_issuer_does_not_show_its_token() -> None:
    assert DEMO.access_token not in repr(DEMO)


# ---- in claims ----------------------------------------------------------------------------------------


async def test_a_claim_has_credentials_for_its_run_and_the_scopes_of_the_task(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    queue.clock.advance(milliseconds=250)
    (claim,) = await queue.claim(worker="worker-7")
    credentials = claim["credentials"]
    assert set(credentials) == {"clientId", "accessToken", "certificate"}
    certificate = verified(credentials)
    assert certificate["issuer"] == ISSUER.client_id
    assert certificate["scopes"] == [
        f"queue:reclaim-task:{TASK_ID}/0",
        f"queue:resolve-task:{TASK_ID}/0",
        f"queue:create-artifact:{TASK_ID}/0",
        *claim["task"]["scopes"],
    ]
    assert certificate["start"] == milliseconds(queue.clock.now())
    assert certificate["expiry"] == milliseconds(at(claim["takenUntil"]))


async def test_the_client_id_names_the_run_the_worker_and_the_time(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    queue.clock.advance(milliseconds=250)
    (claim,) = await queue.claim(worker="worker-7")
    place, _, until = claim["credentials"]["clientId"].rpartition("/until/")
    assert place == f"task-client/{TASK_ID}/0/on/eu-central/worker-7"
    assert float(until) == at(claim["takenUntil"]).timestamp()


async def test_a_reclaim_gives_new_credentials_for_the_new_time(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    (claim,) = await queue.claim()
    queue.clock.advance(minutes=10)
    reclaim = await queue.post(f"/task/{TASK_ID}/runs/0/reclaim")
    before, after = verified(claim["credentials"]), verified(reclaim["credentials"])
    assert after["scopes"] == before["scopes"]
    assert after["expiry"] == milliseconds(at(reclaim["takenUntil"])) > before["expiry"]
    assert after["start"] == milliseconds(queue.clock.now())
    assert after["seed"] != before["seed"]
    assert reclaim["credentials"]["clientId"] != claim["credentials"]["clientId"]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_claim_task_gives_credentials_too(queue: RunningQueue) -> None:
    await queue.create(task_id=TASK_ID)
    body = {"workerGroup": "eu-central", "workerId": "worker-1"}
    first = await queue.post(f"/task/{TASK_ID}/runs/0/claim", body)
    again = await queue.post(f"/task/{TASK_ID}/runs/0/claim", body)
    assert verified(first["credentials"])["scopes"] == verified(again["credentials"])["scopes"]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_the_credentials_of_a_retry_name_the_new_run(queue: RunningQueue) -> None:
    await queue.claimed(task_id=TASK_ID)
    await queue.post(f"/task/{TASK_ID}/runs/0/exception", {"reason": "worker-shutdown"})
    (claim,) = await queue.claim()
    assert verified(claim["credentials"])["scopes"][:3] == [
        f"queue:reclaim-task:{TASK_ID}/1",
        f"queue:resolve-task:{TASK_ID}/1",
        f"queue:create-artifact:{TASK_ID}/1",
    ]

"""A short run of ``make fuzz``, always the same; and that the judge finds what it looks for."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
import schemathesis.specs.openapi.semantic_pool
from hypothesis import find
from schemathesis import Case

from queue_service.api.openapi import openapi
from queue_service.catalogue import APIS
from taskbus import Credentials
from tests.clients.deployment import ROOT_CLIENT_ID, ROOT_TOKEN, deployed
from tests.fuzz.caller import Caller, Reply, Request
from tests.fuzz.judge import Violation, judge
from tests.fuzz.run import Run

SEED: Final = 20261122
REQUESTS: Final = 500
ROOT_URL: Final = "http://localhost"
JSON: Final = {"content-type": ["application/json; charset=utf-8"]}
REFUSAL: Final[dict[str, Any]] = {
    "code": "ResourceNotFound",
    "message": "gone\n\n---\n\n* method:     status\n* errorCode:  x\n* statusCode: 404\n* time:       x",
    "requestInfo": {"method": "status", "params": {}, "payload": {}, "time": "2024-05-01T12:00:00.000Z"},
}


@pytest.mark.e2e
def test_no_request_of_a_short_run_breaks_the_service_or_its_contract(tmp_path: Path) -> None:
    with deployed(tmp_path, long_poll="0.05") as service:
        caller = Caller(service.root_url, Credentials(ROOT_CLIENT_ID, ROOT_TOKEN))
        run = Run(caller, REQUESTS, SEED, lambda known: known.furnish(caller))
        report = run.run(caller.call("GET", "/openapi.json"), per_round=2)
        assert "Traceback" not in service.log.read_text()
    assert report.requests == REQUESTS
    assert len(report.reached) > 30, "the requests reach too few handlers"


@pytest.fixture(scope="module")
def case() -> Case:
    """A call of ``status``."""
    operation = schemathesis.openapi.from_dict(openapi(APIS, "1"))["/api/queue/v1/task/{taskId}/status"][
        "get"
    ]
    return find(operation.as_strategy(), lambda case: True)


def judged(case: Case, status: int, body: object, headers: dict[str, list[str]] = JSON) -> None:
    target = "/api/queue/v1/task/fN1SbArXTPSVFNUvaOlinQ/status"
    judge(case, Request("GET", target), Reply(status, headers, json.dumps(body).encode()), ROOT_URL)


def test_a_refusal_as_the_wire_has_it_is_no_violation(case: Case) -> None:
    judged(case, 404, REFUSAL)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, REFUSAL, JSON),
        (503, REFUSAL, JSON),
        (200, {"status": {}}, JSON),
        (200, {}, JSON),
        (204, {}, JSON),
        (418, REFUSAL, JSON),
        (403, REFUSAL, JSON),
        (401, REFUSAL, JSON),
        (404, {"error": "Not found"}, JSON),
        (404, {**REFUSAL, "message": "gone"}, JSON),
        (404, {**REFUSAL, "details": {}}, JSON),
        (404, {**REFUSAL, "requestInfo": {**REFUSAL["requestInfo"], "method": "task"}}, JSON),
        (404, REFUSAL, {"content-type": ["text/html"]}),
        (404, REFUSAL, {}),
    ],
)
def test_a_reply_that_must_not_be_is_a_violation(
    case: Case, status: int, body: object, headers: dict[str, list[str]]
) -> None:
    with pytest.raises(Violation):
        judged(case, status, body, headers)

"""Our table of endpoints against the reference: the same calls, in the same places, with the same names."""

import re
from typing import Any, Final

import pytest

from queue_service.api.apis import QUEUE
from queue_service.api.endpoint import Endpoint
from schemas.errors import ERROR_STATUS
from schemas.ids import PARAMETER_PATTERNS, QUERY_PATTERNS
from tests.contract.reference import load

REFERENCE: Final[dict[str, Any]] = load("queue-api.json")
ENTRIES: Final[dict[str, dict[str, Any]]] = {entry["name"]: entry for entry in REFERENCE["entries"]}
OURS: Final[dict[str, Endpoint]] = {endpoint.name: endpoint for endpoint in QUEUE.published}

IMMEDIATE: Final = {
    "task", "status", "listTaskGroup", "getTaskGroup", "listDependentTasks",
    "reclaimTask", "reportCompleted", "reportFailed", "reportException",
    "createArtifact", "finishArtifact", "listArtifacts", "listLatestArtifacts", "artifactInfo",
    "latestArtifactInfo", "listProvisioners", "getProvisioner", "pendingTasks", "taskQueueCounts",
    "listPendingTasks", "listClaimedTasks", "listWorkerTypes", "getWorkerType", "listTaskQueues",
    "getTaskQueue", "listWorkers", "getWorker", "quarantineWorker",
}  # fmt: skip
"""Endpoints that authorize before anything else is looked at (``queue-behaviour.md`` 1.3)."""

OF_OTHER_SERVICES: Final = {
    "NoMatchingMethod", "LeaseExpired", "DecodeError", "WorkFailed", "WorkerLost", "NoWorker", "WorkTimeout",
}  # fmt: skip
"""Error codes that the queue does not have."""

ODD_PARAMETERS: Final = (
    "fN1SbArXTPSVFNUvaOlinQ", "fN1SbArXTPSVFNUvaOlin", "fN1SbArXAPSVFNUvaOlinQ", "a", "A", "-", "_", "a.b",
    "a b", "a/b", "a/B", "A/b", "a/b/c", "a/", "/a", "a/-", "a/b-", "a/1", "x" * 38, "x" * 39,
    "x" * 38 + "/" + "y" * 38, "x/" + "y" * 39, "0", "00", "10", "01", "1.0", "-1", "", "\n", "a\n", "0\n",
    "~", "\x7f", "é", "true", "false", "TRUE", "truefalse",
)  # fmt: skip


def matches(pattern: str, value: str) -> bool:
    """As the reference reads its patterns: searched, and ``$`` is the very end."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), value) is not None


def schema_name(shape: Any) -> str | None:
    return None if shape is None else f"{shape.schema_name}.json"


def test_the_base_path_is_that_of_the_reference() -> None:
    assert REFERENCE["basePath"] == QUEUE.base_path


def test_every_endpoint_of_the_reference_is_there_and_no_other() -> None:
    assert set(OURS) == set(ENTRIES)
    assert len(QUEUE.published) == len(OURS)
    assert len(QUEUE.endpoints) == len({endpoint.name for endpoint in QUEUE.endpoints})


@pytest.mark.parametrize("name", ENTRIES)
def test_an_endpoint_is_declared_as_in_the_reference(name: str) -> None:
    ours, entry = OURS[name], ENTRIES[name]
    assert {
        "name": ours.name,
        "method": ours.method,
        "route": ours.route,
        "args": re.findall(r"<(\w+)>", ours.route),
        "query": list(ours.query),
        "scopes": ours.scopes,
        "input": schema_name(ours.input),
        "output": schema_name(ours.output),
        "stability": ours.stability,
        "category": ours.category,
    } == entry


@pytest.mark.parametrize("name", ENTRIES)
def test_the_same_parameter_may_span_several_segments(name: str) -> None:
    spanning = [parameter for parameter, names in REFERENCE["multiSegmentParams"].items() if name in names]
    assert ([OURS[name].multi_segment] if OURS[name].multi_segment else []) == spanning


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry["scopes"] is not None])
def test_authorization_happens_when_the_reference_does_it(name: str) -> None:
    assert OURS[name].deferred == (name not in IMMEDIATE)


@pytest.mark.parametrize("name", sorted(IMMEDIATE))
def test_an_immediate_authorization_needs_only_parameters_of_the_url(name: str) -> None:
    assert set(re.findall(r"<(\w+)>", str(OURS[name].scopes))) <= set(ENTRIES[name]["args"])


@pytest.mark.parametrize("name", ENTRIES)
def test_an_endpoint_says_what_it_does(name: str) -> None:
    assert OURS[name].title
    assert OURS[name].description.endswith(".")


@pytest.mark.parametrize("name", REFERENCE["paramPatterns"])
def test_a_url_parameter_has_the_form_of_the_reference(name: str) -> None:
    pattern = REFERENCE["paramPatterns"][name]
    ours = {value for value in ODD_PARAMETERS if re.fullmatch(PARAMETER_PATTERNS[name], value)}
    assert ours == {value for value in ODD_PARAMETERS if matches(pattern, value)}


@pytest.mark.parametrize("name", REFERENCE["queryPatterns"])
def test_a_query_value_has_the_form_of_the_reference(name: str) -> None:
    pattern = REFERENCE["queryPatterns"][name]
    values = [value for value in ODD_PARAMETERS if value != "\n"]  # of "." only; no token of ours has one
    assert {value for value in values if re.fullmatch(QUERY_PATTERNS[name], value)} == {
        value for value in values if matches(pattern, value)
    }


def test_error_codes_have_the_status_of_the_reference() -> None:
    assert REFERENCE["errorCodes"] == {
        code: status for code, status in ERROR_STATUS.items() if code not in OF_OTHER_SERVICES
    }

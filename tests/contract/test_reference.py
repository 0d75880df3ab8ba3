"""The validator that judges our shapes: it must see what Python's defaults overlook."""

import pytest

from tests.contract.reference import Validator

STATUS = {
    "taskId": "fN1SbArXTPSVFNUvaOlinQ",
    "provisionerId": "prov",
    "workerType": "type",
    "taskQueueId": "prov/type",
    "schedulerId": "-",
    "projectId": "none",
    "taskGroupId": "fN1SbArXTPSVFNUvaOlinQ",
    "deadline": "2024-05-01T12:00:00.123Z",
    "expires": "2025-05-01T12:00:00.123Z",
    "retriesLeft": 5,
    "state": "unscheduled",
    "runs": [],
}


def test_a_valid_value_has_no_errors() -> None:
    assert Validator().errors("task-status", STATUS) == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        pytest.param("taskId", "fN1SbArXTPSVFNUvaOlinQ\n", id="newline after a pattern"),
        pytest.param("workerType", "type\n", id="newline after a referenced pattern"),
        pytest.param("deadline", "2024-05-01T12:00:00", id="date without a zone"),
        pytest.param("deadline", "2024-02-30T12:00:00Z", id="date that does not exist"),
        pytest.param("deadline", "2024-05-01T12:00:00Z\n", id="newline after a date"),
        pytest.param("retriesLeft", True, id="true for a number"),
        pytest.param("state", None, id="null"),
        pytest.param("surprise", 1, id="unknown member"),
    ],
)
def test_a_violation_is_seen(member: str, value: object) -> None:
    assert Validator().errors("task-status", STATUS | {member: value})

"""In which order a call is checked: what a caller without scopes learns (``queue-behaviour.md`` 1.3)."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import pytest

from tests.api.asgi import Reply
from tests.api.running_queue import NOTHING, RunningQueue

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

UNKNOWN: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
JSON: Final = {"Content-Type": "application/json"}
WORKER: Final = {"workerGroup": "eu-central", "workerId": "worker-1"}
ARTIFACT: Final = {"storageType": "s3", "contentType": "text/plain", "expires": "2024-05-02T12:00:00Z"}


class Sample(NamedTuple):
    """How an endpoint is called; ``{}`` in the target stands for the id of a task and of its group."""

    method: str
    target: str
    body: Any = NOTHING


IMMEDIATE: Final = {
    "task": Sample("GET", "/task/{}"),
    "status": Sample("GET", "/task/{}/status"),
    "listTaskGroup": Sample("GET", "/task-group/{}/list"),
    "getTaskGroup": Sample("GET", "/task-group/{}"),
    "listDependentTasks": Sample("GET", "/task/{}/dependents"),
    "reclaimTask": Sample("POST", "/task/{}/runs/0/reclaim"),
    "reportCompleted": Sample("POST", "/task/{}/runs/0/completed"),
    "reportFailed": Sample("POST", "/task/{}/runs/0/failed"),
    "reportException": Sample("POST", "/task/{}/runs/0/exception", {"reason": "worker-shutdown"}),
    "createArtifact": Sample("POST", "/task/{}/runs/0/artifacts/public/log", ARTIFACT),
    "finishArtifact": Sample("PUT", "/task/{}/runs/0/artifacts/public/log", {"uploadId": UNKNOWN}),
    "listArtifacts": Sample("GET", "/task/{}/runs/0/artifacts"),
    "listLatestArtifacts": Sample("GET", "/task/{}/artifacts"),
    "artifactInfo": Sample("GET", "/task/{}/runs/0/artifact-info/public/log"),
    "latestArtifactInfo": Sample("GET", "/task/{}/artifact-info/public/log"),
}
AFTER_THE_404: Final = {
    "scheduleTask": Sample("POST", "/task/{}/schedule"),
    "rerunTask": Sample("POST", "/task/{}/rerun"),
    "cancelTask": Sample("POST", "/task/{}/cancel"),
    "changeTaskPriority": Sample("POST", "/task/{}/priority", {"newPriority": "high"}),
    "claimTask": Sample("POST", "/task/{}/runs/0/claim", WORKER),
    "latestArtifact": Sample("GET", "/task/{}/artifact-content/public/log"),
    "changeTaskGroupPriority": Sample("POST", "/task-group/{}/priority", {"newPriority": "high"}),
    "sealTaskGroup": Sample("POST", "/task-group/{}/seal"),
}
AFTER_THE_409: Final = {"cancelTaskGroup": Sample("POST", "/task-group/{}/cancel")}
BEFORE_ANY_LOOK: Final = {
    "tasks": Sample("POST", "/tasks", {"taskIds": [UNKNOWN]}),
    "statuses": Sample("POST", "/tasks/status", {"taskIds": [UNKNOWN]}),
    "claimWork": Sample("POST", "/claim-work/prov/type", WORKER),
    "getArtifact": Sample("GET", "/task/{}/runs/0/artifacts/public/log"),
    "getLatestArtifact": Sample("GET", "/task/{}/artifacts/public/log"),
    "artifact": Sample("GET", "/task/{}/runs/0/artifact-content/public/log"),
}
CREATE: Final = Sample("PUT", "/task/{}")
IN_HANDLER: Final = {**AFTER_THE_404, **AFTER_THE_409, **BEFORE_ANY_LOOK, "createTask": CREATE}
EVERY: Final = {**IMMEDIATE, **IN_HANDLER}


def each(samples: dict[str, Sample]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sample", samples.values(), ids=samples)


def with_parameter(samples: dict[str, Sample]) -> dict[str, Sample]:
    return {name: sample for name, sample in samples.items() if "{}" in sample.target}


def with_body(samples: dict[str, Sample]) -> dict[str, Sample]:
    return {
        name: sample for name, sample in samples.items() if sample.body is not NOTHING or sample is CREATE
    }


async def call(queue: RunningQueue, sample: Sample, task_id: str, query: str = "") -> Reply:
    body = queue.definition() if sample is CREATE else sample.body
    return await queue.call(sample.method, sample.target.format(task_id) + query, body)


async def send(queue: RunningQueue, sample: Sample, pieces: Iterable[bytes], **headers: str) -> Reply:
    target = sample.target.format(UNKNOWN)
    return await queue.send(
        sample.method,
        target,
        pieces,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


@pytest.fixture(autouse=True)
def denied(queue: RunningQueue) -> None:
    """The caller lacks every scope, unless a test allows it."""
    queue.permit.deny()


# ---- 1. the body is parsed ----------------------------------------------------------------------------


@each(EVERY)
async def test_a_broken_body_is_refused_before_the_caller_is_looked_at(
    queue: RunningQueue, sample: Sample
) -> None:
    reply = await send(queue, sample, [b'{"broken": '], Content_Type="application/json")
    assert (reply.status, reply.code) == (400, "MalformedPayload")
    assert queue.permit.asked == []


@each(EVERY)
async def test_a_body_that_is_too_large_is_refused_before_the_caller_is_looked_at(
    queue: RunningQueue, sample: Sample
) -> None:
    reply = await send(queue, sample, [b"{"], Content_Type="application/json", Content_Length="10485761")
    assert (reply.status, reply.code) == (413, "InputTooLarge")
    assert queue.permit.asked == []


# ---- 2. immediate authorization -----------------------------------------------------------------------


@each(IMMEDIATE)
async def test_immediate_authorization_comes_before_the_404(queue: RunningQueue, sample: Sample) -> None:
    assert (await call(queue, sample, UNKNOWN)).code == "InsufficientScopes"


@each(IMMEDIATE)
async def test_immediate_authorization_comes_before_the_form_of_parameters(
    queue: RunningQueue, sample: Sample
) -> None:
    assert (await call(queue, sample, "ill-formed")).code == "InsufficientScopes"


@each(IMMEDIATE)
async def test_immediate_authorization_comes_before_the_query(queue: RunningQueue, sample: Sample) -> None:
    assert (await call(queue, sample, UNKNOWN, "?surprise=1")).code == "InsufficientScopes"


@each(with_body(IMMEDIATE))
async def test_immediate_authorization_comes_before_the_schema(queue: RunningQueue, sample: Sample) -> None:
    assert (await call(queue, sample._replace(body={}), UNKNOWN)).code == "InsufficientScopes"
    assert (await call(queue, sample._replace(body=NOTHING), UNKNOWN)).code == "InsufficientScopes"


# ---- 3. parameters, then the query --------------------------------------------------------------------


@each(with_parameter(IN_HANDLER))
async def test_parameters_are_checked_before_authorization_in_the_handler(
    queue: RunningQueue, sample: Sample
) -> None:
    assert (await call(queue, sample, "ill-formed")).code == "InvalidRequestArguments"


@each(IN_HANDLER)
async def test_the_query_is_checked_before_authorization_in_the_handler(
    queue: RunningQueue, sample: Sample
) -> None:
    assert (await call(queue, sample, UNKNOWN, "?surprise=1")).code == "InvalidRequestArguments"


@each(with_parameter(EVERY))
async def test_parameters_are_checked_before_the_query(queue: RunningQueue, sample: Sample) -> None:
    queue.permit.allow()
    reply = await call(queue, sample, "ill-formed", "?surprise=1")
    assert reply.code == "InvalidRequestArguments"
    assert "`ill-formed`" in reply.message
    assert "surprise" not in reply.message


# ---- 4. content type, then the schema -----------------------------------------------------------------


@each(with_body(EVERY))
async def test_the_query_is_checked_before_the_content_type(queue: RunningQueue, sample: Sample) -> None:
    queue.permit.allow()
    reply = await queue.send(sample.method, sample.target.format(UNKNOWN) + "?surprise=1", [b"{}"])
    assert reply.code == "InvalidRequestArguments"


@each(with_body(EVERY))
async def test_a_body_that_is_not_called_json_is_a_malformed_payload(
    queue: RunningQueue, sample: Sample
) -> None:
    queue.permit.allow()
    assert (await send(queue, sample, [b"{"])).code == "MalformedPayload"
    for content_type in (
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "text/json",
    ):
        reply = await send(queue, sample, [b"{"], Content_Type=content_type)
        assert (reply.status, reply.code) == (400, "MalformedPayload"), content_type


@each(with_body(IN_HANDLER))
async def test_a_missing_body_is_a_malformed_payload_before_authorization_in_the_handler(
    queue: RunningQueue, sample: Sample
) -> None:
    reply = await send(queue, sample, [])
    assert (reply.status, reply.code) == (400, "MalformedPayload")


@each(with_body(IN_HANDLER))
async def test_the_schema_is_checked_before_authorization_in_the_handler(
    queue: RunningQueue, sample: Sample
) -> None:
    reply = await send(queue, sample, [b'{"surprise": 1}'], Content_Type="application/json")
    assert (reply.status, reply.code) == (400, "InputValidationError")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;charset=UTF-8",
        "application/json ",
    ],
)
async def test_parameters_of_the_content_type_are_allowed(queue: RunningQueue, content_type: str) -> None:
    queue.permit.allow()
    reply = await send(queue, BEFORE_ANY_LOOK["tasks"], [b"{}"], Content_Type=content_type)
    assert reply.status == 200


@pytest.mark.parametrize(
    "sample",
    [sample for sample in EVERY.values() if sample.body is NOTHING and sample is not CREATE],
    ids=lambda sample: sample.target,
)
async def test_an_endpoint_without_input_ignores_the_body(queue: RunningQueue, sample: Sample) -> None:
    queue.permit.allow()
    plain = await send(queue, sample, [b"{"], Content_Type="text/plain")
    listed = await send(queue, sample, [b"[1]"], Content_Type="application/json")
    assert plain.code == listed.code == "ResourceNotFound"


# ---- 5. the handler -----------------------------------------------------------------------------------


@each(BEFORE_ANY_LOOK)
async def test_authorization_in_the_handler_before_any_look(queue: RunningQueue, sample: Sample) -> None:
    assert (await call(queue, sample, UNKNOWN)).code == "InsufficientScopes"


async def test_authorization_of_lists_comes_before_the_form_of_the_token(queue: RunningQueue) -> None:
    for name in ("tasks", "statuses"):
        reply = await call(queue, BEFORE_ANY_LOOK[name], UNKNOWN, "?continuationToken=!")
        assert reply.code == "InsufficientScopes"


@each({**AFTER_THE_404, **AFTER_THE_409})
async def test_the_404_comes_before_authorization(queue: RunningQueue, sample: Sample) -> None:
    assert (await call(queue, sample, UNKNOWN)).code == "ResourceNotFound"
    assert queue.permit.asked == []


@each(AFTER_THE_404)
async def test_authorization_comes_after_the_404(queue: RunningQueue, sample: Sample) -> None:
    queue.permit.allow()
    task_id = await queue.create()
    before = await queue.stored(), await queue.status(task_id)
    queue.permit.deny()
    assert (await call(queue, sample, task_id)).code == "InsufficientScopes"
    queue.permit.allow()
    assert (await queue.stored(), await queue.status(task_id)) == before


@pytest.mark.parametrize(
    "name", ["scheduleTask", "rerunTask", "cancelTask", "changeTaskPriority", "claimTask"]
)
async def test_authorization_comes_before_the_409_of_the_deadline(queue: RunningQueue, name: str) -> None:
    queue.permit.allow()
    task_id = await queue.create()
    queue.clock.advance(hours=3)
    assert (await call(queue, AFTER_THE_404[name], task_id)).code == "RequestConflict"
    queue.permit.deny()
    assert (await call(queue, AFTER_THE_404[name], task_id)).code == "InsufficientScopes"


async def test_authorization_of_claim_task_comes_before_the_404_of_the_run(queue: RunningQueue) -> None:
    queue.permit.allow()
    task_id = await queue.create()
    queue.permit.deny()
    reply = await queue.call("POST", f"/task/{task_id}/runs/7/claim", WORKER)
    assert reply.code == "InsufficientScopes"


async def test_authorization_of_cancel_task_group_comes_after_the_409(queue: RunningQueue) -> None:
    queue.permit.allow()
    group_id = await queue.create()
    queue.permit.asked.clear()
    queue.permit.deny()
    assert (await call(queue, AFTER_THE_409["cancelTaskGroup"], group_id)).code == "RequestConflict"
    assert queue.permit.asked == []
    queue.permit.allow()
    await queue.post(f"/task-group/{group_id}/seal")
    queue.permit.deny()
    assert (await call(queue, AFTER_THE_409["cancelTaskGroup"], group_id)).code == "InsufficientScopes"
    queue.permit.allow()
    assert (await queue.status(group_id))["state"] == "pending"


@pytest.mark.parametrize(
    "members",
    [
        {"taskQueueId": "other/queue"},
        {"workerType": None},
        {"dependencies": ["fN1SbArXTPSVFNUvaOlinQ"] * 10_001},
    ],
    ids=["queue ids disagree", "half a pair", "too many dependencies"],
)
async def test_create_task_is_authorized_after_the_task_queue(
    queue: RunningQueue, members: dict[str, Any]
) -> None:
    reply = await queue.call("PUT", f"/task/{UNKNOWN}", queue.definition(**members))
    assert reply.status == 400
    assert queue.permit.asked == []


@pytest.mark.parametrize(
    "members",
    [
        {"created": "2020-01-01T00:00:00Z"},
        {"deadline": "2030-01-01T00:00:00Z"},
        {"scopes": ["a**"]},
        {"dependencies": ["fN1SbArXTPSVFNUvaOlinQ"]},
    ],
    ids=["created", "deadline", "scopes", "dependencies"],
)
async def test_create_task_is_authorized_before_times_scopes_and_dependencies(
    queue: RunningQueue, members: dict[str, Any]
) -> None:
    reply = await queue.call("PUT", f"/task/{UNKNOWN}", queue.definition(**members))
    assert reply.code == "InsufficientScopes"


async def test_create_task_is_authorized_before_the_409s(queue: RunningQueue) -> None:
    queue.permit.allow()
    task_id = await queue.create()
    await queue.post(f"/task-group/{task_id}/seal")
    queue.permit.deny()
    reply = await queue.call("PUT", f"/task/{task_id}", queue.definition(schedulerId="other"))
    assert reply.code == "InsufficientScopes"


@each(EVERY)
async def test_a_refused_caller_leaves_nothing_behind(queue: RunningQueue, sample: Sample) -> None:
    assert (await call(queue, sample, UNKNOWN)).status in (403, 404)
    assert set((await queue.stored()).values()) == {0}


# ---- endpoints that never look at credentials ---------------------------------------------------------


@pytest.mark.parametrize("target", ["/ping", "/__heartbeat__", "/__lbheartbeat__", "/__version__"])
async def test_an_endpoint_without_scopes_never_looks_at_credentials(
    queue: RunningQueue, target: str
) -> None:
    queue.permit.distrust()
    reply = await queue.call("GET", target, headers={"Authorization": "Hawk nonsense"})
    assert reply.status == 200
    assert queue.permit.asked == []


@each({**IMMEDIATE, **BEFORE_ANY_LOOK})
async def test_invalid_credentials_are_401(queue: RunningQueue, sample: Sample) -> None:
    queue.permit.distrust()
    assert (await call(queue, sample, UNKNOWN)).code == "AuthenticationFailed"

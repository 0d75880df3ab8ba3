"""Which URLs exist and how they are read (``queue-behaviour.md`` 1.1)."""

import json
from typing import Final

import pytest

from tests.api.asgi import request
from tests.api.contract import BASE
from tests.api.running_queue import RunningQueue

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
WORKER: Final = {"workerGroup": "eu-central", "workerId": "worker-1"}
QUEUE: Final = "taskbus-ci/b-linux-medium"


# ---- parameters in the path ---------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", [QUEUE, QUEUE.replace("/", "%2F"), QUEUE.replace("/", "%2f")])
async def test_a_parameter_of_several_segments_is_read_encoded_and_plain(
    queue: RunningQueue, spelled: str
) -> None:
    task_id = await queue.create()
    reply = await queue.call("POST", f"/claim-work/{spelled}", WORKER)
    assert [claim["status"]["taskId"] for claim in reply.json()["tasks"]] == [task_id]


async def test_every_character_of_a_parameter_may_be_encoded(queue: RunningQueue) -> None:
    task_id = await queue.create()
    encoded = "".join(f"%{ord(character):02X}" for character in task_id)
    assert (await queue.get(f"/task/{encoded}/status"))["status"]["taskId"] == task_id


async def test_any_other_parameter_is_one_segment(queue: RunningQueue) -> None:
    half, rest = TASK_ID[:11], TASK_ID[11:]
    assert (await queue.call("GET", f"/task/{half}/{rest}/status")).status == 404
    encoded = await queue.call("GET", f"/task/{half}%2F{rest}/status")
    assert (encoded.status, encoded.code) == (400, "InvalidRequestArguments")
    assert encoded.json()["requestInfo"]["params"] == {"taskId": f"{half}/{rest}"}


async def test_a_parameter_is_decoded_once(queue: RunningQueue) -> None:
    reply = await queue.call("GET", "/task/%252Fx/status")
    assert reply.json()["requestInfo"]["params"] == {"taskId": "%2Fx"}


@pytest.mark.parametrize(
    "target",
    [
        "/task/%/status",
        "/task/%z0/status",
        "/task/abc%2/status",
        "/task/%FF/status",
        "/task/%C3%28/status",
        "/claim-work/prov%2",
        "/claim-work/prov/%G0",
    ],
)
async def test_broken_percent_encoding_is_400(queue: RunningQueue, target: str) -> None:
    assert (await queue.call("GET" if "task/" in target else "POST", target)).status == 400


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/task/{}/status"),
        ("GET", "/task/{}"),
        ("GET", "/task/{}/dependents"),
        ("GET", "/task-group/{}"),
        ("POST", "/task/{}/runs/0/reclaim"),
    ],
)
async def test_an_ill_formed_id_is_invalid_arguments(queue: RunningQueue, method: str, target: str) -> None:
    for task_id in (
        "short",
        "fN1SbArXTPSVFNUvaOlinQ%0A",
        "fN1SbArXTPSVFNUvaOlinQx",
        "fN1SbArXAPSVFNUvaOlinQ",
        "fN1SbArXTPSVFNUvaOlin%C3%A9",
        "%20fN1SbArXTPSVFNUvaOlin",
    ):
        reply = await queue.call(method, target.format(task_id))
        assert (reply.status, reply.code) == (400, "InvalidRequestArguments"), task_id
        assert "`taskId`" in reply.message or "`taskGroupId`" in reply.message


@pytest.mark.parametrize("run_id", ["-1", "1.0", "0x0", "٣", "1e0", "%201", "a"])
async def test_a_run_id_is_decimal_digits(queue: RunningQueue, run_id: str) -> None:
    reply = await queue.call("POST", f"/task/{TASK_ID}/runs/{run_id.encode().decode('latin-1')}/completed")
    assert (reply.status, reply.code) == (400, "InvalidRequestArguments")


async def test_a_run_id_is_read_base_10(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    assert (await queue.call("POST", f"/task/{task_id}/runs/010/completed")).status == 404
    assert (await queue.call("POST", f"/task/{task_id}/runs/00/completed")).status == 200


async def test_a_run_id_of_any_length_is_a_number(queue: RunningQueue) -> None:
    task_id = await queue.create()
    assert (await queue.call("POST", f"/task/{task_id}/runs/{'9' * 500}/completed")).status == 404


@pytest.mark.parametrize(
    "spelled",
    ["Prov/UPPER", "prov/1type", "prov/type-", "prov", "prov/type/more", "prov/", "/type", "prov%2Ftype%0A"],
)
async def test_a_task_queue_in_the_path_has_the_strict_form(queue: RunningQueue, spelled: str) -> None:
    reply = await queue.call("POST", f"/claim-work/{spelled}", WORKER)
    assert (reply.status, reply.code) == (400, "InvalidRequestArguments")


# ---- routes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/no-such-route"),
        ("GET", ""),
        ("GET", "/"),
        ("GET", "/task"),
        ("GET", f"/task/{TASK_ID}/Status"),
        ("GET", "/PING"),
        ("GET", "/ping//"),
        ("GET", "//ping"),
        ("GET", "/ping/more"),
        ("GET", "/claim-work"),
        ("DELETE", "/ping"),
        ("POST", "/ping"),
        ("PATCH", f"/task/{TASK_ID}"),
        ("PUT", f"/task/{TASK_ID}/status"),
        ("GET", f"/task/{TASK_ID}/cancel"),
        ("BREW", "/ping"),
    ],
)
async def test_an_unknown_route_or_method_is_the_short_404(
    queue: RunningQueue, method: str, target: str
) -> None:
    reply = await queue.call(method, target)
    assert (reply.status, reply.json()) == (404, {"error": "Not found"})
    assert str(reply.header("content-type")).startswith("application/json")


@pytest.mark.parametrize("target", ["/", "/api", "/api/queue", "/api/queue/v2/ping", "/API/queue/v1/ping"])
async def test_a_path_outside_the_api_is_the_short_404(queue: RunningQueue, target: str) -> None:
    reply = await request(queue.application, "GET", target)
    assert (reply.status, reply.json()) == (404, {"error": "Not found"})


async def test_a_path_outside_the_api_does_not_build_the_documentation(queue: RunningQueue) -> None:
    for target in ("/", "/favicon.ico", "/api/queue/v1", "/ping"):
        assert (await request(queue.application, "GET", target)).status == 404
    assert "_pages" not in vars(queue.application)
    assert (await request(queue.application, "GET", "/docs")).status == 200
    assert (await request(queue.application, "GET", "/docs/no-such-page")).json() == {"error": "Not found"}


async def test_one_trailing_slash_makes_no_difference(queue: RunningQueue) -> None:
    task_id = await queue.create()
    assert (await queue.get("/ping/"))["alive"] is True
    assert (await queue.get(f"/task/{task_id}/")) == (await queue.get(f"/task/{task_id}"))
    assert (await queue.call("POST", f"/claim-work/{QUEUE}/", WORKER)).json()["tasks"]


# ---- the query string ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("surprise=1", "surprise"),
        ("Limit=1", "Limit"),
        ("limit[]=1", "limit[]"),
        ("limit=1&limit=1", "limit"),
        ("limit=", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.0", "limit"),
        ("limit=ten", "limit"),
        ("limit=1%0A", "limit"),
        ("limit=%D9%A3", "limit"),
        ("continuationToken=", "continuationToken"),
        ("quarantined=true", "quarantined"),
    ],
)
async def test_a_wrong_query_is_invalid_arguments(queue: RunningQueue, query: str, named: str) -> None:
    reply = await queue.call("GET", f"/task-group/{TASK_ID}/list?{query}")
    assert (reply.status, reply.code) == (400, "InvalidRequestArguments")
    assert f"`{named}`" in reply.message


async def test_every_wrong_query_key_is_named(queue: RunningQueue) -> None:
    reply = await queue.call("GET", f"/task-group/{TASK_ID}/list?one=1&two=2&limit=x")
    assert all(f"`{name}`" in reply.message for name in ("one", "two", "limit"))


@pytest.mark.parametrize("target", ["/ping?a=1", "/__version__?limit=1"])
async def test_an_endpoint_without_query_takes_none(queue: RunningQueue, target: str) -> None:
    assert (await queue.call("GET", target)).code == "InvalidRequestArguments"


@pytest.mark.parametrize("query", ["bewit=abc", "bewit=", "bewit=a&bewit=b", "limit=1&bewit=%FF"])
async def test_a_bewit_is_always_tolerated(queue: RunningQueue, query: str) -> None:
    task_id = await queue.create()
    assert (await queue.call("GET", f"/task-group/{task_id}/list?{query}")).status == 200


async def test_an_empty_query_is_none(queue: RunningQueue) -> None:
    assert (await queue.call("GET", "/ping?")).status == 200


# ---- HEAD and OPTIONS ---------------------------------------------------------------------------------


async def test_head_answers_as_get_without_a_body(queue: RunningQueue) -> None:
    task_id = await queue.create()
    head, got = (
        await queue.call("HEAD", f"/task/{task_id}/status"),
        await queue.call("GET", f"/task/{task_id}/status"),
    )
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == got.header("content-length") == str(len(got.body))


async def test_head_of_what_is_missing_has_the_status_of_get(queue: RunningQueue) -> None:
    for target in (f"/task/{TASK_ID}", "/no-such-route", "/task/short"):
        head, got = await queue.call("HEAD", target), await queue.call("GET", target)
        assert (head.status, head.body) == (got.status, b"")


@pytest.mark.parametrize(
    ("target", "methods"),
    [
        ("/ping", {"GET", "HEAD", "OPTIONS"}),
        (f"/task/{TASK_ID}", {"DELETE", "GET", "HEAD", "OPTIONS", "PUT"}),
        ("/task/ill-formed/cancel", {"OPTIONS", "POST"}),
        (f"/claim-work/{QUEUE}", {"OPTIONS", "POST"}),
    ],
)
async def test_options_lists_the_methods_of_a_path(
    queue: RunningQueue, target: str, methods: set[str]
) -> None:
    queue.permit.deny()
    reply = await queue.call("OPTIONS", target, headers={"Origin": "https://example.com"})
    assert reply.status == 200
    assert {method.strip() for method in str(reply.header("allow")).split(",")} == methods
    assert reply.header("access-control-allow-origin") == "*"
    assert reply.header("access-control-allow-headers") is not None


async def test_options_of_an_unknown_path_is_404(queue: RunningQueue) -> None:
    assert (await queue.call("OPTIONS", "/no-such-route")).status == 404


# ---- endpoints that every service has -----------------------------------------------------------------


async def test_ping_tells_that_the_service_lives(queue: RunningQueue) -> None:
    body = await queue.get("/ping")
    assert set(body) == {"alive", "uptime"}
    assert body["alive"] is True
    assert body["uptime"] >= 0


@pytest.mark.parametrize("place", [BASE, ""])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_service_endpoints_are_below_the_base_path_and_at_the_root(
    queue: RunningQueue, place: str, slash: str
) -> None:
    for name in ("__heartbeat__", "__lbheartbeat__"):
        reply = await request(queue.application, "GET", f"{place}/{name}{slash}")
        assert (reply.status, reply.json()) == (200, {})
    reply = await request(queue.application, "GET", f"{place}/__version__{slash}")
    assert set(reply.json()) == {"version", "commit", "source", "build"}
    assert reply.json()["version"] == "1.2.3"


async def test_ping_is_not_at_the_root(queue: RunningQueue) -> None:
    assert (await request(queue.application, "GET", "/ping")).status == 404


async def test_the_api_is_described_at_openapi_json(queue: RunningQueue) -> None:
    document = json.loads((await request(queue.application, "GET", "/openapi.json")).body)
    operations = {
        operation["operationId"]: path
        for path, methods in document["paths"].items()
        for operation in methods.values()
    }
    assert operations["queue.claimWork"] == f"{BASE}/claim-work/{{taskQueueId}}"


@pytest.mark.timeout(10)
async def test_a_parameter_of_any_length_is_judged_at_once(queue: RunningQueue) -> None:
    before = queue.loop_time()
    reply = await queue.call("POST", f"/task/{TASK_ID}/runs/{'1' * 16_000}x/completed")
    assert reply.code == "InvalidRequestArguments"
    assert queue.loop_time() - before < 0.5

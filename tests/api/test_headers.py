"""What every reply carries beside its body (``queue-behaviour.md`` 1.2)."""

import re
from typing import Final

import pytest

from tests.api.asgi import Reply
from tests.api.running_queue import RunningQueue

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

TASK_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
FIXED: Final = {
    "access-control-allow-origin": "*",
    "access-control-max-age": "900",
    "access-control-allow-methods": "OPTIONS,GET,HEAD,POST,PUT,DELETE,TRACE,CONNECT",
    "access-control-request-method": "*",
    "access-control-allow-headers": "X-Requested-With,Content-Type,Authorization,Accept,Origin,Cache-Control",
    "cache-control": "no-store no-cache must-revalidate",
    "x-content-type-options": "nosniff",
}
UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/ping"),
        ("HEAD", "/ping"),
        ("OPTIONS", "/ping"),
        ("GET", f"/task/{TASK_ID}"),
        ("GET", "/task/ill-formed"),
        ("GET", "/task/%zz"),
        ("GET", "/no-such-route"),
        ("PUT", f"/task/{TASK_ID}"),
    ],
)
async def test_every_reply_has_the_fixed_headers(queue: RunningQueue, method: str, target: str) -> None:
    reply = await queue.call(method, target)
    assert {name: reply.header(name) for name in FIXED} == FIXED
    assert UUID.fullmatch(str(reply.header("x-for-request-id")))


async def test_replies_of_the_long_path_have_them_too(queue: RunningQueue) -> None:
    queue.permit.deny()
    reply = await queue.call("GET", f"/task/{TASK_ID}")
    assert reply.status == 403
    assert {name: reply.header(name) for name in FIXED} == FIXED


def is_json(reply: Reply) -> bool:
    return str(reply.header("content-type")).split(";")[0] == "application/json"


async def test_bodies_are_json_of_the_told_length(queue: RunningQueue) -> None:
    for target in ("/ping", f"/task/{TASK_ID}", "/no-such-route"):
        reply = await queue.call("GET", target)
        assert is_json(reply)
        assert reply.header("content-length") == str(len(reply.body))


async def test_a_trace_id_is_echoed(queue: RunningQueue) -> None:
    reply = await queue.call("GET", "/ping", headers={"X-Taskcluster-Trace-Id": "of-the-caller"})
    assert reply.header("x-for-trace-id") == "of-the-caller"


async def test_a_call_without_trace_id_gets_a_fresh_one(queue: RunningQueue) -> None:
    first, other = [await queue.call("GET", "/ping") for _ in range(2)]
    traces = {first.header("x-for-trace-id"), other.header("x-for-trace-id")}
    requests = {first.header("x-for-request-id"), other.header("x-for-request-id")}
    assert len(traces | requests) == 4
    assert all(UUID.fullmatch(str(made)) for made in traces | requests)

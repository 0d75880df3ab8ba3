"""Requests to purge caches: made, told to the workers of their pool, renewed, forgotten."""

from typing import Any, Final

import pytest

from queue_service.api.apis import PURGE_CACHE
from schemas.times import format_time
from tests.api.neighbour import Neighbour
from tests.api.running_queue import NOTHING, RunningQueue

POOL: Final = "taskbus-ci/b-linux-medium"
ENCODED: Final = POOL.replace("/", "%2F")
OTHER: Final = "taskbus-ci%2Ft-linux-large"


@pytest.fixture
def caches(queue: RunningQueue) -> Neighbour:
    return Neighbour(queue, PURGE_CACHE)


async def purge(caches: Neighbour, name: str, pool: str = ENCODED) -> None:
    reply = await caches.call("POST", f"/purge-cache/{pool}", {"cacheName": name})
    assert (reply.status, reply.body) == (204, b"")


async def names(caches: Neighbour, target: str = f"/purge-cache/{ENCODED}") -> list[str]:
    return [request["cacheName"] for request in (await caches.get(target))["requests"]]


async def test_a_pool_without_requests_is_told_none(caches: Neighbour) -> None:
    assert await caches.get(f"/purge-cache/{ENCODED}") == {"requests": []}
    assert await caches.get("/purge-cache/list") == {"requests": []}


async def test_a_request_is_told_to_its_pool(queue: RunningQueue, caches: Neighbour) -> None:
    await purge(caches, "level-3-checkouts")
    await purge(caches, "pip", OTHER)
    assert await caches.get(f"/purge-cache/{ENCODED}") == {
        "requests": [
            {
                "workerPoolId": POOL,
                "cacheName": "level-3-checkouts",
                "before": format_time(queue.clock.now()),
            }
        ]
    }


async def test_a_repeat_renews_the_request(queue: RunningQueue, caches: Neighbour) -> None:
    await purge(caches, "pip")
    queue.clock.advance(hours=20)
    await purge(caches, "pip")
    queue.clock.advance(hours=20)
    (request,) = (await caches.get(f"/purge-cache/{ENCODED}"))["requests"]
    assert request["before"] == "2024-05-02T08:00:00.000Z"


async def test_a_worker_asks_for_what_it_has_not_seen(queue: RunningQueue, caches: Neighbour) -> None:
    await purge(caches, "old")
    seen = format_time(queue.clock.now())
    queue.clock.advance(seconds=1)
    await purge(caches, "new")
    assert await names(caches, f"/purge-cache/{ENCODED}?since={seen}") == ["new"]
    assert await names(caches) == ["new", "old"]


@pytest.mark.parametrize("since", ["yesterday", "2024-05-01", "2024-13-01T00:00:00Z", ""])
async def test_a_since_that_is_no_time_is_invalid_arguments(caches: Neighbour, since: str) -> None:
    reply = await caches.call("GET", f"/purge-cache/{ENCODED}?since={since}")
    assert (reply.status, reply.code) == (400, "InvalidRequestArguments")


async def test_a_request_ends_after_a_day_and_is_deleted(queue: RunningQueue, caches: Neighbour) -> None:
    await purge(caches, "pip")
    queue.clock.advance(days=1)
    assert await names(caches) == []
    assert await names(caches, "/purge-cache/list") == []
    queue.clock.advance(hours=1)
    await queue.sweep()
    await purge(caches, "pip")
    assert await names(caches) == ["pip"]


async def test_all_requests_come_in_pages(caches: Neighbour) -> None:
    wanted = ["a/b", "a", "c~ d"]
    for name in wanted:
        await purge(caches, name)
    await purge(caches, "x", OTHER)
    found, token = list[str](), ""
    while True:
        page = await caches.get(f"/purge-cache/list?limit=1{token}")
        found += [request["cacheName"] for request in page["requests"]]
        if "continuationToken" not in page:
            break
        token = f"&continuationToken={page['continuationToken']}"
    assert found == [*sorted(wanted), "x"]


@pytest.mark.parametrize("name", ["", "a" * 256, "ä", "a\n", "\x00", None, 5])
async def test_a_name_that_no_cache_has_is_refused(caches: Neighbour, name: Any) -> None:
    reply = await caches.call("POST", f"/purge-cache/{ENCODED}", {"cacheName": name})
    assert (reply.status, reply.code) == (400, "InputValidationError")
    assert await names(caches) == []


@pytest.mark.parametrize(
    ("method", "target", "scopes"),
    [
        ("POST", f"/purge-cache/{ENCODED}", f"purge-cache:{POOL}:pip"),
        ("GET", f"/purge-cache/{ENCODED}", f"purge-cache:purge-requests:{POOL}"),
        ("GET", "/purge-cache/list", "purge-cache:all-purge-requests"),
    ],
)
async def test_a_call_needs_its_scope(
    queue: RunningQueue, caches: Neighbour, method: str, target: str, scopes: str
) -> None:
    queue.permit.deny()
    body: Any = {"cacheName": "pip"} if method == "POST" else NOTHING
    reply = await caches.call(method, target, body)
    assert (reply.status, reply.code) == (403, "InsufficientScopes")
    assert queue.permit.asked == [scopes]
    queue.permit.allow()
    assert await names(caches) == []

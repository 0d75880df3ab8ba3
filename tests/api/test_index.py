"""The index: inserting, finding, listing, and the tasks that are indexed because they completed."""

from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import select

from queue_service.api.apis import INDEX
from queue_service.store.tables import index_namespaces, indexed_tasks
from schemas.ids import slugid
from schemas.times import format_time
from tests.api.neighbour import Neighbour
from tests.api.running_queue import NOTHING, RunningQueue

PATH: Final = "taskbus.v2.main.latest.linux-opt"
NAME: Final = "public/build/taskbus.whl"


@pytest.fixture
def index(queue: RunningQueue) -> Neighbour:
    return Neighbour(queue, INDEX)


def entry(queue: RunningQueue, task_id: str = "", *, days: int = 1, **members: Any) -> dict[str, Any]:
    expires = format_time(queue.clock.now() + timedelta(days=days))
    return {"taskId": task_id or slugid(), "rank": 0, "data": {}, "expires": expires, **members}


async def insert(index: Neighbour, queue: RunningQueue, *paths: str, **members: Any) -> None:
    for path in paths:
        await index.put(f"/task/{path}", entry(queue, **members))


def wishes(**members: Any) -> dict[str, Any]:
    return {"extra": {"index": members}}


# ---- inserting and finding ----------------------------------------------------------------------------


async def test_an_inserted_task_is_found(queue: RunningQueue, index: Neighbour) -> None:
    body = entry(queue, rank=7, data={"revision": "4f2a", "parents": [None]})
    inserted = await index.put(f"/task/{PATH}", body)
    assert inserted == {"namespace": PATH, **body}
    assert await index.get(f"/task/{PATH}") == inserted


@pytest.mark.parametrize("rank", [0, 5, -3, 0.5, 1714564800000, 2**53, 1e300])
async def test_a_rank_comes_back_as_it_went_in(queue: RunningQueue, index: Neighbour, rank: float) -> None:
    await insert(index, queue, PATH, rank=rank)
    found = (await index.get(f"/task/{PATH}"))["rank"]
    assert found == rank
    assert isinstance(found, int) == (isinstance(rank, int))


@pytest.mark.parametrize(("first", "second", "replaced"), [(5, 5, True), (5, 6, True), (5, 4, False)])
async def test_a_task_is_replaced_by_one_of_equal_or_higher_rank(
    queue: RunningQueue, index: Neighbour, first: int, second: int, replaced: bool
) -> None:
    old, new = entry(queue, rank=first), entry(queue, rank=second)
    await index.put(f"/task/{PATH}", old)
    answer = await index.put(f"/task/{PATH}", new)
    assert answer["taskId"] == (new if replaced else old)["taskId"]
    assert await index.get(f"/task/{PATH}") == answer


async def test_an_expired_task_is_replaced_whatever_its_rank(queue: RunningQueue, index: Neighbour) -> None:
    await insert(index, queue, PATH, rank=9, days=1)
    queue.clock.advance(days=2)
    body = entry(queue, rank=1)
    assert (await index.put(f"/task/{PATH}", body))["taskId"] == body["taskId"]


async def test_an_entry_may_live_to_the_end_of_time(queue: RunningQueue, index: Neighbour) -> None:
    body = entry(queue, expires="9999-12-31T23:59:59.999Z")
    assert (await index.put(f"/task/{PATH}", body))["expires"] == body["expires"]
    (namespace,) = (await index.get("/namespaces/"))["namespaces"]
    assert namespace["expires"] == body["expires"]


async def test_there_is_nothing_at_an_unknown_path(index: Neighbour) -> None:
    reply = await index.call("GET", f"/task/{PATH}")
    assert (reply.status, reply.code) == (404, "ResourceNotFound")
    assert PATH in reply.message


async def test_a_namespace_is_no_task(queue: RunningQueue, index: Neighbour) -> None:
    await insert(index, queue, "a.b")
    assert (await index.call("GET", "/task/a")).status == 404


async def test_an_expired_task_is_not_found_before_it_is_deleted(
    queue: RunningQueue, index: Neighbour
) -> None:
    await insert(index, queue, PATH, days=1)
    queue.clock.advance(days=1)
    assert (await index.call("GET", f"/task/{PATH}")).status == 404
    assert (await index.post("/tasks/indexes", {"indexes": [PATH]}))["tasks"] == []
    assert (await index.get("/tasks/taskbus.v2.main.latest"))["tasks"] == []


@pytest.mark.parametrize("path", ["a..b", ".a", "a.", "a%2Fb", "a%20b", "%C3%A4", "a" * 256])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_an_ill_formed_path_is_invalid_arguments(
    queue: RunningQueue, index: Neighbour, method: str, path: str
) -> None:
    body = (entry(queue),) if method == "PUT" else ()
    reply = await index.call(method, f"/task/{path}", *body)
    assert (reply.status, reply.code) == (400, "InvalidRequestArguments")


@pytest.mark.parametrize(
    "members",
    [
        {"taskId": "short"}, {"rank": "5"}, {"rank": None}, {"rank": True}, {"data": []}, {"data": None},
        {"expires": "2024-05-01"}, {"surprise": 1},
    ],
)  # fmt: skip
async def test_a_body_of_another_shape_is_refused_and_nothing_is_stored(
    queue: RunningQueue, index: Neighbour, members: dict[str, Any]
) -> None:
    reply = await index.call("PUT", f"/task/{PATH}", {**entry(queue), **members})
    assert (reply.status, reply.code) == (400, "InputValidationError")
    assert (await index.call("GET", f"/task/{PATH}")).status == 404
    assert (await index.get("/namespaces/"))["namespaces"] == []


@pytest.mark.parametrize("missing", ["taskId", "rank", "data", "expires"])
async def test_every_member_of_an_entry_is_required(
    queue: RunningQueue, index: Neighbour, missing: str
) -> None:
    body = entry(queue)
    del body[missing]
    assert (await index.call("PUT", f"/task/{PATH}", body)).code == "InputValidationError"


async def test_a_deleted_task_is_gone_and_what_it_replaced_does_not_come_back(
    queue: RunningQueue, index: Neighbour
) -> None:
    await insert(index, queue, PATH, PATH)
    for _ in range(2):
        reply = await index.call("DELETE", f"/task/{PATH}")
        assert (reply.status, reply.body) == (204, b"")
        assert (await index.call("GET", f"/task/{PATH}")).status == 404


async def test_the_namespaces_above_a_deleted_task_stay(queue: RunningQueue, index: Neighbour) -> None:
    await insert(index, queue, "a.b")
    await index.call("DELETE", "/task/a.b")
    assert [found["namespace"] for found in (await index.get("/namespaces/"))["namespaces"]] == ["a"]


# ---- many paths at once -------------------------------------------------------------------------------


async def test_tasks_are_found_at_many_paths_and_others_are_left_out(
    queue: RunningQueue, index: Neighbour
) -> None:
    await insert(index, queue, "a.x", "a.y", "b", "c.d.e")
    asked = ["c.d.e", "b", "nothing", "not a path", "\x00", "a.x", "a.x"]
    found = await index.post("/tasks/indexes", {"indexes": asked})
    assert sorted(task["namespace"] for task in found["tasks"]) == ["a.x", "b", "c.d.e"]
    assert "continuationToken" not in found


async def test_tasks_at_many_paths_come_in_pages(queue: RunningQueue, index: Neighbour) -> None:
    paths = ["b", "a", "a.b", "a-b.c", "a.b.c", "a!.z"]
    await insert(index, queue, *paths)
    found, token = list[str](), ""
    while True:
        page = await index.post(f"/tasks/indexes?limit=2{token}", {"indexes": paths})
        found += [task["namespace"] for task in page["tasks"]]
        assert len(page["tasks"]) <= 2
        if "continuationToken" not in page:
            break
        token = f"&continuationToken={page['continuationToken']}"
    assert sorted(found) == sorted(paths)


async def test_no_paths_find_nothing(index: Neighbour) -> None:
    assert await index.post("/tasks/indexes", {"indexes": []}) == {"tasks": []}


async def test_too_many_paths_are_refused(index: Neighbour) -> None:
    reply = await index.call("POST", "/tasks/indexes", {"indexes": ["a"] * 10_001})
    assert (reply.status, reply.code) == (400, "InputValidationError")


# ---- listing ------------------------------------------------------------------------------------------


async def test_a_namespace_lists_what_is_directly_in_it(queue: RunningQueue, index: Neighbour) -> None:
    await insert(index, queue, "a.b.c", "a.b.d", "a.b.e.f", "a.g", "a-b.h", "ab.i")
    assert [task["namespace"] for task in (await index.get("/tasks/a.b"))["tasks"]] == ["a.b.c", "a.b.d"]
    namespaces = (await index.get("/namespaces/a"))["namespaces"]
    assert [(found["namespace"], found["name"]) for found in namespaces] == [("a.b", "b")]


@pytest.mark.parametrize("root", ["", "/"])
async def test_the_root_is_listed_without_a_namespace(
    queue: RunningQueue, index: Neighbour, root: str
) -> None:
    await insert(index, queue, "z", "a.b", "c.d")
    assert [task["namespace"] for task in (await index.get(f"/tasks{root}"))["tasks"]] == ["z"]
    names = [found["name"] for found in (await index.get(f"/namespaces{root}"))["namespaces"]]
    assert names == ["a", "c"]


async def test_lists_are_in_order_of_the_bytes_of_the_names(queue: RunningQueue, index: Neighbour) -> None:
    names = ["Z", "_", "a", "~", "!", "B-", "b"]
    await insert(index, queue, *[f"n.{name}" for name in names], *[f"n.{name}.x" for name in names])
    tasks = (await index.get("/tasks/n"))["tasks"]
    assert [task["namespace"] for task in tasks] == [f"n.{name}" for name in sorted(names)]
    namespaces = (await index.get("/namespaces/n"))["namespaces"]
    assert [found["name"] for found in namespaces] == sorted(names)


@pytest.mark.parametrize(("target", "member"), [("/tasks/n", "tasks"), ("/namespaces/n", "namespaces")])
async def test_lists_come_in_pages(queue: RunningQueue, index: Neighbour, target: str, member: str) -> None:
    await insert(index, queue, *[f"n.{number}" for number in range(5)])
    await insert(index, queue, *[f"n.{number}.x" for number in range(5)])
    sizes, found, token = list[int](), list[str](), ""
    while True:
        page = await index.get(f"{target}?limit=2{token}")
        sizes.append(len(page[member]))
        found += [item["namespace"] for item in page[member]]
        if "continuationToken" not in page:
            break
        token = f"&continuationToken={page['continuationToken']}"
    assert sizes == [2, 2, 1]
    assert found == [f"n.{number}" for number in range(5)]


async def test_an_unknown_namespace_is_empty(index: Neighbour) -> None:
    assert await index.get("/tasks/nothing.here") == {"tasks": []}
    assert await index.get("/namespaces/nothing.here") == {"namespaces": []}


async def test_a_namespace_called_like_a_call_is_listed(queue: RunningQueue, index: Neighbour) -> None:
    await insert(index, queue, "indexes.a")
    assert [task["namespace"] for task in (await index.get("/tasks/indexes"))["tasks"]] == ["indexes.a"]


async def test_a_namespace_lives_as_long_as_its_longest_lived_task_and_a_day_at_most(
    queue: RunningQueue, index: Neighbour
) -> None:
    await insert(index, queue, "a.x", days=10)
    await insert(index, queue, "a.y", days=30)
    await insert(index, queue, "a.z", days=20)
    (found,) = (await index.get("/namespaces/"))["namespaces"]
    last = queue.clock.now() + timedelta(days=30)
    assert format_time(last) <= found["expires"] <= format_time(last + timedelta(days=1))


async def test_a_namespace_is_listed_until_it_expires(queue: RunningQueue, index: Neighbour) -> None:
    await insert(index, queue, "a.b.c", days=1)
    queue.clock.advance(days=3)
    assert (await index.get("/namespaces/"))["namespaces"] == []
    assert (await index.get("/namespaces/a"))["namespaces"] == []


# ---- tasks that completed -----------------------------------------------------------------------------


async def test_a_task_is_indexed_when_it_completes(queue: RunningQueue, index: Neighbour) -> None:
    routes = [f"index.{PATH}", "checks"]
    task_id = await queue.claimed(routes=routes, **wishes(rank=3, data={"built": "linux"}))
    await queue.settle()
    assert (await index.call("GET", f"/task/{PATH}")).status == 404
    await queue.post(f"/task/{task_id}/runs/0/completed")
    await queue.settle()
    assert await index.get(f"/task/{PATH}") == {
        "namespace": PATH,
        "taskId": task_id,
        "rank": 3,
        "data": {"built": "linux"},
        "expires": (await queue.status(task_id))["expires"],
    }
    assert [item["name"] for item in (await index.get("/namespaces/taskbus.v2"))["namespaces"]] == ["main"]


@pytest.mark.parametrize("end", ["runs/0/failed", "cancel"])
async def test_a_task_that_does_not_complete_is_not_indexed(
    queue: RunningQueue, index: Neighbour, end: str
) -> None:
    task_id = await queue.claimed(routes=[f"index.{PATH}"])
    await queue.post(f"/task/{task_id}/{end}")
    await queue.settle()
    assert (await index.call("GET", f"/task/{PATH}")).status == 404


async def test_the_state_at_its_end_counts_whatever_a_rerun_makes_of_the_task(
    queue: RunningQueue, index: Neighbour
) -> None:
    task_id = await queue.completed(routes=[f"index.{PATH}"])
    await queue.post(f"/task/{task_id}/rerun")
    await queue.settle()
    assert (await index.get(f"/task/{PATH}"))["taskId"] == task_id


async def test_a_task_says_until_when_it_is_found(queue: RunningQueue, index: Neighbour) -> None:
    expires = format_time(queue.clock.now() + timedelta(days=3))
    await queue.completed(routes=[f"index.{PATH}"], **wishes(expires=expires))
    await queue.settle()
    assert (await index.get(f"/task/{PATH}"))["expires"] == expires


@pytest.mark.parametrize(("ranks", "winner"), [((0, 0), 1), ((2, 1), 0), ((1, 2), 1)])
@pytest.mark.parametrize("together", [True, False])
async def test_of_tasks_that_completed_the_highest_rank_is_found_and_of_equal_ones_the_last(
    queue: RunningQueue, index: Neighbour, ranks: tuple[int, int], winner: int, together: bool
) -> None:
    ended = []
    for rank in ranks:
        ended.append(await queue.completed(routes=[f"index.{PATH}"], **wishes(rank=rank)))
        if not together:
            await queue.settle()
    await queue.settle()
    assert (await index.get(f"/task/{PATH}"))["taskId"] == ended[winner]


async def test_a_repeated_report_does_not_take_the_path_back(queue: RunningQueue, index: Neighbour) -> None:
    first = await queue.completed(routes=[f"index.{PATH}"])
    second = await queue.completed(routes=[f"index.{PATH}"])
    await queue.settle()
    await queue.post(f"/task/{first}/runs/0/completed")
    await queue.settle()
    assert (await index.get(f"/task/{PATH}"))["taskId"] == second


async def test_routes_and_wishes_that_are_wrong_do_not_hold_up_others(
    queue: RunningQueue, index: Neighbour
) -> None:
    await queue.completed(routes=["index..", "index.a b", "index.bad"], extra={"index": "nonsense"})
    await queue.completed(routes=["index.good"], **wishes(rank="high", data=5, expires="soon"))
    await queue.settle()
    assert (await index.get("/task/good"))["rank"] == 0
    assert (await index.get("/task/bad"))["data"] == {}
    assert [task["namespace"] for task in (await index.get("/tasks"))["tasks"]] == ["bad", "good"]


async def test_many_paths_of_one_task_are_indexed(queue: RunningQueue, index: Neighbour) -> None:
    task_id = await queue.completed(routes=[f"index.n.{number}.latest" for number in range(64)])
    await queue.settle()
    found = await index.post("/tasks/indexes", {"indexes": [f"n.{number}.latest" for number in range(64)]})
    assert [task["taskId"] for task in found["tasks"]] == [task_id] * 64


async def test_a_task_that_is_deleted_before_anybody_looked_is_not_indexed(
    queue: RunningQueue, index: Neighbour
) -> None:
    await queue.completed(routes=[f"index.{PATH}"], expires=queue.clock.now() + timedelta(hours=3))
    queue.clock.advance(hours=4)
    await queue.sweep()
    await queue.settle()
    assert (await index.call("GET", f"/task/{PATH}")).status == 404


# ---- scopes and expiry --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "scopes"),
    [
        ("GET", "/task/a.b", "index:find-task:a.b"),
        ("PUT", "/task/a.b", "index:insert-task:a.b"),
        ("DELETE", "/task/a.b", "index:delete-task:a.b"),
        ("GET", "/tasks/a.b", "index:list-tasks:a.b"),
        ("GET", "/tasks", "index:list-tasks:"),
        ("GET", "/namespaces/a.b", "index:list-namespaces:a.b"),
        ("GET", "/namespaces/", "index:list-namespaces:"),
        ("POST", "/tasks/indexes", {"AllOf": ["index:find-task:a", "index:find-task:b"]}),
    ],
)
async def test_a_call_needs_its_scopes_and_does_nothing_without_them(
    queue: RunningQueue, index: Neighbour, method: str, target: str, scopes: Any
) -> None:
    before = await index.put("/task/a.b", entry(queue))
    bodies: dict[str, Any] = {"POST": {"indexes": ["a", "b"]}, "PUT": entry(queue)}
    queue.permit.deny()
    queue.permit.asked.clear()
    reply = await index.call(method, target, bodies.get(method, NOTHING))
    assert (reply.status, reply.code) == (403, "InsufficientScopes")
    assert queue.permit.asked == [scopes]
    queue.permit.allow()
    assert (await index.get("/task/a.b")) == before


async def test_what_has_expired_is_deleted(queue: RunningQueue, index: Neighbour) -> None:
    await insert(index, queue, "a.old", days=1)
    await insert(index, queue, "b.young", days=5)
    queue.clock.advance(days=2, hours=1)
    await queue.sweep()
    async with queue.database.read() as connection:
        tasks = (await connection.execute(select(indexed_tasks.c.name))).scalars()
        namespaces = (await connection.execute(select(index_namespaces.c.name))).scalars()
    assert list(tasks) == ["young"]
    assert list(namespaces) == ["b"]


# ---- artifacts of indexed tasks -----------------------------------------------------------------------


async def completed_with_artifact(queue: RunningQueue, path: str) -> str:
    """A completed task that is found at the path and has one artifact; its id."""
    task_id = await queue.claimed(routes=[f"index.{path}"])
    body = {
        "storageType": "reference",
        "expires": format_time(queue.clock.now() + timedelta(days=7)),
        "contentType": "application/zip",
        "url": f"https://example.com/{task_id}.whl",
    }
    await queue.post(f"/task/{task_id}/runs/0/artifacts/{NAME}", body)
    await queue.post(f"/task/{task_id}/runs/0/completed")
    await queue.settle()
    return task_id


@pytest.mark.parametrize("name", [NAME, NAME.replace("/", "%2F")])
async def test_an_artifact_is_found_by_the_path_of_its_task(
    queue: RunningQueue, index: Neighbour, name: str
) -> None:
    task_id = await completed_with_artifact(queue, PATH)
    reply = await index.call("GET", f"/task/{PATH}/artifacts/{name}")
    direct = await queue.call("GET", f"/task/{task_id}/artifacts/{NAME}")
    url = f"https://example.com/{task_id}.whl"
    assert (reply.status, reply.json(), reply.header("location")) == (
        303,
        {"storageType": "reference", "url": url},
        url,
    )
    assert (direct.status, direct.json()) == (reply.status, reply.json())


async def test_a_path_or_an_artifact_that_is_missing_is_not_found(
    queue: RunningQueue, index: Neighbour
) -> None:
    await completed_with_artifact(queue, PATH)
    missing = await index.call("GET", f"/task/{PATH}/artifacts/public/other")
    unknown = await index.call("GET", f"/task/nowhere/artifacts/{NAME}")
    assert [(reply.status, reply.code) for reply in (missing, unknown)] == [(404, "ResourceNotFound")] * 2
    assert unknown.json()["requestInfo"]["method"] == "findArtifactFromTask"


async def test_without_the_scope_of_the_artifact_nobody_learns_what_is_indexed(
    queue: RunningQueue, index: Neighbour
) -> None:
    queue.permit.deny()
    reply = await index.call("GET", f"/task/nowhere/artifacts/{NAME}")
    assert (reply.status, reply.code) == (403, "InsufficientScopes")
    assert queue.permit.asked == [{"AllOf": [f"queue:get-artifact:{NAME}"]}]

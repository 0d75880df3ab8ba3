"""Finding tasks by what is known of them, to list or delete them (``seed-systems.md`` O-1 to O-5)."""

from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import text

from queue_service.api import search_api
from queue_service.store import search
from schemas.ids import slugid
from schemas.times import format_time
from tests.api.asgi import Reply
from tests.api.definitions import QUEUES
from tests.api.running_queue import RunningQueue
from tests.api.secured_queue import SecuredQueue, refused

MISSING: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
HOUR: Final = timedelta(hours=1)

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


async def found(queue: RunningQueue, **asked: Any) -> list[str]:
    """The ids of the tasks that fit."""
    return [entry["status"]["taskId"] for entry in (await queue.post("/tasks/list", asked))["tasks"]]


async def pages(queue: RunningQueue, limit: int, **asked: Any) -> list[list[str]]:
    """The ids, page by page."""
    result, token = [], ""
    while True:
        answer = await queue.post(f"/tasks/list?limit={limit}{token}", asked)
        result.append([entry["status"]["taskId"] for entry in answer["tasks"]])
        if "continuationToken" not in answer:
            return result
        token = f"&continuationToken={answer['continuationToken']}"


@pytest.fixture
async def four(queue: RunningQueue) -> dict[str, str]:
    """A task in each of four states, a minute apart; ids by state."""
    ids = {"completed": await queue.completed("build", priority="high")}
    queue.clock.advance(minutes=1)
    ids["running"] = await queue.claimed("test")
    queue.clock.advance(minutes=1)
    ids["unscheduled"] = await queue.create(
        "build", dependencies=[ids["running"]], tags={"os": "linux", "n": "1"}
    )
    queue.clock.advance(minutes=1)
    ids["pending"] = await queue.create("build", payload={"kind": "mail", "args": {}}, priority="very-low")
    return ids


# ---- listing ------------------------------------------------------------------------------------------


async def test_without_a_filter_every_task_is_listed_by_id(queue: RunningQueue, four: dict[str, str]) -> None:
    assert await found(queue) == sorted(four.values())
    assert await found(queue, descending=True) == sorted(four.values(), reverse=True)


async def test_an_entry_is_what_groups_list(queue: RunningQueue, four: dict[str, str]) -> None:
    task_id = four["running"]
    (entry,) = (await queue.post("/tasks/list", {"taskIds": [task_id, MISSING]}))["tasks"]
    assert entry == {"status": await queue.status(task_id), "task": await queue.get(f"/task/{task_id}")}


async def test_in_the_order_of_time_a_task_stands_where_it_got_into_its_state(
    queue: RunningQueue, four: dict[str, str]
) -> None:
    assert await found(queue, order="time") == list(four.values())
    assert await found(queue, order="time", descending=True) == list(four.values())[::-1]
    queue.clock.advance(minutes=1)
    await queue.post(f"/task/{four['running']}/runs/0/completed")
    assert await found(queue, order="time", states=["completed"]) == [four["completed"], four["running"]]


@pytest.mark.parametrize(
    ("asked", "states"),
    [
        ({"states": ["pending", "completed"]}, {"pending", "completed"}),
        ({"states": ["failed"]}, set()),
        ({"taskQueueIds": [QUEUES["test"]]}, {"running"}),
        ({"taskQueueIds": [QUEUES["build"], "prov/none"]}, {"completed", "unscheduled", "pending"}),
        ({"priorities": ["high", "very-low"]}, {"completed", "pending"}),
        ({"kinds": ["mail"]}, {"pending"}),
        ({"kinds": [""]}, {"completed", "running", "unscheduled"}),
        ({"tagsAll": {"os": "linux", "n": "1"}}, {"unscheduled"}),
        ({"tagsAll": {"os": "linux", "n": "2"}}, set()),
        ({"tagsAny": {"n": "1", "no": "tag"}}, {"unscheduled"}),
        ({"metadata": {"owner": "nobody@example.com"}}, set()),
        ({"metadata": {"name": "build-wheel-linux64/opt"}}, {"completed", "unscheduled", "pending"}),
        ({"states": ["completed", "running"], "kinds": [""], "priorities": ["high"]}, {"completed"}),
    ],
)
@pytest.mark.parametrize("order", ["id", "time"])
async def test_a_filter_keeps_what_fits_all_of_it(
    queue: RunningQueue, four: dict[str, str], asked: dict[str, Any], states: set[str], order: str
) -> None:
    assert set(await found(queue, order=order, **asked)) == {four[state] for state in states}


async def test_times_are_between_both_ends(queue: RunningQueue, four: dict[str, str]) -> None:
    start = queue.clock.now() - timedelta(minutes=3)
    one, two = format_time(start + timedelta(minutes=1)), format_time(start + timedelta(minutes=2))
    between = {four["running"], four["unscheduled"]}
    assert set(await found(queue, created={"from": one, "to": two})) == between
    assert set(await found(queue, since={"from": one, "to": two})) == between
    assert set(await found(queue, since={"to": one})) == {four["completed"], four["running"]}
    assert set(await found(queue, deadline={"from": format_time(start + 2 * HOUR + HOUR / 30)})) == {
        four["unscheduled"],
        four["pending"],
    }
    assert await found(queue, expires={"to": one}) == []


@pytest.mark.parametrize("order", ["id", "time"])
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_have_every_task_once(queue: RunningQueue, order: str, descending: bool) -> None:
    made = []
    for number in range(7):
        made.append(await (queue.completed() if number % 3 == 1 else queue.create("test")))
        queue.clock.advance(seconds=number % 2)
    whole = await found(queue, order=order, descending=descending)
    assert sorted(whole) == sorted(made)
    cut = await pages(queue, 3, order=order, descending=descending)
    assert [len(page) for page in cut] == [3, 3, 1]
    assert [task_id for page in cut for task_id in page] == whole
    assert await pages(queue, 7, order=order) == [await found(queue, order=order)]


@pytest.mark.parametrize("order", ["id", "time"])
async def test_a_page_looks_at_no_more_rows_than_it_may(
    queue: RunningQueue, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "CHUNK", 6)
    monkeypatch.setattr(search, "MAX_EXAMINED", 6)
    made = [await queue.create("test", tags={"n": str(number % 10)}) for number in range(20)]
    cut = await pages(queue, 100, order=order, tagsAll={"n": "3"}, states=["pending", "running"])
    assert len(cut) > 1
    assert sorted(task_id for page in cut for task_id in page) == sorted([made[3], made[13]])


@on_sqlite
@pytest.mark.parametrize(
    "wrong",
    [
        {"states": ["done"]},
        {"states": []},
        {"order": "name"},
        {"tagsAll": {}},
        {"created": {"from": "2024-05-02T00:00:00Z", "to": "2024-05-01T00:00:00Z"}},
        {"created": {"after": "2024-05-02T00:00:00Z"}},
        {"taskIds": ["short"]},
        {"name": "x"},
    ],
)
async def test_a_filter_of_another_form_is_refused(queue: RunningQueue, wrong: dict[str, Any]) -> None:
    refused(await queue.call("POST", "/tasks/list", wrong), 400, "InputValidationError")


@on_sqlite
async def test_a_token_of_another_order_is_refused(queue: RunningQueue, four: dict[str, str]) -> None:
    token = (await queue.post("/tasks/list?limit=1", {}))["continuationToken"]
    reply = await queue.call("POST", f"/tasks/list?continuationToken={token}", {"order": "time"})
    refused(reply, 400, "InputError", "continuationToken")


@on_sqlite
@pytest.mark.parametrize("verb", ["list", "delete"])
async def test_the_scope_is_asked_for_each_named_queue_or_for_all(secured: SecuredQueue, verb: str) -> None:
    one = await secured.client("one", f"queue:{verb}-tasks:prov/a")
    every = await secured.client("every", f"queue:{verb}-tasks:*")
    mine, both = {"taskQueueIds": ["prov/a"]}, {"taskQueueIds": ["prov/a", "prov/b"]}
    everything = {} if verb == "list" else {"all": True}
    for caller, body, status in (
        (one, mine, 200),
        (one, both, 403),
        (one, everything, 403),
        (every, both, 200),
        (every, everything, 200),
    ):
        reply = await caller.call("POST", f"/tasks/{verb}", body, service="queue")
        assert reply.status == status, reply.body


async def delete(queue: RunningQueue, task_id: str) -> Reply:
    """Delete a task, when its messages have been judged by its definition."""
    await queue.messages()
    return await queue.call("DELETE", f"/task/{task_id}")


# ---- deleting -----------------------------------------------------------------------------------------


async def test_a_deleted_task_is_gone_with_all_that_belongs_to_it(queue: RunningQueue) -> None:
    required = await queue.completed("test")
    task_id = await queue.completed(dependencies=[required])
    await queue.settle()
    last = await queue.status(task_id)
    await queue.messages()
    reply = await delete(queue, task_id)
    assert (reply.status, reply.json()) == (200, {"status": last})
    assert await queue.messages() == []
    for target in (f"/task/{task_id}", f"/task/{task_id}/status"):
        assert (await queue.call("GET", target)).status == 404
    stored = await queue.stored()
    assert (stored["tasks"], stored["task_definitions"], stored["task_dependencies"]) == (1, 1, 0)
    await queue.create(task_id=task_id, dependencies=[required])


async def test_a_missing_task_is_not_found(queue: RunningQueue) -> None:
    refused(await queue.call("DELETE", f"/task/{MISSING}"), 404, "ResourceNotFound", MISSING)


async def test_a_running_task_is_not_deleted(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    reply = await delete(queue, task_id)
    refused(reply, 409, "RequestConflict", "TaskRunning")
    assert reply.json()["details"] == {"code": "TaskRunning"}
    assert (await queue.status(task_id))["state"] == "running"


async def test_a_task_that_has_not_ended_is_cancelled_first(queue: RunningQueue) -> None:
    group = slugid()
    task_id = await queue.create(taskGroupId=group)
    await queue.messages()
    reply = await delete(queue, task_id)
    last = reply.json()["status"]
    assert (last["state"], last["runs"][0]["reasonResolved"]) == ("exception", "canceled")
    told = [message async for message in _told(queue)]
    assert told == ["task-exception"]
    await queue.settle()
    assert [message async for message in _told(queue)] == ["task-group-resolved"]
    assert await queue.nothing_pending()


async def _told(queue: RunningQueue) -> Any:
    """The exchanges told of; the messages of a task that is gone are not judged by its definition."""

    async with queue.database.read() as connection:
        rows = await connection.execute(
            text("SELECT id, exchange FROM outbox WHERE id > :heard ORDER BY id"), {"heard": queue._heard}
        )
    for row in rows:
        queue._heard = row.id
        yield row.exchange.rpartition("/")[2]


async def test_a_task_deleted_before_anybody_looked_still_resolves_its_group(queue: RunningQueue) -> None:
    group = slugid()
    task_id = await queue.completed(taskGroupId=group)
    await queue.messages()
    await delete(queue, task_id)
    await queue.settle()
    assert [message.exchange for message in await queue.messages()] == ["task-group-resolved"]


async def test_what_waits_for_a_deleted_task_learns_of_its_end(queue: RunningQueue) -> None:
    required = await queue.create("test")
    dependent = await queue.create(dependencies=[required], requires="all-resolved")
    await delete(queue, required)
    await queue.settle()
    assert (await queue.status(dependent))["state"] == "pending"
    queue._heard = 2**40


async def test_the_artifacts_of_a_deleted_task_go_with_the_next_sweep(queue: RunningQueue) -> None:
    task_id = await queue.claimed()
    body = {
        "storageType": "s3",
        "contentType": "text/plain",
        "expires": format_time(queue.clock.now() + HOUR),
    }
    await queue.post(f"/task/{task_id}/runs/0/artifacts/public%2Flog", body)
    await queue.post(f"/task/{task_id}/runs/0/completed")
    await delete(queue, task_id)
    await queue.sweep()
    stored = await queue.stored()
    assert (stored["artifacts"], stored["tasks"]) == (0, 0)


async def test_a_deleted_task_lets_go_of_its_key(queue: RunningQueue) -> None:
    unique = {"byArgs": True}
    first = await queue.completed(unique=unique)
    await delete(queue, first)
    second = await queue.create(unique=unique)
    assert (await queue.status(second))["state"] == "pending"


@on_sqlite
async def test_the_scopes_of_a_deletion_are_those_of_the_task(queue: RunningQueue) -> None:
    task_id = await queue.completed(schedulerId="sched", projectId="taskbus")
    queue.permit.asked.clear()
    await delete(queue, task_id)
    assert queue.permit.asked == [
        {
            "AnyOf": [
                f"queue:delete-task:sched/{task_id}/{task_id}",
                "queue:delete-task-in-project:taskbus",
            ]
        }
    ]


async def test_tasks_that_fit_are_deleted_and_running_ones_are_skipped(
    queue: RunningQueue, four: dict[str, str]
) -> None:
    answer = await queue.post("/tasks/delete", {"taskQueueIds": [QUEUES["build"]]})
    assert answer == {"deleted": 3, "skipped": 0}
    answer = await queue.post("/tasks/delete", {"all": True})
    assert answer == {"deleted": 0, "skipped": 1}
    assert await found(queue) == [four["running"]]
    queue._heard = 2**40


async def test_a_deletion_of_many_stops_at_its_limit_and_goes_on_from_there(
    queue: RunningQueue, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(search_api, "MAX_DELETED", 4)
    monkeypatch.setattr(search_api, "CHUNK", 3)
    for _ in range(6):
        await queue.completed()
    await queue.messages()
    first = await queue.post("/tasks/delete", {"states": ["completed"]})
    assert first["deleted"] == 4
    token = first["continuationToken"]
    rest = await queue.post(f"/tasks/delete?continuationToken={token}", {"states": ["completed"]})
    assert rest == {"deleted": 2, "skipped": 0}
    assert await found(queue) == []


@on_sqlite
@pytest.mark.parametrize("body", [{}, {"all": False}, {"all": True, "states": ["completed"]}])
async def test_a_deletion_of_many_needs_a_filter_or_all(queue: RunningQueue, body: dict[str, Any]) -> None:
    refused(await queue.call("POST", "/tasks/delete", body), 400, "InputValidationError", "all: true")

"""Lists in pages (``queue-behaviour.md`` 9)."""

from typing import Any, Final

import pytest

from queue_service.api.paging import page_of
from schemas.ids import slugid
from tests.api.running_queue import NOTHING, RunningQueue

GROUP_ID: Final = "fN1SbArXTPSVFNUvaOlinQ"
LISTS: Final = ["group", "dependents", "tasks", "statuses"]


class Listed:
    """Five tasks, and the four endpoints that list them."""

    def __init__(self, queue: RunningQueue) -> None:
        self.queue = queue
        self.required = ""
        self.task_ids: list[str] = []

    async def prepare(self) -> None:
        self.required = await self.queue.create("decision")
        self.task_ids = sorted(
            [await self.queue.create(taskGroupId=GROUP_ID, dependencies=[self.required]) for _ in range(5)]
        )

    async def page(self, name: str, query: str = "") -> tuple[list[str], str | None]:
        """The ids of a page, and the token of the next."""
        body = await self._answer(name, query)
        assert body.get("continuationToken", "some")
        entries = body["statuses"] if name == "statuses" else body["tasks"]
        ids = [entry["taskId"] if "taskId" in entry else entry["status"]["taskId"] for entry in entries]
        return ids, body.get("continuationToken")

    async def _answer(self, name: str, query: str) -> dict[str, Any]:
        listed = {"taskIds": [*reversed(self.task_ids), slugid(), self.task_ids[0]]}
        match name:
            case "group":
                return await self.queue.get(f"/task-group/{GROUP_ID}/list{query}")
            case "dependents":
                return await self.queue.get(f"/task/{self.required}/dependents{query}")
            case "tasks":
                return await self.queue.post(f"/tasks{query}", listed)
            case _:
                return await self.queue.post(f"/tasks/status{query}", listed)


@pytest.fixture
async def listed(queue: RunningQueue) -> Listed:
    prepared = Listed(queue)
    await prepared.prepare()
    return prepared


@pytest.mark.parametrize("name", LISTS)
async def test_without_a_limit_everything_is_one_page(listed: Listed, name: str) -> None:
    ids, token = await listed.page(name)
    assert (sorted(ids), token) == (listed.task_ids, None)


@pytest.mark.parametrize("name", LISTS)
async def test_pages_follow_each_other_without_gap_or_overlap(listed: Listed, name: str) -> None:
    first, token = await listed.page(name, "?limit=2")
    second, token = await listed.page(name, f"?limit=2&continuationToken={token}")
    last, end = await listed.page(name, f"?continuationToken={token}&limit=2")
    assert [len(first), len(second), len(last)] == [2, 2, 1]
    assert sorted(first + second + last) == listed.task_ids
    assert end is None


@pytest.mark.parametrize("name", LISTS)
async def test_a_last_page_that_is_full_has_no_token(listed: Listed, name: str) -> None:
    assert (await listed.page(name, "?limit=5"))[1] is None
    _, token = await listed.page(name, "?limit=4")
    ids, end = await listed.page(name, f"?limit=1&continuationToken={token}")
    assert (len(ids), end) == (1, None)


@pytest.mark.parametrize("name", LISTS)
async def test_a_token_may_be_used_with_another_limit(listed: Listed, name: str) -> None:
    first, token = await listed.page(name, "?limit=1")
    rest, end = await listed.page(name, f"?limit=1000&continuationToken={token}")
    assert (sorted(first + rest), end) == (listed.task_ids, None)
    again, _ = await listed.page(name, f"?continuationToken={token}")
    assert again == rest


@pytest.mark.parametrize("name", LISTS)
async def test_a_malformed_token_is_an_input_error(queue: RunningQueue, name: str) -> None:
    task_id = await queue.create(taskGroupId=GROUP_ID)
    method, target, body = {
        "group": ("GET", f"/task-group/{GROUP_ID}/list", NOTHING),
        "dependents": ("GET", f"/task/{task_id}/dependents", NOTHING),
        "tasks": ("POST", "/tasks", {"taskIds": [task_id]}),
        "statuses": ("POST", "/tasks/status", {"taskIds": [task_id]}),
    }[name]
    for token in ("!", "x", "AA", "AAA", "%00", "fN1SbArXTPSVFNUvaOlinQ%3D%3D", "%C3%A9", "Y" * 5000):
        reply = await queue.call(method, f"{target}?continuationToken={token}", body)
        assert (reply.status, reply.code) == (400, "InputError"), token
        assert "continuationToken" in reply.message


async def test_pages_do_not_shift_when_tasks_come_and_go(listed: Listed) -> None:
    first, token = await listed.page("group", "?limit=2")
    for _ in range(6):
        await listed.queue.create(taskGroupId=GROUP_ID)
    rest, _ = await listed.page("group", f"?continuationToken={token}")
    assert not set(first) & set(rest)
    assert set(listed.task_ids) <= set(first + rest)


@pytest.mark.parametrize("name", ["tasks", "statuses"])
async def test_an_empty_or_missing_list_is_an_empty_page(queue: RunningQueue, name: str) -> None:
    target = "/tasks" if name == "tasks" else "/tasks/status"
    assert await queue.post(target, {"taskIds": []}) == {name: []}
    assert await queue.post(target, {}) == {name: []}
    assert await queue.post(target, {"taskIds": [slugid()]}) == {name: []}


async def test_listed_tasks_are_their_definitions_and_statuses(listed: Listed) -> None:
    task_id = listed.task_ids[0]
    (entry,) = (await listed.queue.post("/tasks", {"taskIds": [task_id]}))["tasks"]
    assert entry == {"taskId": task_id, "task": await listed.queue.get(f"/task/{task_id}")}
    (entry,) = (await listed.queue.post("/tasks/status", {"taskIds": [task_id]}))["statuses"]
    assert entry == {"taskId": task_id, "status": await listed.queue.status(task_id)}


async def test_very_many_ids_can_be_asked_for(listed: Listed) -> None:
    wanted = [slugid() for _ in range(5000)] + listed.task_ids
    body = await listed.queue.post("/tasks/status", {"taskIds": wanted})
    assert sorted(entry["taskId"] for entry in body["statuses"]) == listed.task_ids


@pytest.mark.parametrize(
    ("asked", "limit"),
    [(None, 1000), ("1", 1), ("007", 7), ("1000", 1000), ("1001", 1000), ("9" * 400, 1000), ("0", 1)],
)
def test_a_limit_is_between_1_and_1000(asked: str | None, limit: int) -> None:
    assert page_of({} if asked is None else {"limit": asked}).limit == limit

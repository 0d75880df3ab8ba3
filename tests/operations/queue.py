"""The operations as the API and the loops call them, and what they have told since one last looked."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from queue_service.core import transitions
from queue_service.core.errors import QueueError
from queue_service.core.groups import TaskGroup
from queue_service.core.limits import Limits
from queue_service.core.task import Change, Task
from queue_service.operations import claims, due, resolutions
from queue_service.operations import groups as group_operations
from queue_service.operations import tasks as operations
from queue_service.operations.claims import Claimed, WorkRequest
from queue_service.operations.tasks import Creation, TaskCall
from queue_service.store import dependencies, groups, outbox, tasks
from queue_service.store.database import Database, Tx
from schemas.queue import CancelTaskGroupResponse, TaskGroupPriorityChangeResponse
from tests.core.samples import HELD_BY, definition
from tests.store.given import read, store

LIMITS: Final = Limits()
QUEUE_ID: Final = "prov/type"

Outcome = Task | QueueError


@dataclass(frozen=True)
class Told:
    """One recorded message: the exchange, whom it is about, and the parts that tests look at."""

    exchange: str
    about: str
    run_id: int | None
    body: dict[str, Any]
    order_keys: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.exchange} {self.about}" + ("" if self.run_id is None else f" {self.run_id}")


def creation(task_id: str, **members: Any) -> Creation:
    """A task to create; ``members`` of the definition by their names on the wire."""
    return Creation(task_id, definition(task_id, **members))


def request(
    wanted: int = 1, queue_id: str = QUEUE_ID, *, worker: str = "w-1", alive: bool = True
) -> WorkRequest:
    return WorkRequest(queue_id, "eu-1", worker, wanted, lambda: alive)


class Queue:
    """A database with the operations on it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.limited: set[str] = set()
        """Where claims have found limits."""

    @property
    def now(self) -> datetime:
        return self.database.clock.now()

    # Single tasks

    async def given(self, *stored: Task) -> None:
        """Put tasks into the database as they are."""
        await store(self.database, *stored)

    async def create_all(self, *creations: Creation) -> list[Outcome]:
        margin = LIMITS.group_expiry_margin
        return await self.database.write(
            lambda tx: operations.create(tx, creations, group_expiry_margin=margin)
        )

    async def create(self, task_id: str, **members: Any) -> Task:
        return _value(*await self.create_all(creation(task_id, **members)))

    async def change_all(self, *calls: TaskCall) -> list[Outcome]:
        return await self.database.write(lambda tx: operations.change(tx, calls))

    async def change(self, task_id: str, rule: operations.Rule) -> Task:
        return _value(*await self.change_all(TaskCall(task_id, rule)))

    async def run(self, task_id: str) -> Task:
        """A worker claims the pending run of this task."""

        def rule(task: Task, now: datetime) -> Change:
            return transitions.claim(task, now, now + LIMITS.claim_timeout, **HELD_BY)

        return await self.change(task_id, rule)

    async def end(self, task_id: str, outcome: str = "completed") -> Task:
        """Run the task to its end: completed, failed, or canceled."""
        if outcome == "canceled":
            return await self.change(task_id, transitions.cancel)
        await self.run(task_id)
        return await self.change(task_id, report(outcome))

    async def task(self, task_id: str) -> Task | None:
        return (await read(self.database, tasks.get, [task_id])).get(task_id)

    async def states(self, *task_ids: str) -> list[str]:
        found = await read(self.database, tasks.get, task_ids)
        return [found[task_id].state for task_id in task_ids]

    # Work, groups, time

    async def claim(self, *requests: WorkRequest) -> list[list[Claimed]]:
        return await self.database.write(
            lambda tx: claims.claim(tx, requests, timeout=LIMITS.claim_timeout, limited=self.limited)
        )

    async def claimed_ids(self, *requests: WorkRequest) -> list[list[str]]:
        return [[item.task.task_id for item in items] for items in await self.claim(*requests)]

    async def group(self, group_id: str) -> TaskGroup | None:
        return (await read(self.database, groups.get, [group_id])).get(group_id)

    async def seal(self, group_id: str) -> TaskGroup:
        return await self.database.write(lambda tx: group_operations.seal(tx, group_id, allow))

    async def cancel_group(self, group_id: str) -> CancelTaskGroupResponse:
        return await self.database.write(lambda tx: group_operations.cancel(tx, group_id, allow))

    async def change_group_priority(self, group_id: str, priority: Any) -> TaskGroupPriorityChangeResponse:
        return await self.database.write(
            lambda tx: group_operations.change_priority(tx, group_id, priority, allow)
        )

    async def expire_claims(self, limit: int = 100) -> int:
        return await self.database.write(lambda tx: due.expire_claims(tx, limit))

    async def pass_deadlines(self, limit: int = 100, delay: timedelta = LIMITS.deadline_delay) -> int:
        return await self.database.write(lambda tx: due.pass_deadlines(tx, limit, delay=delay))

    async def delete_expired(self, limit: int = 100) -> int:
        grace = LIMITS.expiry_grace
        return await self.database.write(lambda tx: due.delete_expired(tx, limit, grace=grace))

    async def work_off(self, limit: int = 100) -> int:
        return await self.database.write(lambda tx: resolutions.work_off(tx, limit))

    async def work_off_all(self) -> None:
        while await self.work_off():
            pass

    async def unlooked_at(self) -> list[tuple[str, str]]:
        """Ends that dependents and groups have not looked at: task and state."""

        async def script(tx: Tx) -> list[tuple[str, str]]:
            found = await dependencies.next_resolutions(tx, 1000)
            return [(entry.task_id, entry.state) for entry in found]

        return await self.database.write(script)

    # What was told

    async def messages(self) -> list[Told]:
        """What was recorded since the last look, in its order."""
        rows = await read(self.database, outbox.next_batch, 100_000)
        await self.database.write(lambda tx: outbox.delete_confirmed(tx, [row.id for row in rows]))
        return [_told(row) for row in rows]

    async def told(self, *about: str) -> list[str]:
        """The same, each as ``exchange id run``; only about these ids when any are given."""
        found = await self.messages()
        return [str(message) for message in found if not about or message.about in about]


def _told(row: outbox.OutboxRow) -> Told:
    body = json.loads(row.message.body)
    about = body["status"]["taskId"] if "status" in body else body["taskGroupId"]
    exchange = row.message.exchange.rpartition("/")[2]
    return Told(exchange, about, body.get("runId"), body, row.order_keys)


def report(outcome: Any) -> operations.Rule:
    """The last run is reported with this outcome."""
    return lambda task, now: transitions.report(task, len(task.runs) - 1, outcome, now)


def allow(group: TaskGroup) -> None:
    """An authorization that lets everything pass."""


def _value(outcome: Outcome) -> Task:
    if isinstance(outcome, QueueError):
        raise outcome
    return outcome


def codes(outcomes: Iterable[Outcome]) -> list[str | None]:
    """The error codes of refused items; None for the others."""
    return [outcome.code if isinstance(outcome, QueueError) else None for outcome in outcomes]

"""Work for a service that is killed, cut off and restarted: creates, claims, reports, and what was answered.

Nobody repeats a call blindly: when an answer was lost, the status tells whether the call was done. So every
message is caused once, and the history must show it under one message-id.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx

from schemas.ids import slugid
from schemas.queue import (
    ClaimWorkResponse,
    TaskClaimResponse,
    TasksRequest,
    TasksStatusesResponse,
    TaskStatusResponse,
)
from schemas.task import TaskStatus
from taskbus import task_definition
from tests.e2e.history import RESOLVED

CREATORS: Final = 4
WORKERS: Final = 4
CLAIMS: Final = 4
"""Runs that a worker asks for at once."""
ANSWER_SECONDS: Final = 10.0
PAUSE: Final = 0.05
"""Seconds until a service that did not answer is asked again."""

BASE: Final = "/api/queue/v1"


class NoAnswer(Exception):
    """The connection broke or the server failed: whether the call was done is not known."""


class Load:
    """Creates ``tasks`` tasks, some behind others, and works on them until all are resolved.

    Some runs fail and some are given back. ``refusals`` are the bodies of all 5xx answers. A worker whose
    claim was lost with its answer does nothing about it: the claim has to expire.
    """

    def __init__(self, root_url: str, scheduler_id: str, tasks: int) -> None:
        self.task_queue_id = f"{scheduler_id}/load"
        self.dependencies: dict[str, tuple[str, ...]] = {}
        """What each task waits for; all tasks there are in the end."""
        self.refusals: list[httpx.Response] = []
        self.unanswered = 0
        self.first_answer = asyncio.Event()
        self._scheduler_id = scheduler_id
        self._tasks = tasks
        self._created: set[str] = set()
        self._claimed: dict[tuple[str, int], str] = {}
        self._reported: dict[tuple[str, int], str] = {}
        self._http = httpx.AsyncClient(base_url=root_url + BASE, timeout=ANSWER_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def run(self) -> Sequence[TaskStatus]:
        """Do all of it; where every task stands in the end."""
        workers = [asyncio.create_task(self._work(f"worker-{number}")) for number in range(WORKERS)]
        try:
            share = self._tasks // CREATORS
            await asyncio.gather(*(self._create_some(share) for _ in range(CREATORS)))
            while True:
                statuses = await self.statuses()
                if all(status.state in RESOLVED for status in statuses):
                    return statuses
                await asyncio.sleep(PAUSE)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)

    async def statuses(self) -> Sequence[TaskStatus]:
        """Where every task stands that was created."""
        body = TasksRequest(task_ids=tuple(self.dependencies)).to_json()
        found: list[TaskStatus] = []
        token: str | None = ""
        while token is not None:
            query = f"?continuationToken={token}" if token else ""
            page = TasksStatusesResponse.from_json(await self._ask("POST", f"/tasks/status{query}", body))
            found += (entry.status for entry in page.statuses)
            token = page.continuation_token
        return found

    def lost(self, statuses: Sequence[TaskStatus]) -> list[str]:
        """Acknowledged calls that left no trace in the tasks as they stand, in words."""
        runs = {(status.task_id, run.run_id): run for status in statuses for run in status.runs}
        return [
            *(
                f"creation of {task_id}"
                for task_id in self._created - {status.task_id for status in statuses}
            ),
            *(
                f"claim of {key}"
                for key, worker_id in self._claimed.items()
                if key not in runs or runs[key].worker_id != worker_id
            ),
            *(
                f"report of {key} as {state}"
                for key, state in self._reported.items()
                if key not in runs or runs[key].state != state
            ),
        ]

    async def _create_some(self, count: int) -> None:
        """Every third task waits for the two before it, or for one of them."""
        made: list[str] = []
        group = slugid()
        for number in range(count):
            task_id = slugid()
            required = tuple(made[-2:] if number % 2 else made[-1:]) if number % 3 == 2 else ()
            definition = task_definition(
                {"number": number},
                queue=self.task_queue_id,
                scheduler_id=self._scheduler_id,
                task_group_id=group,
                dependencies=required,
                requires="all-resolved",
            )
            await self._create(task_id, definition.to_json())
            made.append(task_id)
            self.dependencies[task_id] = required

    async def _create(self, task_id: str, definition: bytes) -> None:
        while True:
            try:
                await self._call("PUT", f"/task/{task_id}", definition)
                self._created.add(task_id)
                return
            except NoAnswer:
                if await self._status(task_id) is not None:
                    return

    async def _work(self, worker_id: str) -> None:
        ask = {"workerGroup": "load", "workerId": worker_id, "tasks": CLAIMS}
        queue = self.task_queue_id.replace("/", "%2F")
        while True:
            try:
                reply = await self._call("POST", f"/claim-work/{queue}", ask)
            except NoAnswer:
                continue
            for claim in ClaimWorkResponse.from_json(reply.content).tasks:
                self._claimed[claim.status.task_id, claim.run_id] = worker_id
                await self._report(claim)

    async def _report(self, claim: TaskClaimResponse) -> None:
        task_id, run_id = claim.status.task_id, claim.run_id
        verb, body, state = _outcome(claim)
        while True:
            try:
                reply = await self._call("POST", f"/task/{task_id}/runs/{run_id}/{verb}", body)
            except NoAnswer:
                status = await self._status(task_id)
                if status is None or status.runs[run_id].state != "running":
                    return
            else:
                if reply.status_code == 200:  # else the claim has expired meanwhile
                    self._reported[task_id, run_id] = state
                return

    async def _status(self, task_id: str) -> TaskStatus | None:
        content = await self._ask("GET", f"/task/{task_id}/status")
        return TaskStatusResponse.from_json(content).status if content else None

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer to a question, which may be asked again and again; empty for 404."""
        while True:
            try:
                reply = await self._call(method, path, body)
            except NoAnswer:
                continue
            return reply.content if reply.status_code == 200 else b""

    async def _call(
        self, method: str, path: str, body: bytes | dict[str, Any] | None = None
    ) -> httpx.Response:
        """One attempt. Raises NoAnswer, after a pause."""
        arguments: dict[str, Any] = (
            {"json": body}
            if isinstance(body, dict)
            else {"content": body, "headers": {"Content-Type": "application/json"}}
        )
        try:
            reply = await self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            self.unanswered += 1
            await asyncio.sleep(PAUSE)
            raise NoAnswer from error
        if reply.status_code >= 500:
            self.refusals.append(reply)
            await asyncio.sleep(PAUSE)
            raise NoAnswer
        assert reply.status_code in (200, 404, 409), reply.text
        return reply


def _outcome(claim: TaskClaimResponse) -> tuple[str, dict[str, str] | None, str]:
    """How a run ends: the call's verb, its body, and the run's state after it."""
    number = claim.task.payload["number"]
    if number % 5 == 1 and claim.run_id == 0:
        return "exception", {"reason": "worker-shutdown"}, "exception"
    if number % 7 == 3:
        return "failed", None, "failed"
    return "completed", None, "completed"

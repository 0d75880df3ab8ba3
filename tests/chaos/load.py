"""Work for a service that is being hurt: tasks in groups, with dependencies, all of which must end."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from schemas.ids import slugid
from schemas.queue import CreateTaskRequest
from schemas.task import TaskStatus
from taskbus import ApiError, Queue, TaskbusError, task_definition
from tests.chaos.record import Record, RecordedQueue

CREATORS: Final = 4
GROUP: Final = 12
"""Tasks."""
OPEN: Final = 80
"""Tasks that may be unresolved; creators wait until there are less."""
WORK_SECONDS: Final = 0.1
LONG_WORK_SECONDS: Final = 2.0
"""More than half a claim: it has to be renewed."""
PAUSE: Final = 0.1
STATUSES_AT_ONCE: Final = 500
ENDED: Final = ("completed", "failed", "exception")
VERBS: Final = ("completed", "failed", "exception")


@dataclass
class Load:
    """Creates tasks until told to stop. ``record`` has what everybody said, ``done`` when runs were ended."""

    task_queue_id: str
    scheduler_id: str
    random: Random
    record: Record = field(default_factory=Record)
    definitions: dict[str, CreateTaskRequest] = field(default_factory=dict)
    done: list[float] = field(default_factory=list)
    _ended: set[str] = field(default_factory=set)
    _stopping: bool = False
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    def said(self, line: Any) -> None:
        """Take down what a worker or a creator said."""
        self.record.add(line)
        if line.status == 200 and line.task is not None and line.task[2] in VERBS:
            self.done.append(line.at)
            if line.answer["status"]["state"] in ENDED:
                self._ended.add(line.task[0])
                self._freed.set()

    def stop(self) -> None:
        """Create nothing more."""
        self._stopping = True
        self._freed.set()

    async def create(self, root_urls: Collection[str]) -> None:
        """Until :meth:`stop`: through all of these API processes."""
        urls = list(root_urls)
        await asyncio.gather(
            *(self._create_some(urls[number % len(urls)], f"creator-{number}") for number in range(CREATORS))
        )

    async def statuses(self, root_url: str) -> list[TaskStatus]:
        """Where every task stands."""
        found: list[TaskStatus] = []
        every = list(self.definitions)
        async with Queue(root_url, credentials=None) as queue:
            for start in range(0, len(every), STATUSES_AT_ONCE):
                found += (await queue.statuses(every[start : start + STATUSES_AT_ONCE])).values()
        return found

    async def _create_some(self, root_url: str, by: str) -> None:
        async with RecordedQueue(root_url, by, self.said) as queue:
            while True:
                group = slugid()
                made: list[str] = []
                for _ in range(GROUP):
                    while len(self.definitions) - len(self._ended) >= OPEN and not self._stopping:
                        self._freed.clear()
                        await self._freed.wait()
                    if self._stopping:
                        return
                    made.append(await self._create(queue, group, made))

    async def _create(self, queue: Queue, group: str, made: list[str]) -> str:
        task_id = slugid()
        definition = self.definitions[task_id] = task_definition(
            self._payload(),
            queue=self.task_queue_id,
            scheduler_id=self.scheduler_id,
            task_group_id=group,
            dependencies=self.random.sample(made[-4:], min(len(made), 2))
            if self.random.random() < 0.3
            else (),
            requires="all-resolved",
            deadline="10m",
        )
        while True:
            try:
                await queue.create_task(task_id, definition)
                break
            except TaskbusError as error:
                if isinstance(error, ApiError) and error.status < 500:
                    return task_id  # the judge will have an opinion
                await asyncio.sleep(PAUSE)  # the same call again is harmless
        if self.random.random() < 0.03:
            await self._cancel(queue, task_id)
        return task_id

    async def _cancel(self, queue: Queue, task_id: str) -> None:
        try:
            if (await queue.cancel_task(task_id)).state in ENDED:
                self._ended.add(task_id)
                self._freed.set()
        except TaskbusError:  # it may be done or not: the task ends in either case
            return

    def _payload(self) -> dict[str, Any]:
        kind = self.random.random()
        first = "completed"
        if kind < 0.06:
            first = "failed"
        elif kind < 0.1:
            first = "worker-shutdown"
        elif kind < 0.13:
            first = "intermittent-task"
        elif kind < 0.15:
            first = "malformed-payload"
        seconds = LONG_WORK_SECONDS if self.random.random() < 0.02 else WORK_SECONDS
        return {"seconds": seconds, "ends": [first, "failed" if kind < 0.02 else "completed"]}


def rate(done: Collection[float], since: float, until: float) -> float:
    """Runs that were ended and answered per second, between two Unix times."""
    return sum(since <= moment < until for moment in done) / max(until - since, 0.001)

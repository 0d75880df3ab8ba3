"""The gateway of one process: its connections, and who of them gets which item.

It claims through the queue, so no two gateways ever have the same run (WI-1). What it remembers of an item in
flight is only to free the connection's slot and to refuse stale answers; the queue decides everything.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from queue_service.core import attempts, transitions
from queue_service.core.errors import InputTooLarge, QueueError
from queue_service.core.task import Change, Task
from queue_service.features.worker_socket import operations, store
from queue_service.features.worker_socket.connection import V2, Connection, InFlight
from queue_service.features.worker_socket.items import QUEUES, attrs_of, may_spill, name_of
from queue_service.features.worker_socket.matching import Description, least_busy, specificity, tiers
from queue_service.features.worker_socket.operations import Dispatch, Dispatched
from queue_service.operations import tasks as task_operations
from queue_service.operations.batching import Batcher, Overloaded
from queue_service.operations.tasks import Rule, TaskCall
from queue_service.store import outbox, tasks
from queue_service.store.database import Database, StoreUnavailable, Tx
from queue_service.store.outbox import Outgoing
from queue_service.store.signals import QueueFilled, Signal, TopicStirred
from schemas.attempts import CompletionReport, FailureReport
from schemas.task import ExceptionReason
from schemas.times import format_time
from schemas.work import WorkerAttachedMessage, WorkerDetachedMessage

logger = structlog.get_logger(__name__)

TOPIC: Final = "work"
"""Of the signal that a gateway's connections take other items now."""
PAGE: Final = 200
MAX_LOOKED_AT: Final = 10_000
"""Waiting items of a name that one pass looks at."""
MAX_TIERS: Final = 500
"""Combinations of a name and attributes for which it is remembered who takes them."""
LOOK_AGAIN_SECONDS: Final = 5.0
PACE_SECONDS: Final = 0.002
CHECK_SECONDS: Final = 1.0
"""How often items in flight are compared with the queue."""
LEASE: Final = timedelta(seconds=30)
RENEW_SECONDS: Final = 10.0
DEFERRED_SECONDS: Final = 0.05
"""How long an item waits for a more specific worker of another gateway (WI-2)."""
ATTEMPTS: Final = 5
"""To write down an answer while the database is away; then the claim expires."""
NO_DETAILS: Final = "worker signalled error without detailed error message"


class Gateway:
    """Hands items out. ``gateway`` is the workerGroup of its connections, unlike any other's."""

    def __init__(self, database: Database, gateway: str, *, jitter: Any) -> None:
        self.name = gateway
        self.connections: dict[str, Connection] = {}
        """In the order of their attaching."""
        self.stale_results = 0
        """Answers for items that the connection did not have."""
        self.settled = asyncio.Event()
        """Set after every pass that had nothing left to do; for tests."""
        self._database = database
        self._jitter = jitter
        self._stirred = asyncio.Event()
        self._others: Sequence[Description] = ()
        self._deferred: dict[str, float] = {}
        self._tiers: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[int, list[Connection]]]] = {}
        self._told: list[Any] = []
        self._drains = False
        self._emptied = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._answers: set[asyncio.Task[None]] = set()
        self._changes = Batcher[TaskCall, Task](self._change)
        database.subscribe(self._on_signal)

    # ---- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        for work in (self._hand_out, self._check, self._renew):
            self._tasks.append(asyncio.create_task(_again_and_again(work), name=f"gateway {work.__name__}"))

    async def drain(self, seconds: float) -> None:
        """Hand nothing out any more, tell the workers so, and give them this long to finish (A.9)."""
        self._drains = True
        deadline = format_time(self._database.clock.now() + timedelta(seconds=seconds))
        for connection in list(self.connections.values()):
            connection.draining = True
            if connection.protocol == V2:
                connection.send({"kind": "drain", "deadline": deadline})
            self._freed(connection)
        self._tiers.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _quietly(self._advertise())
                while self.connections:
                    self._emptied.clear()
                    await self._emptied.wait()

    async def stop(self) -> None:
        """Give back what the connections have, and leave."""
        running, self._tasks = self._tasks, []  # without them, no signal begins anything
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for connection in list(self.connections.values()):
            connection.close(1001, "the gateway stops")
            await self.detach(connection, "gateway-stopped")
        if self._answers:
            await asyncio.wait(self._answers, timeout=2)
        try:
            await self._database.write(lambda tx: store.forget(tx, self.name))
        except StoreUnavailable:
            logger.warning("the gateway could not sign off; others will notice")

    def stir(self) -> None:
        """Something may be handed out now."""
        self.settled.clear()
        self._stirred.set()

    # ---- connections ----------------------------------------------------------------------------------

    async def attach(self, connection: Connection) -> None:
        """Begin to give items to a connection. Raises StoreUnavailable."""
        first = connection.described[0].name
        message = WorkerAttachedMessage.trusted(
            worker_group=self.name, worker_id=connection.worker_id, task_name=first
        )
        told = [*self._descriptions(), *_told(connection)]
        await self._database.write(lambda tx: self._sign_on(tx, told, message))
        connection.draining = self._drains
        self.connections[connection.worker_id] = connection
        self._tiers.clear()
        self._freed(connection)

    async def redescribe(self, connection: Connection) -> None:
        """The connection takes other items now, or none; those under way stay."""
        self._tiers.clear()
        self._freed(connection)
        await self._advertise()

    async def detach(self, connection: Connection, reason: str) -> None:
        """Forget a connection; what it has goes back in one transaction, to others at once (WL-1)."""
        if self.connections.pop(connection.worker_id, None) is None:
            return
        if not self.connections:
            self._emptied.set()
        self._tiers.clear()
        runs = {item.task_id: item.run_id for item in connection.in_flight.values()}
        connection.in_flight.clear()
        message = WorkerDetachedMessage.trusted(
            worker_group=self.name,
            worker_id=connection.worker_id,
            task_name=connection.described[0].name,
            reason=reason,
        )

        async def script(tx: Tx) -> None:
            await operations.give_back(tx, runs, self.name, connection.worker_id, "worker-shutdown")
            await self._sign_on(tx, self._descriptions(), message)

        try:
            await self._database.write(script)
        except StoreUnavailable as error:
            logger.warning("a lost worker's items wait for their claims to expire", reason=str(error))
        self.stir()

    async def _sign_on(
        self, tx: Tx, told: list[Any], message: WorkerAttachedMessage | WorkerDetachedMessage
    ) -> None:
        await store.renew(tx, self.name, told, LEASE)
        await outbox.record(tx, [Outgoing(message, (), (f"worker {message.worker_id}",))])
        tx.announce(TopicStirred(TOPIC))

    # ---- answers --------------------------------------------------------------------------------------

    def item_of(self, connection: Connection, task_id: str, run_id: int | None) -> InFlight | None:
        """The item, when the connection holds its run now; counted as stale otherwise (WR-4)."""
        item = connection.in_flight.get(task_id)
        if item is not None and run_id in (None, item.run_id):
            return item
        self.stale_results += 1
        logger.info("an answer for an item that the worker does not have", task_id=task_id)
        return None

    def done(self, connection: Connection, item: InFlight, output: Any) -> None:
        """The worker has done the item (WR-1)."""

        def rule(task: Task, now: datetime) -> Change:
            report = CompletionReport.trusted(output=output)
            try:
                return attempts.completed(task, item.run_id, report, now)
            except InputTooLarge as error:
                told = FailureReport.trusted(error=error.message, retry=False)
                return attempts.failed(task, item.run_id, told, now, self._jitter())

        self._answer(connection, item, rule)

    def failed(self, connection: Connection, item: InFlight, error: str) -> None:
        """The worker says that the item failed (WR-2)."""
        told = FailureReport.trusted(error=error or NO_DETAILS)
        self._answer(
            connection, item, lambda task, now: attempts.failed(task, item.run_id, told, now, self._jitter())
        )

    def snooze(self, connection: Connection, item: InFlight, wait: timedelta) -> None:
        """The worker puts the item off."""
        self._answer(connection, item, lambda task, now: attempts.snoozed(task, item.run_id, wait, now))

    async def extend(self, connection: Connection, item: InFlight, by: timedelta) -> None:
        """Give the worker more time, up to the task's deadline; it is told."""
        until = min(self._database.clock.now() + by, item.deadline)

        async def script(tx: Tx) -> Task:
            (task,) = (await tasks.lock(tx, [item.task_id])).values()
            change = transitions.reclaim(task, item.run_id, tx.now, until)
            await tasks.save(tx, [change])
            return change.after

        try:
            await self._database.write(script)
        except (QueueError, ValueError):
            self._forget(connection, item, "not-running")
            return
        except StoreUnavailable as error:
            connection.send(_error("Unavailable", str(error), item.task_id))
            return
        item.taken_until = until
        facts = {"task_id": item.task_id, "run_id": item.run_id, "taken_until": format_time(until)}
        connection.send({"kind": "extended", **facts})

    def _answer(self, connection: Connection, item: InFlight, rule: Rule) -> None:
        """Free the slot at once, so that a second answer is stale; write the answer down beside."""
        connection.in_flight.pop(item.task_id, None)
        self._freed(connection)
        writing = asyncio.create_task(self._write_answer(item, rule), name="answer of a worker")
        self._answers.add(writing)
        writing.add_done_callback(self._answers.discard)

    async def _write_answer(self, item: InFlight, rule: Rule) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._changes.submit(TaskCall(item.task_id, rule))
            except (StoreUnavailable, Overloaded) as error:
                logger.warning("an answer waits for the database", task_id=item.task_id, reason=str(error))
                await asyncio.sleep(attempt)
                continue
            except QueueError as error:
                self.stale_results += 1
                logger.info("an answer came too late", task_id=item.task_id, reason=error.message)
            return
        logger.error("an answer is lost; the item is handed out again", task_id=item.task_id)

    async def _change(self, calls: Sequence[TaskCall]) -> list[Task | QueueError]:
        return await self._database.write(lambda tx: task_operations.change(tx, calls))

    # ---- handing out ----------------------------------------------------------------------------------

    async def _hand_out(self) -> None:
        self._stirred.clear()
        if await self.run_once() == 0 and not self._stirred.is_set():
            self.settled.set()
            deferred = DEFERRED_SECONDS if self._deferred else LOOK_AGAIN_SECONDS
            try:
                async with asyncio.timeout(deferred):
                    await self._stirred.wait()
            except TimeoutError:
                pass
        await asyncio.sleep(PACE_SECONDS)

    async def run_once(self) -> int:
        """Hand out what waits and fits; how many items that was. Raises StoreUnavailable."""
        names = {one.name for connection in self.connections.values() for one in connection.descriptions}
        chosen: list[Dispatch] = []
        reserved: dict[str, int] = {}
        for name in sorted(names):
            await self._choose(name, chosen, reserved)
        dispatched: list[Dispatched] = []
        for start in range(0, len(chosen), PAGE):
            dispatched += await self._claim(chosen[start : start + PAGE])
        for one in dispatched:
            self._deliver(one)
        for one in dispatched:
            if one.worker_id not in self.connections:  # it went while its item was claimed
                await self._give_back(one)
        return len(dispatched)

    async def _claim(self, chosen: Sequence[Dispatch]) -> list[Dispatched]:
        return await self._database.write(lambda tx: operations.dispatch(tx, chosen, self.name))

    async def _choose(self, name: str, chosen: list[Dispatch], reserved: dict[str, int]) -> None:
        """Find connections for the waiting items of a name, most urgent and oldest first (WC-6)."""
        place, looked_at = store.Place(), 0
        now = self._database.clock.now()
        while looked_at < MAX_LOOKED_AT and self._any_free(name, reserved):
            async with self._database.read() as connection:
                found, place = await store.waiting(connection, QUEUES + name, place, now, PAGE)
            for task in found:
                worker_id = self._worker_for(task, reserved)
                if worker_id is not None:
                    reserved[worker_id] = reserved.get(worker_id, 0) + 1
                    chosen.append(Dispatch(task.task_id, worker_id))
            looked_at += len(found)
            if len(found) < PAGE:
                return

    def _worker_for(self, task: Task, reserved: dict[str, int]) -> str | None:
        attrs, name = attrs_of(task.tags), name_of(task)
        found = self._free_for(name, attrs, reserved, spillover=may_spill(task))
        if found is None:
            return None
        connection, keys = found
        elsewhere = specificity(self._others, name, attrs)
        if elsewhere is not None and elsewhere > keys and not self._waited(task.task_id):
            return None
        self._deferred.pop(task.task_id, None)
        return connection.worker_id

    def _free_for(
        self, name: str, attrs: dict[str, str], reserved: dict[str, int], *, spillover: bool
    ) -> tuple[Connection, int] | None:
        """The connection for such an item, and how specific it is; None while the item waits (WC-4)."""
        for keys, fitting in self._tiers_of(name, attrs):
            connection = least_busy(
                (one, len(one.in_flight) + reserved.get(one.worker_id, 0), one.capacity) for one in fitting
            )
            if connection is not None:
                return connection, keys
            if not spillover:
                return None
        return None

    def _tiers_of(self, name: str, attrs: dict[str, str]) -> list[tuple[int, list[Connection]]]:
        """Who takes such an item. Known until a connection comes, goes or takes others: many are equal."""
        key = name, frozenset(attrs.items())
        found = self._tiers.get(key)
        if found is None:
            if len(self._tiers) >= MAX_TIERS:
                self._tiers.clear()
            present = [(one, one.descriptions) for one in self.connections.values() if not one.draining]
            found = self._tiers[key] = tiers(present, name, attrs)
        return found

    def _waited(self, task_id: str) -> bool:
        """Whether the item has waited long enough for a more specific worker elsewhere."""
        now = asyncio.get_running_loop().time()
        if len(self._deferred) > MAX_LOOKED_AT:
            self._deferred.clear()
        return now >= self._deferred.setdefault(task_id, now + DEFERRED_SECONDS)

    def _any_free(self, name: str, reserved: dict[str, int]) -> bool:
        return any(
            not connection.draining
            and len(connection.in_flight) + reserved.get(worker_id, 0) < connection.capacity
            and any(one.name == name for one in connection.descriptions)
            for worker_id, connection in self.connections.items()
        )

    def _deliver(self, one: Dispatched) -> None:
        connection = self.connections.get(one.worker_id)
        task, run = one.task, one.task.runs[-1]
        if connection is None or run.taken_until is None:
            return
        item = InFlight(
            task_id=task.task_id,
            run_id=run.run_id,
            task_queue_id=task.task_queue_id,
            name=one.terms.name,
            attrs=attrs_of(task.tags),
            data=one.terms.data,
            deadline=task.deadline,
            taken_until=run.taken_until,
            retries_used=task.retries - task.retries_left,
        )
        connection.in_flight[task.task_id] = item
        connection.send(
            {
                "task_id": item.task_id,
                "task_name": item.name,
                "data": item.data,
                "attrs": item.attrs,
                "run_id": item.run_id,
                "deadline": format_time(item.taken_until),
            }
        )

    async def _give_back(self, one: Dispatched) -> None:
        runs = {one.task.task_id: one.task.runs[-1].run_id}
        await self._database.write(
            lambda tx: operations.give_back(tx, runs, self.name, one.worker_id, "worker-shutdown")
        )
        self.stir()

    # ---- what goes on beside --------------------------------------------------------------------------

    async def _check(self) -> None:
        await asyncio.sleep(CHECK_SECONDS)
        await self.check_once()

    async def check_once(self) -> None:
        """Forget items in flight that their connections do not have any more: expired, cancelled, ended."""
        held = [
            (connection, item)
            for connection in self.connections.values()
            for item in connection.in_flight.values()
        ]
        for start in range(0, len(held), PAGE):
            part = held[start : start + PAGE]
            async with self._database.read() as reading:
                found = await tasks.get(reading, [item.task_id for _, item in part])
            for connection, item in part:
                task = found.get(item.task_id)
                run = task.last_run if task is not None else None
                if run is None or (run.run_id, run.state, run.worker_id) != (
                    item.run_id,
                    "running",
                    connection.worker_id,
                ):
                    ended = task.runs[item.run_id] if task and len(task.runs) > item.run_id else None
                    self._forget(connection, item, (ended and ended.reason_resolved) or "not-running")

    def _forget(self, connection: Connection, item: InFlight, reason: ExceptionReason | str) -> None:
        if connection.in_flight.get(item.task_id) is not item:
            return
        del connection.in_flight[item.task_id]
        if connection.protocol == V2:
            facts = {"task_id": item.task_id, "run_id": item.run_id, "reason": reason}
            connection.send({"kind": "cancel", **facts})
        self._freed(connection)

    def _freed(self, connection: Connection) -> None:
        """A slot is free, or another item fits; a connection that drains and has nothing is done."""
        self.stir()
        if connection.draining and not connection.in_flight:
            connection.close(1000, "drained")

    async def _renew(self) -> None:
        """Say that the connections are there, and take over from gateways that are not (WI-3)."""
        await self._advertise()
        await self.read_others()
        while await self._database.write(operations.take_over):
            self.stir()
        await asyncio.sleep(RENEW_SECONDS)

    async def _advertise(self) -> None:
        if not self.connections and not self._told:
            return
        told = self._told = self._descriptions()

        async def script(tx: Tx) -> None:
            await store.renew(tx, self.name, told, LEASE)
            tx.announce(TopicStirred(TOPIC))

        await self._database.write(script)

    async def read_others(self) -> None:
        """Learn what workers of other gateways take."""
        if self._database.is_sqlite:
            return
        async with self._database.read() as connection:
            found = await store.others(connection, self.name, self._database.clock.now())
        self._others = [
            Description(name, {key: frozenset(values) for key, values in filters.items()})
            for name, filters in found
        ]

    def _descriptions(self) -> list[Any]:
        return [one for connection in self.connections.values() for one in _told(connection)]

    def _on_signal(self, signal: Signal) -> None:
        match signal:
            case QueueFilled(task_queue_id) if task_queue_id.startswith(QUEUES):
                self.stir()
            case TopicStirred("work"):
                self._tasks_of_others()
            case _:
                pass

    def _tasks_of_others(self) -> None:
        if self._tasks and not self._database.is_sqlite:
            reading = asyncio.create_task(_quietly(self.read_others()), name="gateways")
            self._answers.add(reading)
            reading.add_done_callback(self._answers.discard)


def _told(connection: Connection) -> list[Any]:
    """What a connection takes, as others are told it."""
    if connection.draining:
        return []
    return [
        (one.name, {key: sorted(values) for key, values in one.filter.items()})
        for one in connection.descriptions
    ]


def _error(code: str, message: str, task_id: str | None = None) -> dict[str, Any]:
    named = {} if task_id is None else {"task_id": task_id}
    return {"kind": "error", "code": code, "message": message, **named}


async def _quietly(work: Any) -> None:
    try:
        await work
    except StoreUnavailable as error:
        logger.warning("other gateways are not known now", reason=str(error))


async def _again_and_again(work: Any) -> None:
    while True:
        try:
            await work()
        except StoreUnavailable as error:
            logger.warning("attached work waits for the database", reason=str(error))
            await asyncio.sleep(1)
        except Exception:
            logger.exception("attached work failed; it goes on")
            await asyncio.sleep(1)

"""The gateway of one process: its connections, and who of them gets which item.

It claims through the queue, so no two gateways ever have the same run (WI-1). What it remembers of an item in
flight is only to free the connection's slot and to refuse stale answers; the queue decides everything.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import structlog

from queue_service.core import transitions
from queue_service.core.errors import QueueError
from queue_service.core.task import Task
from queue_service.features.jobs.secrets import Secrets
from queue_service.features.worker_socket import answers, operations, presence, store
from queue_service.features.worker_socket.answers import Answers, Jitter
from queue_service.features.worker_socket.choosing import DEFERRED_SECONDS, Choice, Deferred, Waiting, Workers
from queue_service.features.worker_socket.connection import V2, Connection, InFlight
from queue_service.features.worker_socket.items import QUEUES, attrs_of, may_spill, name_of
from queue_service.features.worker_socket.operations import Dispatch, Dispatched
from queue_service.features.worker_socket.presence import Presence
from queue_service.features.worker_socket.protocol import error_frame
from queue_service.features.worker_socket.reports import Reports
from queue_service.features.worker_socket.typed import job_members
from queue_service.features.worker_socket.watch import Watch
from queue_service.operations.tasks import Rule
from queue_service.secret_key import NoSecretKey
from queue_service.store import tasks
from queue_service.store.database import Database, StoreUnavailable, Tx
from queue_service.store.signals import QueueFilled, Signal, TopicStirred
from schemas.times import format_time

logger = structlog.get_logger(__name__)

PAGE: Final = 200
MAX_LOOKED_AT: Final = 10_000
"""Waiting items of a name that one pass looks at."""
LOOK_AGAIN_SECONDS: Final = 5.0


class Gateway:
    """Hands items out. ``gateway`` is the workerGroup of its connections, unlike any other's."""

    def __init__(self, database: Database, gateway: str, secrets: Secrets, *, jitter: Jitter) -> None:
        self.name = gateway
        self.answers = Answers(database)
        self.reports = Reports(database, gateway)
        self.settled = asyncio.Event()
        """Set after every pass that had nothing left to do; for tests."""
        self._database = database
        self._secrets = secrets
        self._jitter = jitter
        self._stirred = asyncio.Event()
        self._presence = Presence(database, gateway)
        self._workers = Workers(self._presence.connections)
        self._watch = Watch(database, self.reports, self._forget)
        self._deferred = Deferred()
        self._left = True
        """Whether items may wait that somebody who is present takes."""
        self._drains = False
        self._emptied = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._reading: set[asyncio.Task[None]] = set()
        database.subscribe(self._on_signal)

    @property
    def connections(self) -> Mapping[str, Connection]:
        """By their worker ids, in the order of their attaching."""
        return self._presence.connections

    # ---- life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        for work in (self._hand_out, self._watch.check, self._watch.follow, self._renew):
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
        self._workers.changed()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _quietly(self._presence.advertise())
                while self.connections:
                    self._emptied.clear()
                    await self._emptied.wait()

    async def stop(self) -> None:
        """Give back what the connections have, and leave."""
        running, self._tasks = [*self._tasks, *self._reading], []  # without them, no signal begins anything
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for connection in list(self.connections.values()):
            connection.close(1001, "the gateway stops")
            await self.detach(connection, "gateway-stopped")
        await self.answers.written(timeout=answers.STOP_SECONDS)
        await self.reports.close()
        await self._presence.sign_off()

    def stir(self) -> None:
        """Something may be handed out now."""
        self.settled.clear()
        self._stirred.set()

    # ---- connections ----------------------------------------------------------------------------------

    async def attach(self, connection: Connection) -> None:
        """Begin to give items to a connection. Raises StoreUnavailable."""
        await self._presence.attach(connection)
        connection.draining = self._drains
        self._workers.changed()
        self.stir()
        self._freed(connection)

    async def redescribe(self, connection: Connection) -> None:
        """The connection takes other items now, or none; those under way stay."""
        self._workers.changed()
        self.stir()
        self._freed(connection)
        await self._presence.advertise()

    async def detach(self, connection: Connection, reason: str) -> None:
        """Forget a connection; what it has goes back in one transaction, to others at once (WL-1)."""
        if self._presence.connections.pop(connection.worker_id, None) is None:
            return
        if not self.connections:
            self._emptied.set()
        self._workers.changed()
        runs = {item.task_id: item.run_id for item in connection.in_flight.values()}
        for item in list(connection.in_flight.values()):
            self._drop(connection, item)
        try:
            await self._presence.detach(
                connection,
                reason,
                lambda tx: operations.give_back(tx, runs, self.name, connection.worker_id, "worker-shutdown"),
            )
        except StoreUnavailable as error:
            logger.warning("a lost worker's items wait for their claims to expire", reason=str(error))
        self.stir()

    # ---- answers --------------------------------------------------------------------------------------

    @property
    def stale_results(self) -> int:
        """Answers for items that the connection did not have."""
        return self.answers.stale

    def item_of(self, connection: Connection, task_id: str, run_id: int | None) -> InFlight | None:
        """The item, when the connection holds its run now; counted as stale otherwise (WR-4)."""
        item = connection.in_flight.get(task_id)
        if item is not None and run_id in (None, item.run_id):
            return item
        self.answers.stale += 1
        logger.info("an answer for an item that the worker does not have", task_id=task_id)
        return None

    def done(self, connection: Connection, item: InFlight, output: Any) -> None:
        """The worker has done the item."""
        self._answer(connection, item, answers.done(item, output, self._jitter))

    def failed(self, connection: Connection, item: InFlight, error: str) -> None:
        """The worker says that the item failed."""
        self._answer(connection, item, answers.failed(item, error, self._jitter))

    def snooze(self, connection: Connection, item: InFlight, wait: timedelta) -> None:
        """The worker puts the item off."""
        self._answer(connection, item, answers.snoozed(item, wait))

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
            connection.send(error_frame("Unavailable", str(error), item.task_id))
            return
        item.taken_until = until
        facts = {"task_id": item.task_id, "run_id": item.run_id, "taken_until": format_time(until)}
        connection.send({"kind": "extended", **facts})

    def _answer(self, connection: Connection, item: InFlight, rule: Rule) -> None:
        """Free the slot at once, so that a second answer is stale; write the answer down beside."""
        self._drop(connection, item)
        self._freed(connection)
        told = None if item.job is None else self.reports.written(connection, item)
        self.answers.take(item, rule, after=told)

    def _drop(self, connection: Connection, item: InFlight) -> None:
        connection.in_flight.pop(item.task_id, None)
        self._watch.end(item)

    # ---- handing out ----------------------------------------------------------------------------------

    async def _hand_out(self) -> None:
        """Hand out until nothing is left to do, then wait for a reason to look again.

        No pause between: what arrives during a pass is what the next one shares a transaction for.
        """
        self._stirred.clear()
        dispatched = await self.run_once()
        if not (dispatched and self._left) and not self._stirred.is_set():
            self.settled.set()
            deferred = DEFERRED_SECONDS if self._deferred else LOOK_AGAIN_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(deferred):
                    await self._stirred.wait()

    async def run_once(self) -> int:
        """Hand out what waits and fits; how many items that was. Raises StoreUnavailable."""
        self._left = True  # until it is known: a slot that becomes free meanwhile is a reason to look again
        now = asyncio.get_running_loop().time()
        choice = Choice(
            self._workers, self._presence.elsewhere, lambda task_id: self._deferred.waited(task_id, now)
        )
        chosen: list[Dispatch] = []
        left = False
        for name in self._workers.names():
            left |= await self._choose(name, choice, chosen)
        dispatched: list[Dispatched] = []
        for start in range(0, len(chosen), PAGE):
            dispatched += await self._claim(chosen[start : start + PAGE])
        for one in dispatched:
            self._deliver(one)
        for one in dispatched:
            if one.worker_id not in self.connections:  # it went while its item was claimed
                await self._give_back(one)
        self._left = left or len(dispatched) < len(chosen)
        return len(dispatched)

    async def _claim(self, chosen: Sequence[Dispatch]) -> list[Dispatched]:
        return await self._database.write(lambda tx: operations.dispatch(tx, chosen, self.name))

    async def _choose(self, name: str, choice: Choice, chosen: list[Dispatch]) -> bool:
        """Find connections for the waiting items of a name, most urgent and oldest first (WC-6).

        Whether some may be left.
        """
        place, looked_at, left = store.Place(), 0, False
        now = self._database.clock.now()
        while looked_at < MAX_LOOKED_AT and choice.room(name):
            async with self._database.read() as connection:
                found, place = await store.waiting(connection, QUEUES + name, place, now, PAGE)
            for task in found:
                worker_id = choice.worker_for(_waiting(task))
                if worker_id is None:
                    left = True
                else:
                    self._deferred.forget(task.task_id)
                    chosen.append(Dispatch(task.task_id, worker_id))
            looked_at += len(found)
            if len(found) < PAGE:
                return left
        return True

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
        frame = {
            "task_id": item.task_id,
            "task_name": item.name,
            "data": item.data,
            "attrs": item.attrs,
            "run_id": item.run_id,
            "deadline": format_time(item.taken_until),
        }
        if connection.protocol == V2:
            item.job = one.job
        self._watch.begin(connection, item)
        if item.job is not None:
            try:
                frame |= job_members(item.job, one.terms.params, self._secrets)
            except (QueueError, NoSecretKey) as error:
                self.failed(connection, item, str(error))
                return
        connection.send(frame)

    async def _give_back(self, one: Dispatched) -> None:
        runs = {one.task.task_id: one.task.runs[-1].run_id}
        await self._database.write(
            lambda tx: operations.give_back(tx, runs, self.name, one.worker_id, "worker-shutdown")
        )
        self.stir()

    # ---- what goes on beside --------------------------------------------------------------------------

    async def check_once(self) -> None:
        """Compare what the connections have with the queue. Raises StoreUnavailable."""
        await self._watch.check_once()

    def _forget(self, connection: Connection, item: InFlight, reason: str) -> None:
        if connection.in_flight.get(item.task_id) is not item:
            return
        self._drop(connection, item)
        if connection.protocol == V2:
            facts = {"task_id": item.task_id, "run_id": item.run_id, "reason": reason}
            connection.send({"kind": "cancel", **facts})
        self._freed(connection)

    def _freed(self, connection: Connection) -> None:
        """A slot is free, for what waits; a connection that drains and has nothing is done."""
        if self._left:
            self.stir()
        if connection.draining and not connection.in_flight:
            connection.close(1000, "drained")

    async def _renew(self) -> None:
        """Say that the connections are there, and take over from gateways that are not (WI-3)."""
        await self._presence.advertise()
        await self._presence.read_others()
        while await self._database.write(operations.take_over):
            self.stir()
        await asyncio.sleep(presence.RENEW_SECONDS)

    def _on_signal(self, signal: Signal) -> None:
        match signal:
            case QueueFilled(task_queue_id) if task_queue_id.startswith(QUEUES):
                self.stir()
            case TopicStirred(presence.TOPIC):
                self._tasks_of_others()
            case TopicStirred():
                self._watch.stir(signal)
            case _:
                pass

    def _tasks_of_others(self) -> None:
        if self._tasks and not self._database.is_sqlite:
            reading = asyncio.create_task(_quietly(self._presence.read_others()), name="gateways")
            self._reading.add(reading)
            reading.add_done_callback(self._reading.discard)


def _waiting(task: Task) -> Waiting:
    return Waiting(task.task_id, name_of(task), attrs_of(task.tags), may_spill(task))


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

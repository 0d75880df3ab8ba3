"""A life: servers, clients, workers and faults on one scheduler, from the first call until all is over."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import Random
from typing import Any, Final

from queue_service import faults
from queue_service.store.signals import Signal
from schemas.times import from_ms, to_ms
from tests.simulation.broker import SimulatedBroker
from tests.simulation.calls import UNAVAILABLE, Reply, Request
from tests.simulation.clients import Clients
from tests.simulation.disk import Disk
from tests.simulation.history import Open
from tests.simulation.judge import Judge
from tests.simulation.logs import watched
from tests.simulation.model import Model, Numbers, ms
from tests.simulation.plan import LIFE_SECONDS, Action, Plan, slug
from tests.simulation.scheduler import Scheduler, SimulatedLoop
from tests.simulation.server import LIMITS, LONG_POLL, Server

START_MS: Final = to_ms(datetime.fromisoformat("2024-05-01T12:00:00Z"))
NUMBERS: Final = Numbers(
    claim_timeout=LIMITS.claim_timeout.seconds * 1000,
    deadline_delay=LIMITS.deadline_delay.seconds * 1000,
    expiry_grace=LIMITS.expiry_grace.seconds * 1000,
    drift=LIMITS.drift.seconds * 1000,
    max_deadline=LIMITS.max_deadline.days * 86_400_000,
)
ATTEMPTS: Final = 5
PATIENT: Final = ("claim_work", "pop_members")
"""Calls that wait for work; who gets no reply asks anew another time."""
RECOVERY_SECONDS: Final = 125.0
"""After the last fault: the longest pause of a loop, twice, and some seconds of work."""


class SimulatedCrash(BaseException):
    """The process dies here."""


@dataclass(frozen=True)
class Outcome:
    """What came of a life."""

    violations: tuple[str, ...]
    steps: int
    faults: Counter[str]
    trace: int
    """A number that is equal when everything went equally."""


class Clock:
    """The wall clock: it may jump, time itself does not."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.offset = 0.0

    def ms(self) -> int:
        return START_MS + int((self._scheduler.now + self.offset) * 1000)

    def now(self) -> datetime:
        return from_ms(self.ms())


class World:
    """Lives one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.random = Random(plan.seed + 1)
        self.scheduler = Scheduler()
        self.clock = Clock(self.scheduler)
        self.faults: Counter[str] = Counter()
        self.broker = SimulatedBroker(self.scheduler, self.random)
        self.disk = Disk(self.random, self.clock.ms, self._committed)
        self.judge = Judge(Model(NUMBERS), self.disk.raw, self.clock.ms, lambda: self.scheduler.now)
        self.servers: list[Server | None] = [None] * plan.processes
        self._started = 0
        self._armed: str | None = None
        self._armed_down = 0.0
        self._killing = False
        self._replies_lost = False
        self._calls: dict[Server, dict[Open, None]] = {}
        ids = Random(plan.seed + 2)
        task_ids = [slug(ids) for _ in range(100)]
        self._clients = Clients(task_ids, self.scheduler, self.clock.ms, self._send)
        self._trace = 0

    # ---- a life ---------------------------------------------------------------------------------------

    def live(self) -> Outcome:
        """Everything until the end, or until the first violation."""
        with watched(self._logged), self._points():
            self._live()
        for name in ("lost_messages", "lost_confirms", "nacks"):
            self.faults[name.replace("_", " ")] += getattr(self.broker, name)
        return Outcome(tuple(self.judge.history.violations), self.scheduler.steps, +self.faults, self._trace)

    @contextmanager
    def _points(self) -> Iterator[None]:
        """Here ``faults.point`` is ours."""
        before, faults.point = faults.point, self._point
        try:
            yield
        finally:
            faults.point = before

    def _live(self) -> None:
        try:
            for place in range(len(self.servers)):
                self._start(place)
            for action in self.plan.actions:
                self.scheduler.after(action.at, self._act, action)
            self._pass(LIFE_SECONDS)
            self._heal()
            self._recover()
        finally:
            for server in self.servers:
                if server is not None:
                    self._kill(server)
            self.disk.close()

    def _pass(self, seconds: float) -> None:
        end = self.scheduler.now + seconds
        while self.scheduler.now < end and not self.judge.history.violations:
            self.scheduler.run_until(min(end, self.scheduler.now + 10))

    def _recover(self) -> None:
        """All faults are over: whatever was promised must come true now, in bounded time."""
        judge = self.judge.history
        self._pass(RECOVERY_SECONDS)
        self._clients.resume()
        self._pass(5.0)
        for _ in range(4):
            probed = self.scheduler.now
            self._clients.drain(members="set" in judge.open)
            self._pass(5.0)
        if judge.violations:
            return
        for task_id in judge.in_line(since=probed):
            judge.violated(f"{task_id} is pending, and no worker can get it")
        now = self.clock.ms()
        for task_id, life in judge.lives.items():
            state = life.state
            if state is None or state.deadline <= now:
                continue
            if state.available_at is not None and state.available_at < now - 5000:
                judge.violated(f"{task_id} is due, and goes on waiting")
            waits = life.waits_for or state.wishes.held or state.available_at is not None
            if state.name == "unscheduled" and not waits:
                judge.violated(f"{task_id} waits for nothing and is not scheduled")
        for member_id, member in self.judge.worksets.members.items():
            if not member.dead and member.free_at < now - 5000:
                judge.violated(f"{member_id} is free, and no consumer can get it")
        for stuck in self.judge.triggers.stuck(now - 5000):
            judge.violated(stuck)
        self._clients.delete_triggers()
        self._pass(5.0)
        last = max((ms(life.definition["deadline"]) for life in judge.lives.values()), default=now)
        end = self.scheduler.now + max(last - now + NUMBERS.deadline_delay, 0) / 1000 + RECOVERY_SECONDS
        while self.scheduler.now < end and not judge.violations and self._something_open():
            self._pass(10.0)
        if judge.violations:
            return
        for stuck in judge.stuck("unscheduled", "pending", "running"):
            judge.violated(f"never ended: {stuck}")
        (waiting,) = self.disk.raw.execute("SELECT count(*) FROM outbox").fetchone()
        if waiting:
            judge.violated(f"{waiting} messages wait in the outbox for ever")
        self.judge.told(self.broker.queue)

    def _something_open(self) -> bool:
        tables = self.disk.raw.execute(
            "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM resolutions)"
        )
        return bool(self.judge.history.stuck("unscheduled", "pending", "running") or tables.fetchone()[0])

    # ---- processes ------------------------------------------------------------------------------------

    def _start(self, place: int) -> None:
        if self.servers[place] is None:
            self._started += 1
            self.servers[place] = Server(
                f"server-{self._started}",
                self.scheduler,
                self.disk,
                self.broker,
                self.clock,
                self._unexpected,
                self.random.random,
                partial(slug, self.random),
                self._tell_others if len(self.servers) > 1 else None,
            )

    def _tell_others(self, sender: Server, signal: Signal) -> None:
        """Signals between processes take a moment, and some get lost."""
        for server in self.servers:
            if server is not None and server is not sender and self.random.random() < 0.9:
                self.scheduler.after(self.random.expovariate(100), server.hear, signal)

    def _crash(self, down: float, place: int | None = None) -> None:
        place = self.random.randrange(len(self.servers)) if place is None else place
        server = self.servers[place]
        if server is None:
            return
        self.faults["crash"] += 1
        self.servers[place] = None
        self._kill(server)
        for call in self._calls.pop(server, ()):
            self.judge.history.ended(call)
            call.on_death()
        self._disturb(down)
        self.scheduler.after(down, self._start, place)

    def _kill(self, server: Server) -> None:
        self._killing = True
        server.kill()
        self._killing = False

    def _point(self, name: str) -> None:
        """What ``faults.point`` does in a simulation."""
        if self._armed == name and not self._killing:
            self._armed = None
            self.faults[f"crash at {name}"] += 1
            loop = asyncio.get_running_loop()
            for place, server in enumerate(self.servers):
                if server is not None and server.loop is loop:
                    server.loop.killed = True  # nothing it does from here on has an effect
                    self.disk.forget(server)
                    self.scheduler.after_steps(0, lambda place=place: self._crash(self._armed_down, place))
            raise SimulatedCrash

    def _unexpected(self, error: BaseException) -> None:
        self.judge.history.violated(f"a call failed: {error!r}")

    def _logged(self, text: str) -> None:
        loop = asyncio._get_running_loop()
        if not (self._killing or (isinstance(loop, SimulatedLoop) and loop.killed)):
            self.judge.history.violated(f"the service logged an error: {text}")

    def _committed(self, now: int) -> None:
        self._trace = hash((self._trace, self.scheduler.steps, now))
        self.judge.committed(now)

    # ---- what happens ---------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        if not self._clients.act(action):
            self._fault(action.kind, action.facts)

    def _fault(self, kind: str, facts: dict[str, Any]) -> None:
        seconds = facts.get("seconds", 0.0)
        if not kind.startswith("crash"):
            self.faults[kind] += 1
        self._disturb(seconds if kind != "clock jumps" else 0.0)
        match kind:
            case "crash":
                self.scheduler.after_steps(facts["steps"], lambda: self._crash(facts["down"]))
            case "crash at point":
                self._armed, self._armed_down = facts["point"], facts["down"]
            case "freeze":
                server = self.random.choice(self.servers)
                if server is not None:
                    server.loop.freeze()
                    self.scheduler.after(seconds, server.loop.thaw)
            case "broker away":
                self.broker.away = True
                self.broker.cut()
                self.scheduler.after(seconds, self._set, self.broker, "away", False)
            case "broker cut":
                self.broker.cut()
            case "nacks":
                self.broker.nack_share = facts["share"]
                self.scheduler.after(seconds, self._set, self.broker, "nack_share", 0.0)
            case "database refuses":
                self.disk.refusal = facts["moment"]
                self.scheduler.after(seconds, self._set, self.disk, "refusal", None)
            case "clock jumps":
                self.clock.offset += seconds
            case "replies lost":
                self._replies_lost = True
                self.scheduler.after(seconds, self._set, self, "_replies_lost", False)

    def _set(self, holder: object, name: str, value: object) -> None:
        setattr(holder, name, value)

    def _disturb(self, seconds: float) -> None:
        """Something is out of order for so long; loops may need their longest pause to come back."""
        self.judge.history.calm_since = max(self.judge.history.calm_since, self.scheduler.now + seconds + 65)

    def _heal(self) -> None:
        self._armed = None
        self.scheduler.no_alarm()
        self.broker.away, self.broker.nack_share = False, 0.0
        self.disk.refusal = None
        self._replies_lost = False
        for place in range(len(self.servers)):
            self._start(place)
            server = self.servers[place]
            assert server is not None
            server.loop.thaw()

    # ---- calls ----------------------------------------------------------------------------------------

    def _send(
        self,
        request: Request,
        then: Callable[[Reply], None] | None = None,
        leaves: float = 0.0,
        attempt: int = 1,
    ) -> None:
        """Call some server; again when no reply comes. ``leaves``: the client hangs up after so long."""
        scheduler = self.scheduler
        server = self.random.choice(self.servers)

        def again() -> None:
            if attempt < ATTEMPTS and request.method not in PATIENT:
                repeat = partial(self._send, attempt=attempt + 1)
                scheduler.after(self.random.uniform(0.1, 8.0), repeat, request, then, leaves)

        def arrive() -> None:
            if server is None or server.dead:
                again()
                return
            call = self.judge.history.opened(request)
            calls = self._calls.setdefault(server, {})
            calls[call] = None
            hung_up = server.loop.create_future()
            began = scheduler.now

            def hang_up() -> None:
                call.gone = True
                if not hung_up.done():
                    hung_up.set_result(None)

            if leaves:
                scheduler.after(leaves, hang_up)

            def answered(reply: Reply) -> None:
                del calls[call]
                left = hung_up.done()
                if request.method in PATIENT and reply.error is None and not _got(reply):
                    if left:
                        return  # what was under way for it may still be committed
                    if request.method == "claim_work" and scheduler.now - began > LONG_POLL - 1:
                        self.judge.replies.waited_in_vain(request)
                self.judge.answered(call, reply)
                lost = self._replies_lost or left or (reply.error == UNAVAILABLE)
                if lost:
                    again()
                elif then is not None:
                    scheduler.after(self.random.expovariate(100), then, reply)

            server.call(request, lambda: _wait(hung_up), answered)
            call.on_death = again

        scheduler.after(self.random.expovariate(100), arrive)


async def _wait(future: "asyncio.Future[None]") -> None:
    await asyncio.shield(future)


def _got(reply: Reply) -> bool:
    """Whether a call that waits for work got some."""
    return bool(reply.body.get("tasks") or reply.body.get("members"))

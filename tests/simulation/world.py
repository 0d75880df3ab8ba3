"""A life: servers, clients, workers and faults on one scheduler, from the first call until all is over."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Final

from queue_service import faults
from queue_service.store.signals import Signal
from schemas.times import format_time, from_ms, to_ms
from tests.simulation.broker import SimulatedBroker
from tests.simulation.calls import UNAVAILABLE, Reply, Request
from tests.simulation.disk import Disk
from tests.simulation.history import Open
from tests.simulation.judge import Judge
from tests.simulation.logs import watched
from tests.simulation.model import Model, Numbers, ms
from tests.simulation.plan import LIFE_SECONDS, QUEUES, Action, Plan, slug
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
        self._task_ids = [slug(ids) for _ in range(100)]
        self._definitions: dict[int, dict[str, Any]] = {}
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
        for _ in range(4):
            for queue_id in QUEUES:
                self._work({"worker": "p/probe", "queue": queue_id, "wanted": 32, "leaves": 0.0,
                            "conduct": ((0.1, "completed"),)})  # fmt: skip
            self._pass(5.0)
        if judge.violations:
            return
        now = self.clock.ms()
        for task_id, life in judge.lives.items():
            if life.state is None or life.state.deadline <= now:
                continue
            if life.state.name == "pending":
                judge.violated(f"{task_id} is pending, and no worker can get it")
            if life.state.name == "unscheduled" and not life.waits_for:
                judge.violated(f"{task_id} waits for nothing and is not scheduled")
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
        self.judge.deliveries.judge(self.broker.queue)

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
        self.judge.commits.committed(now)

    # ---- what happens ---------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        facts = action.facts
        match action.kind:
            case "create":
                self._create(facts)
            case "work":
                self._work(facts)
            case "call":
                task_id = self._task_ids[facts["task"]]
                request = Request(facts["method"], task_id=task_id, run_id=facts.get("run"),
                                  worker=facts.get("worker"), word=facts.get("priority"))  # fmt: skip
                self._send(request, self._claimed_by_id(facts, request))
            case "group call":
                group_id = self._task_ids[facts["group"]]
                self._send(Request(facts["method"], group_id=group_id, word=facts.get("priority")))
            case _:
                self._fault(action.kind, facts)

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

    # ---- clients --------------------------------------------------------------------------------------

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
            if attempt < ATTEMPTS and request.method != "claim_work":
                scheduler.after(self.random.uniform(0.1, 8.0), self._send, request, then, leaves, attempt + 1)

        def arrive() -> None:
            if server is None or server.dead:
                again()
                return
            call = self.judge.history.opened(request)
            calls = self._calls.setdefault(server, {})
            calls[call] = None
            hung_up = server.loop.create_future()
            began = scheduler.now
            if leaves:
                scheduler.after(leaves, lambda: hung_up.done() or hung_up.set_result(None))

            def answered(reply: Reply) -> None:
                del calls[call]
                left = hung_up.done()
                if request.method == "claim_work" and reply.error is None and not reply.body["tasks"]:
                    if left:
                        return  # what was under way for it may still be committed
                    if scheduler.now - began >= LONG_POLL:
                        self.judge.replies.waited_in_vain(request)
                self.judge.replies.answered(call, reply)
                lost = self._replies_lost or left or (reply.error == UNAVAILABLE)
                if lost:
                    again()
                elif then is not None:
                    scheduler.after(self.random.expovariate(100), then, reply)

            server.call(request, lambda: _wait(hung_up), answered)
            call.on_death = again

        scheduler.after(self.random.expovariate(100), arrive)

    def _create(self, facts: dict[str, Any]) -> None:
        number = facts["task"]
        definition = self._definitions.setdefault(number, self._definition(number, facts))
        request = Request("create_task", task_id=self._task_ids[number], definition=definition)
        self._send(request)
        if facts["again"]:
            self.scheduler.after(facts["again"], self._send, request)

    def _definition(self, number: int, facts: dict[str, Any]) -> dict[str, Any]:
        now = self.clock.ms()
        deadline = now + facts["deadline"] * 1000
        expires = deadline + facts["expires"] * 1000 if facts["expires"] else deadline + 86_400_000
        return {
            "taskQueueId": facts["queue"],
            "schedulerId": "sim",
            "taskGroupId": self._task_ids[facts["group"]],
            "dependencies": [self._task_ids[needed] for needed in facts["needs"]],
            "requires": facts["requires"],
            "priority": facts["priority"],
            "retries": facts["retries"],
            "created": format_time(from_ms(now)),
            "deadline": format_time(from_ms(deadline)),
            "expires": format_time(from_ms(expires)),
            "payload": {},
            "metadata": {"name": "n", "description": "d", "owner": "o", "source": "https://example.com"},
        }

    # ---- workers --------------------------------------------------------------------------------------

    def _work(self, facts: dict[str, Any]) -> None:
        request = Request(
            "claim_work", queue_id=facts["queue"], worker=facts["worker"], wanted=facts["wanted"]
        )

        def claimed(reply: Reply) -> None:
            for claim in reply.body.get("tasks", ()) if reply.error is None else ():
                self._behave(claim["status"]["taskId"], claim["runId"], facts["conduct"])

        self._send(request, claimed, facts["leaves"])

    def _claimed_by_id(self, facts: dict[str, Any], request: Request) -> Callable[[Reply], None] | None:
        if request.method != "claim_task":
            return None

        def claimed(reply: Reply) -> None:
            if reply.error is None:
                self._behave(request.task_id or "", request.run_id or 0, facts["conduct"])

        return claimed

    def _behave(self, task_id: str, run_id: int, conduct: tuple[tuple[float, str], ...]) -> None:
        """Do one thing after the other with a run, each so long after the one before."""
        delay = 0.0
        for pause, word in conduct:
            delay += pause
            match word:
                case "reclaim":
                    request = Request("reclaim_task", task_id=task_id, run_id=run_id)
                case "completed" | "failed":
                    request = Request(f"report_{word}", task_id=task_id, run_id=run_id)
                case _:
                    request = Request("report_exception", task_id=task_id, run_id=run_id, word=word)
            self.scheduler.after(delay, self._send, request)


async def _wait(future: "asyncio.Future[None]") -> None:
    await asyncio.shield(future)

"""One round: load, faults in the middle of it, quiet again; then everything is judged and measured."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from schemas.task import TaskStatus
from taskbus import TaskbusError
from tests.chaos.deployment import CLAIM_TIMEOUT, QUEUE, Deployment
from tests.chaos.faults import Faults
from tests.chaos.judge import Judge
from tests.chaos.listener import Listener
from tests.chaos.load import ENDED, Load, rate
from tests.chaos.plan import Plan
from tests.e2e.history import Heard, copies

WARM_SECONDS: Final = 2.0
WINDOW: Final = 2.0
"""Seconds over which throughput is measured."""
RECOVER_SECONDS: Final = 10.0
ENOUGH: Final = 0.95
"""Of the throughput before the faults."""
SETTLE_SECONDS: Final = 60.0
"""For all tasks to end."""
SILENT_SECONDS: Final = 60.0
"""After so long without any message, what was not heard is lost; late is not lost."""
LOOK: Final = 0.1
CONTEXT: Final = 250
"""Characters."""


@dataclass
class Outcome:
    """What came of a round. ``recovered``: seconds from the end of the faults; None: not in time."""

    plan: Plan
    faults: Counter[str] = field(default_factory=Counter)
    tasks: int = 0
    calls: int = 0
    heard: int = 0
    copies: int = 0
    seconds: float = 0.0
    before: float = 0.0
    after: float = 0.0
    recovered: float | None = None
    violations: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return self.after / max(self.before, 0.001)

    def __str__(self) -> str:
        faults = ", ".join(f"{name} ×{count}" if count > 1 else name for name, count in self.faults.items())
        recovered = "not recovered" if self.recovered is None else f"recovered after {self.recovered:.1f} s"
        throughput = f"{recovered}, {self.before:.0f} → {self.after:.0f} runs/s ({self.ratio:.0%}), "
        return (
            f"seed {self.plan.seed} {self.plan.topology:<6} {self.tasks} tasks, {self.calls} calls, "
            f"{self.heard} messages ({self.copies} copies), {self.seconds:.0f} s, "
            f"{throughput if self.before else ''}{faults or 'nothing'}"
            + (f"; {len(self.violations)} VIOLATIONS" if self.violations else "")
        )


class Round:
    """Plays one plan on a deployment; ``load`` must hear what its workers say.

    Throughput is measured unless ``hurried``.
    """

    def __init__(
        self, plan: Plan, deployment: Deployment, faults: Faults, listener: Listener, *, hurried: bool = False
    ) -> None:
        self.outcome = Outcome(plan)
        self.load = Load(QUEUE, f"round-{plan.seed}-{time.time_ns()}", Random(plan.seed))
        self._deployment = deployment
        self._faults = faults
        self._hurried = hurried
        self._listener = listener
        self._statuses: list[TaskStatus] = []
        self._all_heard: Sequence[Heard] = []
        self._logs: dict[str, str] = {}

    async def play(self) -> Outcome:
        """The whole round; what is wrong is in the outcome."""
        began = time.monotonic()
        creating = asyncio.create_task(self.load.create(self._deployment.root_urls))
        try:
            if self._hurried:
                await asyncio.sleep(WARM_SECONDS)
                await self._hurt()
            else:
                await self._measure_and_hurt()
        finally:
            self.load.stop()
        await creating
        await self._settle()
        self._sum_up(time.monotonic() - began)
        return self.outcome

    def write_history(self, folder: Path) -> Path:
        """Everything that was said, heard and logged, in one file of JSON lines."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.outcome.plan.seed}.jsonl"
        with file.open("w", encoding="utf-8") as lines:
            for violation in self.outcome.violations:
                print(json.dumps({"violation": violation}), file=lines)
            print(json.dumps({"plan": repr(self.outcome.plan)}), file=lines)
            for said in self.load.record.lines:
                print(said.to_json(), file=lines)
            for message in self._all_heard:
                print(json.dumps({"heard": vars(message)}, default=dict), file=lines)
            for status in self._statuses:
                print(json.dumps({"stands": status.to_wire()}), file=lines)
            for name, log in self._logs.items():
                print(json.dumps({"log": name, "lines": log.splitlines()}), file=lines)
        return file

    async def _measure_and_hurt(self) -> None:
        await asyncio.sleep(WARM_SECONDS + WINDOW)
        now = time.time()
        self.outcome.before = rate(self.load.done, now - WINDOW, now)
        await self._hurt()
        ended = time.time()
        while (now := time.time()) < ended + RECOVER_SECONDS:
            await asyncio.sleep(LOOK)
            self.outcome.after = rate(self.load.done, now - WINDOW, now)
            if now - WINDOW >= ended and self.outcome.after >= ENOUGH * self.outcome.before:
                self.outcome.recovered = now - WINDOW - ended
                return

    async def _hurt(self) -> None:
        await asyncio.gather(*map(self._faults.commit, self.outcome.plan.faults))

    async def _settle(self) -> None:
        """Until all tasks have ended and everything was heard, or for long enough."""
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            try:
                self._statuses = await self.load.statuses(self._deployment.root_urls[0])
            except TaskbusError:
                continue
            if all(status.state in ENDED for status in self._statuses):
                break
            await asyncio.sleep(LOOK)
        silent_since = time.monotonic()
        while self._judge().deliveries(self._heard()) and time.monotonic() < silent_since + SILENT_SECONDS:
            if await self._listener.news(timeout=1.0):
                silent_since = time.monotonic()
            await asyncio.sleep(LOOK)

    def _sum_up(self, seconds: float) -> None:
        outcome, judge = self.outcome, self._judge()
        heard = self._all_heard = self._heard()
        self._logs = self._deployment.take_logs()
        outcome.violations += judge.calls() + judge.deliveries(heard)
        outcome.violations += self._faults.violations + tracebacks(self._logs)
        outcome.faults = self._faults.committed
        outcome.tasks, outcome.calls = len(self._statuses), len(self.load.record.answers)
        outcome.heard, outcome.copies, outcome.seconds = len(heard), copies(heard), seconds

    def _judge(self) -> Judge:
        return Judge(self.load.definitions, self._statuses, self.load.record, CLAIM_TIMEOUT)

    def _heard(self) -> Sequence[Heard]:
        """Of this round."""
        scheduler = self.load.scheduler_id
        return [
            message
            for message in self._listener.heard
            if message.body.get("status", message.body).get("schedulerId") == scheduler
        ]


def tracebacks(logs: Mapping[str, str]) -> list[str]:
    """Errors that nobody expected, in the logs of servers."""
    return [
        f"{name} logged: {log[place.start() - CONTEXT : place.start() + 10 * CONTEXT]}"
        for name, log in logs.items()
        if not name.startswith("worker")
        for place in re.finditer("Traceback", log)
    ]

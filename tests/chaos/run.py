"""Many rounds on one PostgreSQL and one RabbitMQ, with what they add up to."""

import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Final, Self

from tests.chaos.backends import Backend, running_postgres, running_rabbitmq
from tests.chaos.deployment import Deployment
from tests.chaos.disk import small_disk
from tests.chaos.faults import Faults
from tests.chaos.listener import Listener, listening
from tests.chaos.plan import Plan
from tests.chaos.record import Said
from tests.chaos.round import Outcome, Round
from tests.e2e.programs import Programs
from tests.events.proxy import Proxy

SHOWN: Final = 500
"""Characters of a violation that are printed; the history has all."""


@dataclass
class Report:
    """``histories``: files of the rounds that broke something."""

    measured: bool = True
    outcomes: list[Outcome] = field(default_factory=list)
    histories: list[Path] = field(default_factory=list)

    @property
    def recovered(self) -> bool:
        """Whether throughput came back in time in more than a half of all rounds; a machine may be noisy."""
        if not self.measured:
            return True
        return 2 * sum(outcome.recovered is not None for outcome in self.outcomes) > len(self.outcomes)

    def __str__(self) -> str:
        if not self.outcomes:
            return "no rounds"
        faults = sum((outcome.faults for outcome in self.outcomes), Counter[str]())
        times = [outcome.recovered for outcome in self.outcomes if outcome.recovered is not None]
        ratios = [outcome.ratio for outcome in self.outcomes]
        return "\n".join(
            (
                f"{len(self.outcomes)} rounds, {sum(o.tasks for o in self.outcomes)} tasks, "
                f"{sum(o.calls for o in self.outcomes)} answers, "
                f"{sum(o.heard for o in self.outcomes)} messages "
                f"({sum(o.copies for o in self.outcomes)} copies), {sum(faults.values())} faults, "
                f"{sum(len(o.violations) for o in self.outcomes)} violations",
                "faults: " + ", ".join(f"{name} {count}" for name, count in sorted(faults.items())),
                f"throughput: back to 95 % within 10 s in {len(times)} of {len(ratios)} rounds; "
                f"seconds until then {_spread(times)}; throughput then against before {_spread(ratios)}"
                if self.measured
                else "throughput: not measured",
                *(f"history: {file}" for file in self.histories),
            )
        )


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ", ".join(f"{value:.2f}" for value in values) or "none"
    tenths = quantiles(values, n=10, method="inclusive")
    return (
        f"{min(values):.2f} / {tenths[0]:.2f} / {median(values):.2f} / {tenths[-1]:.2f} / {max(values):.2f}"
    )


class Chaos:
    """Plays plans one after another; the topology is changed when a plan wants another one.

    ``backends`` and ``links`` to them are called ``database`` and ``broker``; faults need what they hurt.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        links: Mapping[str, Proxy],
        listener: Listener,
        *,
        hurried: bool = False,
    ) -> None:
        self._backends = backends
        self._links = links
        self._listener = listener
        self._hurried = hurried
        self._deployed = AsyncExitStack()
        self._deployment: Deployment | None = None
        self._tell: Callable[[Said], None] = lambda said: None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._deployed.aclose()

    async def play(self, plan: Plan) -> Round:
        """One round, played."""
        if self._deployment is None or self._deployment.topology != plan.topology:
            await self._deploy(plan.topology)
        assert self._deployment is not None
        faults = Faults(self._deployment, self._backends, self._links)
        round_ = Round(plan, self._deployment, faults, self._listener, hurried=self._hurried)
        self._tell = round_.load.said
        await round_.play()
        self._listener.heard.clear()
        return round_

    async def _deploy(self, topology: str) -> None:
        await self._deployed.aclose()
        folder = Path(self._deployed.enter_context(tempfile.TemporaryDirectory(prefix="taskbus-chaos-")))
        small = topology == "sqlite" and self._deployed.enter_context(small_disk(folder))
        self._deployment = await self._deployed.enter_async_context(
            Deployment(
                topology,
                folder,
                self._links["database"].url,
                self._links["broker"].url,
                lambda said: self._tell(said),
                on_small_disk=small,
            )
        )


@asynccontextmanager
async def chaos(amqp_url: str = "", *, hurried: bool = False) -> AsyncIterator[Chaos]:
    """On a PostgreSQL and a RabbitMQ of our own; given an ``amqp_url``, that RabbitMQ is not hurt.

    Raises NotUsable where programs are missing.
    """
    async with AsyncExitStack() as held:
        backends = {"database": await held.enter_async_context(running_postgres())}
        database_url = backends["database"].url
        if not amqp_url:
            backends["broker"] = await held.enter_async_context(running_rabbitmq())
            amqp_url = backends["broker"].url
        await _migrate(database_url)
        links = {
            "database": await held.enter_async_context(Proxy(database_url)),
            "broker": await held.enter_async_context(Proxy(amqp_url + "?heartbeat=1")),
        }
        listener = await held.enter_async_context(listening(amqp_url, f"chaos-{os.getpid()}"))
        yield await held.enter_async_context(Chaos(backends, links, listener, hurried=hurried))


async def _migrate(database_url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Programs(Path(folder)) as programs:
            migration = await programs.run("migrate", database_url=database_url)
            assert await migration.exit() == 0, migration.output


async def play(
    plans: Iterable[Plan],
    histories: Path,
    tell: Callable[[object], None],
    report: Report,
    *,
    failures: int = 1,
) -> None:
    """All of these rounds, or until so many have broken something; ``report`` has what came of them."""
    async with chaos(hurried=not report.measured) as player:
        for plan in plans:
            round_ = await player.play(plan)
            report.outcomes.append(round_.outcome)
            tell(round_.outcome)
            if round_.outcome.violations:
                report.histories.append(round_.write_history(histories))
                for violation in round_.outcome.violations[:10]:
                    tell(f"  {violation[:SHOWN]}")
                if len(report.histories) >= failures:
                    break

"""Which faults a round has: a seed decides."""

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import queue_service

EACH_TOPOLOGY: Final = 10
"""Seeds in a row with the same topology: to change it costs some seconds."""
TOPOLOGIES: Final = ("split", "split", "serve", "split", "sqlite")
SOON: Final = 1.0
"""Seconds within which the faults of a round begin."""

ANYWHERE: Final = (
    "kill worker", "kill server", "kill server", "kill at point", "kill at point", "kill broker",
    "freeze worker", "freeze server", "cut broker", "silent broker", "late broker",
    "memory alarm", "disk alarm", "rolling restart",
)  # fmt: skip
ON_POSTGRES: Final = ("kill database", "kill database", "cut database", "silent database", "late database")
ON_SQLITE: Final = ("disk full", "disk full", "disk full")


@dataclass(frozen=True)
class Fault:
    """``at``: seconds after the first. ``choice``, from 0 to 1, decides on which process or point."""

    kind: str
    at: float
    seconds: float
    choice: float

    def __str__(self) -> str:
        return f"{self.kind} ({self.seconds:.1f} s at {self.at:.1f})"


@dataclass(frozen=True)
class Plan:
    seed: int
    topology: str
    faults: tuple[Fault, ...]


def plan_of(seed: int) -> Plan:
    """One fault, more seldom two or three at the same time."""
    random = Random(seed)
    topology = TOPOLOGIES[seed // EACH_TOPOLOGY % len(TOPOLOGIES)]
    kinds = ANYWHERE + (ON_SQLITE if topology == "sqlite" else ON_POSTGRES)
    number = random.choice((1, 1, 1, 2, 3))
    faults = [fault(random, random.choice(kinds)) for _ in range(number)]
    return Plan(seed, topology, tuple(faults))


def fault(random: Random, kind: str) -> Fault:
    return Fault(kind, random.uniform(0, SOON), random.choice((0.5, 1.5, 3.0)), random.random())


def relay_points() -> list[str]:
    """The named points between two effects of the relay, as they stand in the source."""
    source = Path(queue_service.__file__).parent
    found = {
        name
        for path in source.rglob("*.py")
        for name in re.findall(r'faults\.point\("(outbox\.[\w.]+)"\)', path.read_text(encoding="utf-8"))
    }
    return sorted(found)

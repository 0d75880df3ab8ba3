"""What happens to a life from outside: calls, workers, faults. A seed makes it; leaving out shrinks it."""

import base64
import uuid
from dataclasses import dataclass
from random import Random
from typing import Any, Final

PRIORITIES: Final = ("highest", "very-high", "high", "medium", "low", "very-low", "lowest")
QUEUES: Final = ("prov/one", "prov/two")
WORKERS: Final = ("g/w-1", "g/w-2", "h/w-3")
EXCEPTIONS: Final = (
    "worker-shutdown", "intermittent-task", "malformed-payload", "resource-unavailable", "internal-error",
)  # fmt: skip
REFUSALS: Final = ("begin", "statement", "commit", "after commit")
FAULTS: Final = (
    "crash", "crash", "crash at point", "freeze", "broker away", "broker cut", "nacks", "database refuses",
    "database refuses", "clock jumps", "replies lost",
)  # fmt: skip
POINTS: Final = ("outbox.published", "outbox.deleted")
LIFE_SECONDS: Final = 150.0


@dataclass(frozen=True)
class Action:
    """Something that happens at a time, in seconds."""

    at: float
    kind: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        facts = " ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.at:8.3f}  {self.kind} {facts}"


@dataclass(frozen=True)
class Plan:
    """A whole life. ``processes``: how many servers share the database."""

    seed: int
    actions: tuple[Action, ...]
    processes: int = 1


def slug(random: Random) -> str:
    raw = uuid.UUID(int=random.getrandbits(128), version=4).bytes
    return base64.urlsafe_b64encode(raw)[:22].decode()


def plan_of(seed: int) -> Plan:
    """The life of this seed. Lives differ in what they are rich in: some are calm and some are not."""
    random = Random(seed)
    tasks = random.randint(2, 8)
    groups = random.choice((1, 2, tasks))
    actions = [_create(random, number, groups) for number in range(tasks)]
    actions += [_work(random) for _ in range(random.randint(tasks, 4 * tasks))]
    actions += [_call(random, tasks) for _ in range(random.choice((0, tasks, 3 * tasks)))]
    actions += [_group_call(random, groups) for _ in range(random.choice((0, 0, 1, 4)))]
    faults = random.choice((0, 2, 5, 12))
    actions += [_fault(random, random.choice(actions).at) for _ in range(faults)]
    processes = random.choice((1, 1, 2, 3))
    return Plan(seed, tuple(sorted(actions, key=lambda action: action.at)), processes)


def _moment(random: Random) -> float:
    """Early or late, and often at the same time as others."""
    if random.random() < 0.4:
        return random.choice((1.0, 2.0, 10.0, 30.0, 65.0)) + random.expovariate(50)
    return random.uniform(0, LIFE_SECONDS)


def _create(random: Random, number: int, groups: int) -> Action:
    waits = number and random.random() < 0.4
    facts: dict[str, Any] = {
        "task": number,
        "group": number % groups,
        "queue": random.choice(QUEUES),
        "priority": random.choice(PRIORITIES),
        "retries": random.choice((0, 1, 2, 5)),
        "requires": random.choice(("all-completed", "all-resolved")),
        "deadline": random.choice((20, 60, 120, 300, 300)),
        "expires": random.choice((10, 60, 300, None, None, None)),
        "needs": tuple(sorted(random.sample(range(number), random.randint(1, min(number, 3)))))
        if waits
        else ((number,) if random.random() < 0.05 else ()),
        "again": random.choice((0.0, 0.0, 0.0, 0.01, 5.0)),
    }
    return Action(random.choice((0.5, 1.0, _moment(random) / 2)), "create", facts)


def _work(random: Random) -> Action:
    conduct: list[tuple[float, str]] = []
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        conduct.append((random.choice((30.0, 55.0, 60.0, 61.0, 90.0)), "reclaim"))
    ending = random.choice(
        ("completed",) * 4 + ("failed", "none", *EXCEPTIONS[:3], random.choice(EXCEPTIONS))
    )
    if ending != "none":
        conduct.append((random.choice((0.0, 0.01, 0.5, 5.0, 59.99, 70.0)), ending))
        if random.random() < 0.25:
            conduct.append((random.choice((0.0, 0.01, 3.0)), random.choice((ending, "completed", "reclaim"))))
    facts = {
        "worker": random.choice(WORKERS),
        "queue": random.choice(QUEUES),
        "wanted": random.choice((1, 1, 2, 4, 32)),
        "leaves": random.choice((0.0, 0.0, 0.0, 0.02, 3.0)),
        "conduct": tuple(conduct),
    }
    return Action(_moment(random), "work", facts)


def _call(random: Random, tasks: int) -> Action:
    method = random.choice(
        (
            "schedule_task",
            "rerun_task",
            "rerun_task",
            "cancel_task",
            "change_task_priority",
            "claim_task",
            "status",
        )
    )
    facts: dict[str, Any] = {"method": method, "task": random.randrange(tasks)}
    if method == "change_task_priority":
        facts["priority"] = random.choice(PRIORITIES)
    if method == "claim_task":
        facts |= {"run": random.choice((0, 0, 1)), "worker": random.choice(WORKERS)}
        facts["conduct"] = _work(random).facts["conduct"]
    return Action(_moment(random), "call", facts)


def _group_call(random: Random, groups: int) -> Action:
    method = random.choice(("seal_task_group", "cancel_task_group", "change_task_group_priority"))
    facts: dict[str, Any] = {"method": method, "group": random.randrange(groups)}
    if method == "change_task_group_priority":
        facts["priority"] = random.choice(PRIORITIES)
    return Action(_moment(random), "group call", facts)


def _fault(random: Random, busy: float) -> Action:
    """Mostly soon after something else happens, when there is something to break."""
    kind = random.choice(FAULTS)
    seconds = random.choice((0.05, 1.0, 15.0))
    facts: dict[str, Any]
    match kind:
        case "crash":
            facts = {"steps": random.randrange(400), "down": random.choice((0.0, 0.5, 20.0, 90.0))}
        case "crash at point":
            facts = {"point": random.choice(POINTS), "down": random.choice((0.0, 0.5, 20.0))}
        case "broker away" | "replies lost":
            facts = {"seconds": seconds}
        case "freeze":
            facts = {"seconds": random.choice((0.05, 5.0, 15.0, 70.0))}
        case "nacks":
            facts = {"seconds": seconds, "share": random.choice((0.1, 0.5, 1.0))}
        case "database refuses":
            facts = {"seconds": random.choice((0.01, 0.05, 1.0, 15.0)), "moment": random.choice(REFUSALS)}
        case "clock jumps":
            facts = {"seconds": random.choice((-30.0, -1.0, 1.0, 30.0, 70.0, 600.0))}
        case _:
            facts = {}
    at = busy + random.expovariate(20) if random.random() < 0.7 else _moment(random)
    return Action(at, kind, facts)

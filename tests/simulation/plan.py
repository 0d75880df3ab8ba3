"""What happens to a life from outside: calls, workers, faults. A seed makes it; leaving out shrinks it."""

import base64
import uuid
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

PRIORITIES: Final = ("highest", "very-high", "high", "medium", "low", "very-low", "lowest")
QUEUES: Final = ("prov/one", "prov/two")
WORKERS: Final = ("g/w-1", "g/w-2", "h/w-3")
EXCEPTIONS: Final = (
    "worker-shutdown", "intermittent-task", "malformed-payload", "resource-unavailable", "internal-error",
)  # fmt: skip
ENDINGS: Final = (
    *("completed",) * 4, "failed", "failed", "snooze", "cancel", "none", *EXCEPTIONS, *EXCEPTIONS[:3],
)  # fmt: skip
TRYING: Final = ("failed", "failed", "failed", "snooze", "snooze", "completed", "cancel")
"""Of workers that are not done at once."""
DOING: Final = ("completed", "completed", "completed", "failed", "malformed-payload")
"""Of workers that are done soon."""
REFUSALS: Final = ("begin", "statement", "commit", "after commit")
FAULTS: Final = (
    "crash", "crash", "crash at point", "freeze", "broker away", "broker cut", "nacks", "database refuses",
    "database refuses", "clock jumps", "replies lost",
)  # fmt: skip
POINTS: Final = ("outbox.published", "outbox.deleted")
POLICIES: Final[tuple[dict[str, Any] | None, ...]] = (
    None,
    None,
    {"kind": "fixed", "delay": 0},
    {"kind": "fixed", "delay": 2, "jitter": 0},
    {"kind": "exponential", "base": 1, "factor": 5, "max": 20},
    {"kind": "exponential", "base": 0.2, "factor": 20, "jitter": 0},
    {"kind": "list", "delays": [0, 30], "jitter": 0.5},
    {"kind": "fixed", "delay": 90},
)
FAILURES: Final[tuple[dict[str, Any], ...]] = (
    {}, {}, {"error": "wrong"}, {"error": "wrong", "retry": False}, {"retryIn": 7}, {"retryIn": -5},
)  # fmt: skip
MEMBERS: Final = ("m0", "m1", "m2", "m3", "m4", "m5")
TRIGGERS: Final = ("t0", "t1", "t2")
KEYS: Final = ("k0", "k1", "k2")
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


def plan_of(seed: int, *, extended: float = 0.25) -> Plan:
    """The life of this seed. Lives differ in what they are rich in: some are calm and some are not.

    ``extended``: the share of lives with pauses, sets, values and triggers each; twice as many tasks
    have wishes.
    """
    random = Random(seed)
    tasks = random.randint(2, 8)
    groups = random.choice((1, 2, tasks))
    actions = [_create(random, number, groups, 2 * extended) for number in range(tasks)]
    actions += [_work(random) for _ in range(random.randint(tasks, 4 * tasks))]
    actions += [_call(random, tasks) for _ in range(random.choice((0, tasks, 3 * tasks)))]
    actions += [_group_call(random, groups) for _ in range(random.choice((0, 0, 1, 4)))]
    if random.random() < 2 * extended:
        actions += [_work(random, TRYING) for _ in range(4 * tasks)]
    actions += _pauses(random) if random.random() < extended else []
    actions += _worksets(random) if random.random() < extended else []
    actions += [_value(random) for _ in range(15)] if random.random() < extended else []
    actions += _triggers(random) if random.random() < extended else []
    faults = random.choice((0, 2, 5, 12))
    actions += [_fault(random, random.choice(actions).at) for _ in range(faults)]
    processes = random.choice((1, 1, 2, 3))
    return Plan(seed, tuple(sorted(actions, key=lambda action: action.at)), processes)


def triggers_alone(seed: int) -> Plan:
    """A life that has nothing but triggers and faults."""
    random = Random(seed)
    actions = _triggers(random)
    actions += [_fault(random, random.choice(actions).at) for _ in range(random.choice((0, 2, 5)))]
    return Plan(seed, tuple(sorted(actions, key=lambda action: action.at)), random.choice((1, 1, 2)))


def _moment(random: Random) -> float:
    """Early or late, and often at the same time as others."""
    if random.random() < 0.4:
        return random.choice((1.0, 2.0, 10.0, 30.0, 65.0)) + random.expovariate(50)
    return random.uniform(0, LIFE_SECONDS)


def _create(random: Random, number: int, groups: int, wishing: float) -> Action:
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
        **(_wishes(random) if random.random() < wishing else {}),
    }
    return Action(random.choice((0.5, 1.0, _moment(random) / 2)), "create", facts)


def _wishes(random: Random) -> dict[str, Any]:
    """What a task asks for beyond a plain one."""
    return {
        "attempts": random.choice((1, 2, 5, 9)),
        "policy": random.choice(POLICIES),
        "starts": random.choice((None, None, None, -5.0, 0.5, 10.0, 40.0)),
        "held": random.random() < 0.1,
        "slot": random.choice((None, None, 0, 0, 1)),
        "kept": random.choice((None, 5, 60)),
    }


def _work(random: Random, endings: tuple[str, ...] = ENDINGS) -> Action:
    conduct: list[tuple[float, str]] = []
    for _ in range(random.choice((0, 0, 0, 1, 2)) if endings is ENDINGS else 0):
        conduct.append((random.choice((30.0, 55.0, 60.0, 61.0, 90.0)), "reclaim"))
    ending = random.choice(endings)
    if ending != "none":
        pauses = (0.0, 0.01, 0.5, 5.0, 59.99, 70.0)
        conduct.append((random.choice(pauses if endings is ENDINGS else pauses[:3]), ending))
        if random.random() < 0.25:
            conduct.append((random.choice((0.0, 0.01, 3.0)), random.choice((ending, "completed", "reclaim"))))
    facts = {
        "worker": random.choice(WORKERS),
        "queue": random.choice(QUEUES),
        "wanted": random.choice((1, 1, 2, 4, 32)),
        "leaves": random.choice((0.0, 0.0, 0.0, 0.02, 3.0)),
        "conduct": tuple(conduct),
        "failure": random.choice(FAILURES),
        "snooze": random.choice((0, 0.5, 5, 40)),
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
            "task_attempts",
            "delete_task",
        )
    )
    facts: dict[str, Any] = {"method": method, "task": random.randrange(tasks)}
    if method == "change_task_priority":
        facts["priority"] = random.choice(PRIORITIES)
    if method == "claim_task":
        facts |= {"run": random.choice((0, 0, 1)), "worker": random.choice(WORKERS)}
        facts |= {name: _work(random).facts[name] for name in ("conduct", "failure", "snooze")}
    return Action(_moment(random), "call", facts)


def _group_call(random: Random, groups: int) -> Action:
    method = random.choice(("seal_task_group", "cancel_task_group", "change_task_group_priority"))
    facts: dict[str, Any] = {"method": method, "group": random.randrange(groups)}
    if method == "change_task_group_priority":
        facts["priority"] = random.choice(PRIORITIES)
    return Action(_moment(random), "group call", facts)


def _pauses(random: Random) -> list[Action]:
    """Task queues are paused, asked for work, and resumed, some of them twice."""
    actions = []
    for _ in range(random.randint(1, 4)):
        at, queue = random.choice((0.4, 0.8, _moment(random))), random.choice(QUEUES)
        work = _work(random).facts | {"queue": queue}
        actions.append(Action(at + 1, "work", work))
        for method, later in (("pause", 0.0), ("resume", random.choice((0.01, 3.0, 10.0, 30.0)))):
            facts = {"method": f"{method}_task_queues", "queue": queue}
            actions.append(Action(at + later, "queue call", facts))
            if random.random() < 0.3:
                actions.append(Action(at + later + random.choice((0.0, 0.5)), "queue call", facts))
    return actions


def _worksets(random: Random) -> list[Action]:
    """A set that is filled and drained; how often it delivers is said first."""
    actions = [Action(0.1, "set call", {"deliveries": random.choice((0, 0, 1, 2))})]
    for _ in range(random.randint(2, 8)):
        ids = random.sample(MEMBERS, random.randint(1, len(MEMBERS)))
        facts: dict[str, Any] = {"add": tuple(ids), "later": random.choice((None, None, 0.0, 20.0))}
        actions.append(Action(_moment(random), "set call", facts))
    for _ in range(random.randint(2, 15)):
        early = random.random() < 0.3
        at = random.choice(actions).at - random.uniform(0, 8) if early else _moment(random)
        facts = {
            "limit": random.choice((1, 2, 10)),
            "mode": random.choice(("ack-batch", "ack-each")),
            "ttl": random.choice((1000, 5000, 30_000)),
            "wait": 20 if early else random.choice((0, 0, 10, 20)),
            "leaves": random.choice((0.0, 0.0, 0.0, 0.02, 3.0)),
            "conduct": tuple(_settlement(random) for _ in range(random.choice((0, 1, 1, 2, 3)))),
        }
        actions.append(Action(max(at, 0.2), "consume", facts))
    return actions


def _settlement(random: Random) -> tuple[float, str, dict[str, Any]]:
    """What a consumer says of its lease, so long after the last thing that it said; ``some``: not of all."""
    verb = random.choice(("ack", "ack", "ack", "nack", "extend"))
    facts: dict[str, Any] = {"some": random.random() < 0.4}
    if verb == "nack":
        facts["delay"] = random.choice((0, 0, 3, 20))
    if verb == "extend":
        facts["ttl"] = random.choice((1000, 10_000))
    return random.choice((0.0, 0.01, 0.5, 0.99, 4.0)), verb, facts


def _value(random: Random) -> Action:
    method = random.choice(("put_value", "put_value", "put_value", "delete_value", "get_value"))
    facts: dict[str, Any] = {"method": method, "key": random.choice(KEYS)}
    if method == "put_value":
        facts |= {"value": random.randrange(10**6), "ttl": random.choice((None, None, 5, 40))}
        facts["version"] = random.choice((None, None, 0, "last"))
    return Action(_moment(random), "value call", facts)


def _triggers(random: Random) -> list[Action]:
    """Triggers by the clock, workers for their tasks, and owners who pause and resume them."""
    actions = []
    for name in TRIGGERS[: random.randint(1, 3)]:
        facts = {"method": "create_trigger", "trigger": name, **_trigger(random)}
        actions += [Action(random.choice((0.3, 0.3, 20.0)), "trigger call", facts)]
        for _ in range(random.choice((0, 0, 1, 3))):
            at = _moment(random)
            for method, later in (("pause", 0.0), ("resume", random.choice((0.01, 3.0, 25.0, 45.0)))):
                facts = {"method": f"{method}_trigger", "trigger": name}
                actions.append(Action(at + later, "trigger call", facts))
    for number in range(25):
        actions.append(
            replace(_work(random, random.choice((ENDINGS, DOING))), at=5.0 * (number + random.random()))
        )
    return actions


def _trigger(random: Random) -> dict[str, Any]:
    duration = random.choice((10, 10, 25))
    kind = random.choice(("none", "free", "gapless", "gapless"))
    catch_up = random.choice((1, 1, 3))
    return {
        "duration": duration,
        "immediate": random.random() < 0.2,
        "spread": random.choice((0, 0, 4)),
        "size": None if kind == "none" else duration * random.choice((1, 2)),
        "delay": random.choice((0, 0, 3)),
        "start": random.choice((-60.0, -7.0, 0.0, 30.0)) if kind == "gapless" else None,
        "catch_up": catch_up,
        "misfire": random.choice(("one", "skip", "all") if catch_up == 1 else ("one", "skip")),
        "overlap": random.choice(("allow", "allow", "skip", "queue-one")),
        "retries": random.choice((0, 1, 5)),
        "queue": random.choice(QUEUES),
        "deadline": random.choice((100, 300, 300)),
    }


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

"""What credentials cost: createTask and claimWork with and without them, in alternating runs."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from benchmarks.environment import POSTGRES, SQLITE, Environment
from benchmarks.load import send_all
from benchmarks.measuring import Quantities, loaded
from benchmarks.report import Section
from benchmarks.signing import PERMANENT, SETTINGS, signed, temporary
from benchmarks.tasks import claim_call, create_calls
from taskbus import Credentials

METHOD = """\
createTask as above on 64 connections, then claims of 32 of these tasks on 4. Each kind of caller has a
server of its own, so that all databases grow alike; the runs alternate. Requests are signed before the clock
runs, with a hash of the body, as Python clients do. *permanent*: a stored client. *temporary*: named
credentials with a certificate of eight scopes, as a decision task creates its tasks with."""
TARGET = "Target: at most 15 % below the figure without credentials"

TASKS: Final = 3200
CLAIMED: Final = 32
OPEN: Final = "no credentials"
CALLERS: Final[dict[str, Credentials | None]] = {
    OPEN: None,
    "permanent": PERMANENT,
    "temporary": temporary(),
}


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("Credentials", METHOD, notes=[TARGET])
    tasks = TASKS // 4 if quick else TASKS
    for variant in (POSTGRES, SQLITE):
        created: dict[str, list[Quantities]] = {name: [] for name in CALLERS}
        claimed: dict[str, list[Quantities]] = {name: [] for name in CALLERS}
        async with AsyncExitStack() as stack:
            services = {
                name: await stack.enter_async_context(
                    environment.service(variant, {} if credentials is None else SETTINGS)
                )
                for name, credentials in CALLERS.items()
            }
            for number in range(-1, 1 if quick else 5):
                for name, credentials in CALLERS.items():
                    service = services[name]
                    worker_type = f"{name.split()[0]}-{number}".replace("--", "-w")
                    calls = _with(create_calls(tasks, worker_type), credentials)
                    run = await loaded(service, partial(send_all, service.port, 64, calls), {})
                    # A certificate of a task does not claim; its issuer does.
                    claims = _with(_claims(worker_type, tasks), credentials and PERMANENT)
                    taken = await loaded(service, partial(send_all, service.port, 4, claims), {})
                    if number >= 0:  # the first round warms up
                        created[name].append(run.quantities(tasks))
                        claimed[name].append(taken.quantities(tasks))
        for name in CALLERS:
            section.add(f"{variant}, createTask, {name}", created[name])
        for name in (OPEN, "permanent"):
            section.add(f"{variant}, claimWork, {name}", claimed[name])
        for call, names in (("createTask", CALLERS), ("claimWork", [OPEN, "permanent"])):
            for name in names:
                if name != OPEN:
                    section.ratio("answered", f"{variant}, {call}, {name}", f"{variant}, {call}, {OPEN}")
    return section


def _claims(worker_type: str, tasks: int) -> list[bytes]:
    return [claim_call(worker_type, f"worker-{number % 4}", CLAIMED) for number in range(tasks // CLAIMED)]


def _with(requests: Sequence[bytes], credentials: Credentials | None) -> list[bytes]:
    return list(requests) if credentials is None else signed(requests, credentials)

"""createTask: calls per second, until every message of every task is confirmed and counted."""

from functools import partial

from benchmarks.environment import FLOOR, POSTGRES, PROCESSES, SQLITE, Environment
from benchmarks.load import send_all
from benchmarks.measuring import Quantities, loaded
from benchmarks.report import Section
from benchmarks.tasks import create_calls

METHOD = """\
Tasks of about 1.4 KB with two routes, 100 in a group, created on so many keep-alive connections, each of
which sends its next call when the last is answered. *answered* is tasks per second until the last answer,
*confirmed* until the outbox is empty, which is when the broker has confirmed the last message. Another
process consumes a durable queue bound to every exchange and counts two messages per task; a run in which one
is missing or overtaken fails. PostgreSQL writes through to the disk (fsync on) with the settings
of initdb; SQLite is in WAL mode with synchronous=NORMAL. With *--processes 2* two processes answer calls."""
TARGET = "Target: 1,200/s confirmed on PostgreSQL + RabbitMQ with 64 connections; SQLite at least 900/s"
REFERENCE = """\
For context, not measured here: the reference implementation (Node, PostgreSQL, RabbitMQ), one server process
on the same kind of two cores: 95 createTask/s on one connection, 165/s on 16 to 64"""

SIZES = {1: 400, 16: 4000, 64: 6000}
"""Tasks of one run, by the number of connections."""
WARM_UP = 400
"""Tasks before the first run, so that no run pays for what happens once."""


async def run(environment: Environment, *, quick: bool) -> Section:
    section = Section("createTask", METHOD, notes=[TARGET, REFERENCE])
    for variant in (POSTGRES, PROCESSES, SQLITE, FLOOR):
        async with environment.service(variant) as service:
            await loaded(service, partial(send_all, service.port, 16, create_calls(WARM_UP, "warm-up")), {})
            for connections, size in SIZES.items():
                tasks = size // 4 if quick else size
                expected = {} if variant == FLOOR else {"task-defined": tasks, "task-pending": tasks}
                runs: list[Quantities] = []
                for number in range(1 if quick else 5):
                    calls = create_calls(tasks, f"create-{connections}-{number}")
                    load = partial(send_all, service.port, connections, calls)
                    runs.append((await loaded(service, load, expected)).quantities(tasks))
                section.add(_case(variant, connections), runs)
    for connections in SIZES:
        case = _case(POSTGRES, connections)
        section.ratio("confirmed", _case(SQLITE, connections), case)
        section.ratio("answered", case, _case(FLOOR, connections))
    return section


def _case(variant: str, connections: int) -> str:
    return f"{variant}, {connections} connection{'s' if connections > 1 else ''}"

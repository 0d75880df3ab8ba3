"""``python -m benchmarks [create life …] [--quick] [--json FILE]``: measure, and print markdown tables."""

import argparse
import asyncio
import json
import logging
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks import (
    access,
    artifacts,
    attached,
    bulk,
    create,
    depth,
    idle,
    kv,
    latency,
    life,
    limits,
    machine,
    peers,
    relay,
    roles,
    streams,
    triggers,
)
from benchmarks.environment import Environment
from benchmarks.report import Section, as_json, markdown


class Benchmark(Protocol):
    """Measures one thing. ``quick``: one short run, to see that it works."""

    def __call__(self, environment: Environment, *, quick: bool) -> Awaitable[Section]: ...


BENCHMARKS: Final[dict[str, Benchmark]] = {
    "create": create.run,
    "life": life.run,
    "bulk": bulk.run,
    "access": access.run,
    "limits": limits.run,
    "latency": latency.run,
    "depth": depth.run,
    "relay": relay.run,
    "idle": idle.run,
    "roles": roles.run,
    "artifacts": artifacts.run,
    "attached": attached.run,
    "kv": kv.run,
    "streams": streams.run,
    "triggers": triggers.run,
    "peers": peers.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="one short run of each, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there as well")
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    result = asyncio.run(_run(wanted.names or list(BENCHMARKS), quick=wanted.quick))
    if wanted.json is not None:
        wanted.json.write_text(json.dumps(result, indent=2) + "\n")


async def _run(names: list[str], *, quick: bool) -> dict[str, Any]:
    """Run the named benchmarks and print each as it ends; everything measured, for programs."""
    about = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), **machine.description()}
    about["runs"] = "1 short run each (--quick)" if quick else "median of 5 (least–most)"
    print("\n".join(f"- {name}: {value}" for name, value in about.items()), "\n", flush=True)
    sections: list[Section] = []
    environment = Environment()
    try:
        for name in names:
            section = await BENCHMARKS[name](environment, quick=quick)
            section.notes.append(f"afterwards {machine.speed()}")
            print(markdown(section), flush=True)
            sections.append(section)
    finally:
        environment.close()
    return {"about": about, "sections": [as_json(section) for section in sections]}


if __name__ == "__main__":
    main()

"""The machine a figure belongs to, and which programs used its processors meanwhile."""

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

PACKAGES: Final = (
    "pydantic",
    "sqlalchemy",
    "asyncpg",
    "aiosqlite",
    "uvicorn",
    "uvloop",
    "httptools",
    "aiormq",
)


def description() -> dict[str, str]:
    """What a reader has to know before comparing figures with those of another machine."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, shared by everything below and the load",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load average before": load,
        "speed before": speed(),
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def speed() -> str:
    """How fast one core is now: virtual machines are faster at one time than at another."""
    taken = []
    for _ in range(5):
        began, total = time.process_time(), 0
        for number in range(1_000_000):
            total += number * number
        taken.append(time.process_time() - began)
    return f"{min(taken) * 1000:.0f}–{max(taken) * 1000:.0f} ms for a million additions in Python"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


@dataclass(frozen=True, slots=True)
class Program:
    """A program with all its processes; ``name`` is its part in the measured system."""

    name: str
    main: psutil.Process

    def cpu_seconds(self) -> float:
        """Processor time used so far, by the processes that run now."""
        family = [self.main, *self.main.children(recursive=True)]
        return sum((times.user + times.system for times in (process.cpu_times() for process in family)), 0.0)


def listening_program(name: str, port: int) -> list[Program]:
    """The program that listens on a port of this machine; none when it runs elsewhere or we may not know."""
    pids = [
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid
    ]
    return [Program(name, psutil.Process(pids[0]))] if pids else []

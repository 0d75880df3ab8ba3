"""What is done to a deployment, each from its begin until everything that was hurt runs again."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.chaos import disk
from tests.chaos.backends import DISK, MEMORY, Backend
from tests.chaos.deployment import CLAIM_TIMEOUT, DATABASE, RESTART_SECONDS, Deployment, Member
from tests.chaos.plan import Fault, relay_points
from tests.events.proxy import Proxy
from tests.servers.probes import NotUsable

END_SECONDS: Final = 30.0
FROZEN: Final = CLAIM_TIMEOUT + 1.0
POINT_SECONDS: Final = 30.0
"""For a relay to come to a named point; it may be that another process publishes all the time."""


class Faults:
    """Commits faults; ``committed`` counts what was really done."""

    def __init__(
        self, deployment: Deployment, backends: Mapping[str, Backend], links: Mapping[str, Proxy]
    ) -> None:
        self._deployment = deployment
        self._backends = backends
        self._links = links
        self.committed: Counter[str] = Counter()
        self.violations: list[str] = []

    async def commit(self, fault: Fault) -> None:
        """From the beginning to the end of one fault. What does not run again afterwards is a violation."""
        await asyncio.sleep(fault.at)
        try:
            await self._doing(fault)(fault)
        except (AssertionError, TimeoutError, NotUsable) as error:
            self.violations.append(f"after {fault}: {type(error).__name__} {error}")

    def _doing(self, fault: Fault) -> Callable[[Fault], Awaitable[None]]:
        match fault.kind.split():
            case ["kill", "worker" | "server"]:
                return self._kill
            case ["kill", "at", "point"]:
                return self._kill_at_point
            case ["kill", "database" | "broker"]:
                return self._kill_backend
            case ["freeze", _]:
                return self._freeze
            case ["cut" | "silent" | "late", _]:
                return self._break_link
            case [_, "alarm"]:
                return self._alarm
            case ["disk", "full"]:
                return self._disk_full
            case ["rolling", "restart"]:
                return self._restart_all
        raise NotImplementedError(fault.kind)

    def _victim(self, fault: Fault) -> Member:
        workers = fault.kind.endswith("worker")
        members = self._deployment.workers if workers else self._deployment.servers
        return list(members.values())[int(fault.choice * len(members))]

    async def _kill(self, fault: Fault) -> None:
        victim = self._victim(fault)
        if victim.name == "serve" and self._deployment.topology == "serve" and fault.choice < 0.5:
            await self._kill_child(victim)
            return
        async with victim.turn:
            self.committed[f"kill -9 of {victim.name.partition('-')[0]}"] += 1
            await victim.kill()
            await asyncio.sleep(RESTART_SECONDS)
            await victim.start()

    async def _kill_child(self, parent: Member) -> None:
        """The API process that ``serve --processes 2`` has started; it starts another one by itself."""
        async with parent.turn:
            (child,) = await parent.program.children(1)
            self.committed["kill -9 of an API process of serve"] += 1
            child.kill()
            await child.ended(END_SECONDS)
            await parent.program.children(1)

    async def _kill_at_point(self, fault: Fault) -> None:
        """Processes with a relay are replaced by one that ends there, and that by what was before."""
        points = relay_points()
        point = points[int(fault.choice * len(points))]
        victims = self._deployment.publishers
        for victim in victims:
            await victim.turn.acquire()
        try:
            await asyncio.gather(*(victim.kill() for victim in victims))
            if await victims[0].start_doomed(POINT_SECONDS, crash_at=point) == -signal.SIGKILL:
                self.committed[f"kill -9 at {point}"] += 1
            await asyncio.gather(*(victim.start() for victim in victims))
        finally:
            for victim in victims:
                victim.turn.release()

    async def _kill_backend(self, fault: Fault) -> None:
        backend = self._backends[fault.kind.split()[1]]
        async with backend.turn:
            self.committed[f"kill -9 of {backend.name}"] += 1
            await backend.kill()
            await asyncio.sleep(fault.seconds)
            await backend.start()

    async def _freeze(self, fault: Fault) -> None:
        victim = self._victim(fault)
        async with victim.turn:
            self.committed[f"SIGSTOP of {victim.name.partition('-')[0]}"] += 1
            await victim.freeze(FROZEN)

    async def _break_link(self, fault: Fault) -> None:
        """``cut`` and refused, half-open and then cut, or half-open and then late."""
        how, which = fault.kind.split()
        link = self._links[which]
        async with self._backends[which].turn:
            self.committed[f"link to the {which} {how}"] += 1
            if how == "cut":
                await link.refuse()
                await link.cut()
                await asyncio.sleep(fault.seconds)
                await link.accept()
                return
            link.swallow()
            await asyncio.sleep(fault.seconds)
            if how == "silent":
                await link.cut()
            link.flow()

    async def _alarm(self, fault: Fault) -> None:
        alarm = MEMORY if fault.kind.startswith("memory") else DISK
        broker = self._backends["broker"]
        async with broker.turn:
            self.committed[f"{fault.kind} of rabbitmq"] += 1
            await broker.set_alarm(alarm, raised=True)
            await asyncio.sleep(fault.seconds)
            await broker.set_alarm(alarm, raised=False)

    async def _disk_full(self, fault: Fault) -> None:
        """The disk is full, or the server may write no file beyond a part of the size of its log."""
        (server,) = self._deployment.servers.values()
        folder = self._deployment.folder
        async with server.turn:
            if self._deployment.on_small_disk and fault.choice < 0.5:
                self.committed["disk full for SQLite"] += 1
                disk.fill(folder)
                await asyncio.sleep(fault.seconds)
                disk.empty(folder)
                return
            self.committed["files limited for SQLite"] += 1
            pid = server.program.process.pid
            disk.limit_files(pid, int(fault.choice * disk.size_of(folder / f"{DATABASE}-wal")))
            await asyncio.sleep(fault.seconds)
            disk.limit_files(pid)

    async def _restart_all(self, fault: Fault) -> None:
        """One after another, as an upgrade does it."""
        self.committed["rolling restart"] += 1
        for server in self._deployment.servers.values():
            await self._restart(server)
        await asyncio.gather(*map(self._restart, self._deployment.workers.values()))

    async def _restart(self, member: Member) -> None:
        async with member.turn:
            status = await member.stop()
            if status != 0:
                self.violations.append(f"{member.name} ended with {status} on SIGTERM")
            await member.start()

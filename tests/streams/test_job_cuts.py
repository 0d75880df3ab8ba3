"""E-10: whoever goes on after each cut sees every state and step once and in order, and the end once."""

import asyncio
import random
from typing import Final

from tests.api.jobbed import RunningJobs
from tests.streams.reader import Reader, Received

CUTS: Final = {"sqlite": 1000, "postgres": 100}
CUTS_OF_A_JOB: Final = 50
LOSSLESS: Final = ("state", "step", "end")
RETRIED: Final = {"maxAttempts": 50, "retryPolicy": {"kind": "fixed", "delay": 0, "jitter": 0}}


class Work:
    """A worker that does with a job what chance wants, to the end if it must."""

    def __init__(self, jobs: RunningJobs, job_id: str, chance: random.Random) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._chance = chance
        self._run_id = 0

    async def go_on(self) -> None:
        jobs, job_id, chance = self._jobs, self._job_id, self._chance
        run_id = self._run_id
        match chance.randrange(8):
            case 0:
                await jobs.report(job_id, "failed", {"error": "again"}, run_id=run_id)
                self._run_id = (await jobs.claim())["runId"]
            case 1 | 2:
                await jobs.progress(job_id, percent=chance.randrange(100), run_id=run_id)
                jobs.queue.clock.advance(milliseconds=300)
            case _:
                name = chance.choice(["Extract", "Transform", "Load"])
                await jobs.step(job_id, name, chance.choice(["RUNNING", "DONE"]), run_id=run_id)

    async def end(self) -> None:
        await self._jobs.cancel(self._job_id)


async def read(reader: Reader, received: list[Received]) -> None:
    try:
        while True:
            received.append(await reader.event())
    except EOFError:
        pass


async def cut_again_and_again(jobs: RunningJobs, chance: random.Random, cuts: int) -> None:
    """Watch a job with so many cuts, each with everything that was under way lost."""
    job_id = await jobs.submit()
    await jobs.claim()
    work = Work(jobs, job_id, chance)
    received: list[Received] = []
    last: str | None = None
    target = f"/api/jobs/{job_id}/stream"
    for place in range(cuts + 1):
        async with Reader(
            jobs.application, target, {} if last is None else {"Last-Event-ID": last}
        ) as reader:
            if place == cuts:
                await work.end()
                await read(reader, received)
                break
            reading = asyncio.create_task(read(reader, received))
            for _ in range(chance.randrange(3)):
                await work.go_on()
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        last = received[-1].id if received else None
    kept = await jobs.kept(job_id)
    first = next(event for event in received if event.kind == "snapshot")
    assert [event.kind for event in received].count("snapshot") == 1
    assert [(int(event.id), event.kind) for event in received if event.kind in LOSSLESS] == [
        (event.sequence, event.event)
        for event in kept
        if event.event in LOSSLESS and event.sequence > int(first.id)
    ]
    assert received[-1].kind == "end"


async def test_no_state_or_step_is_missed_or_seen_twice(jobs: RunningJobs, database_kind: str) -> None:
    chance = random.Random(7)
    await jobs.register(stepOrder="any", defaults=RETRIED)
    for _ in range(CUTS[database_kind] // CUTS_OF_A_JOB):
        await cut_again_and_again(jobs, chance, CUTS_OF_A_JOB)

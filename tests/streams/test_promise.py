"""No event lost, none twice, and those of a task in order, whatever happens to connections and the broker."""

import asyncio
import random

import pytest

from tests.api.running_queue import RunningQueue
from tests.streams.reader import Received
from tests.streams.running_streams import QUEUE, Streams, running_streams

ALL = [
    (QUEUE + name, "#")
    for name in ("task-defined", "task-pending", "task-running", "task-completed", "task-exception")
]
CUTS = {"sqlite": 200, "postgres": 60}


class Life:
    """Tasks that live, and a broker that is there, away, or refuses some of what it is given."""

    def __init__(self, streams: Streams, chance: random.Random) -> None:
        self._streams = streams
        self._queue = streams.queue
        self._chance = chance
        self.recorded: list[str] = []
        """Ids of the messages in the order of their recording."""

    async def go_on(self) -> None:
        """One more thing happens."""
        streams, queue, chance = self._streams, self._queue, self._chance
        happens = chance.random()
        if happens < 0.35:
            await queue.create()
        elif happens < 0.5:
            for claim in await queue.claim(tasks=2):
                if chance.random() < 0.7:
                    await queue.post(f"/task/{claim['status']['taskId']}/runs/{claim['runId']}/completed")
        elif happens < 0.75:
            await streams.relay.run_once()
        elif happens < 0.9:
            await streams.log_without_broker()
        elif happens < 0.95:
            streams.publisher.refuses = {
                message.routing_key for message in await queue.messages() if chance.random() < 0.3
            }
        else:
            streams.publisher.refuses.clear()

    async def end(self) -> None:
        self._streams.publisher.refuses.clear()
        await self._streams.log_without_broker()
        await self._streams.publish()


@pytest.mark.parametrize("seed", range(2))
async def test_a_reader_that_is_cut_again_and_again_has_every_event_once_and_in_order(
    queue: RunningQueue, seed: int, database_kind: str
) -> None:
    chance = random.Random(seed)
    async with running_streams(queue) as streams:
        life = Life(streams, chance)
        received: list[Received] = []
        last: str | None = None
        running = True

        async def live() -> None:
            nonlocal running
            while running:
                await life.go_on()

        async def read(most: int) -> None:
            """Take up to so many events; whatever waits at the cut is lost with the connection."""
            nonlocal last
            async with streams.read(ALL, last) as reader:
                assert (await reader.event()).data == {"reset": False}
                last = reader.last_id
                for _ in range(most):
                    try:
                        async with asyncio.timeout(0.02):
                            received.append(await reader.event())
                    except TimeoutError:
                        return
                    last = reader.last_id

        async with streams.read(ALL) as first:
            last = (await first.event()).id
        living = asyncio.create_task(live())
        for _ in range(CUTS[database_kind]):
            await read(chance.randrange(12))
        running = False
        await living
        await life.end()
        expected = await streams.logged()
        async with asyncio.timeout(30):
            while len(received) < expected:
                await read(1000)
    ids = [event.data["messageId"] for event in received]
    assert len(ids) == len(set(ids)) == expected
    by_task: dict[str, list[int]] = {}
    for event in received:
        by_task.setdefault(event.data["payload"]["status"]["taskId"], []).append(int(event.data["messageId"]))
    assert all(order == sorted(order) for order in by_task.values())

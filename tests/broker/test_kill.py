"""A broker with a journal, killed by SIGKILL at random moments under load, again and again on one file.

``TASKBUS_KILL_ROUNDS`` sets how often, ``TASKBUS_KILL_SEED`` when and under which load.
"""

import asyncio
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest
from pamqp.commands import Basic

from events.broker.journal_file import Synchronous
from tests.broker.journaled import Journaled, journaling
from tests.broker.peer import Closed, PeerChannel, connected

ROUNDS: Final = int(os.environ.get("TASKBUS_KILL_ROUNDS", "20"))
SEED: Final = int(os.environ.get("TASKBUS_KILL_SEED", "0")) or random.randrange(1, 2**32)
WINDOW: Final = 200
"""Messages that are out without a confirm."""
QUEUES: Final = ("taken at once", "taken at times", "taken in the end")
PERSISTENT: Final = 2
MODES: Final[tuple[Synchronous, ...]] = ("NORMAL", "FULL")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60 + 5 * ROUNDS)]


class Record:
    """What was told and heard over all rounds; messages are numbers in the order of publication."""

    def __init__(self) -> None:
        self.published = 0
        self.confirmed: set[int] = set()
        self.heard: dict[str, set[int]] = {queue: set() for queue in QUEUES}
        self.settled: dict[str, set[int]] = {queue: set() for queue in QUEUES}
        """Acknowledged, and the broker has answered something else since."""
        self.problems: list[str] = []
        self.repeated = 0

    def hears(self, queue: str, number: int, last: int, redelivered: bool) -> None:
        """A delivery on a connection whose `last` was another."""
        if number <= last:
            self.problems.append(f"{queue}: {number} came after {last}")
        if number in self.settled[queue]:
            self.problems.append(f"{queue}: {number} came again after the end of its acknowledgement")
        if number in self.heard[queue]:
            self.repeated += 1
            if not redelivered:
                self.problems.append(f"{queue}: {number} came again and was called new")
        self.heard[queue].add(number)

    def lost(self) -> Iterable[str]:
        for queue, heard in self.heard.items():
            if missing := sorted(self.confirmed - heard):
                yield f"{queue}: confirmed and lost: {missing}"


async def test_killed_at_any_moment_it_keeps_what_it_has_confirmed(tmp_path: Path) -> None:
    record, chance = Record(), random.Random(SEED)
    async with journaling() as brokers:
        for _ in range(ROUNDS):
            async with brokers.broker(tmp_path / "journal", chance.choice(MODES)) as broker:
                await _round(broker, record, chance)
        async with brokers.broker(tmp_path / "journal") as broker:
            for queue in QUEUES:
                await _drain(broker, queue, record)
    story = f"seed {SEED}: {record.published} published, {len(record.confirmed)} confirmed"
    problems = [*record.problems, *record.lost()]
    assert not problems, "\n".join([story, *problems])
    assert record.repeated, f"{story}, and no kill came between a delivery and its acknowledgement"
    print(f"{story}, {record.repeated} redelivered")


async def _round(broker: Journaled, record: Record, chance: random.Random) -> None:
    taken = QUEUES[: chance.randint(1, 2)]
    async with connected(broker.url) as publishing, connected(broker.url) as consuming:
        publisher = await publishing.open()
        await _declare(publisher)
        asyncio.get_running_loop().call_later(chance.uniform(0.0, 0.3), broker.kill)
        takers = [_take(await consuming.open(), queue, record, chance) for queue in taken]
        ends = await asyncio.gather(_publish(publisher, record, chance), *takers, return_exceptions=True)
        assert all(isinstance(end, Closed | OSError) for end in ends), ends


async def _declare(channel: PeerChannel) -> None:
    await channel.exchange("topic", "events", durable=True, auto_delete=False)
    for queue in QUEUES:
        await channel.queue(queue, durable=True)
        await channel.bind(queue, "events", "#")


async def _publish(channel: PeerChannel, record: Record, chance: random.Random) -> None:
    await channel.confirms()
    first, confirmed, tag = record.published, 0, 0
    while True:
        while tag < confirmed + WINDOW:
            tag += 1
            record.published += 1
            body = b"%d " % record.published + bytes(chance.choice([10, 500, 5000]))
            channel.publish(body, "key", "events", delivery_mode=PERSISTENT)
        ack = await channel.expect(Basic.Ack)
        assert ack.multiple or ack.delivery_tag == confirmed + 1
        confirmed = ack.delivery_tag
        record.confirmed.update(range(first + 1, first + confirmed + 1))


async def _take(channel: PeerChannel, queue: str, record: Record, chance: random.Random) -> None:
    await channel.call(Basic.Qos(prefetch_count=chance.choice([1, 20, 300])))
    await channel.consume(queue)
    last, acknowledged = 0, []
    while True:
        delivery = await channel.delivery()
        number = int(delivery.body.split()[0])
        record.hears(queue, number, last, delivery.method.redelivered)
        last = number
        channel.send(Basic.Ack(delivery.method.delivery_tag))
        acknowledged.append(number)
        if chance.random() < 0.02:
            await channel.settled()
            record.settled[queue].update(acknowledged)


async def _drain(broker: Journaled, queue: str, record: Record) -> None:
    async with connected(broker.url) as peer:
        channel = await peer.open()
        count, last = await channel.depth(queue), 0
        await channel.consume(queue, no_ack=True)
        for delivery in await channel.deliveries(count):
            number = int(delivery.body.split()[0])
            record.hears(queue, number, last, delivery.method.redelivered)
            last = number

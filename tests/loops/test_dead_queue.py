"""A queue that nobody consumes, on the built-in broker: it is bounded, says so, and holds up no other."""

import asyncio
from datetime import timedelta
from typing import Final

import aio_pika
import pytest

from events.broker import Broker, BrokerLimits
from events.broker.queues import EMPTY_BYTES
from events.exchanges import EXCHANGES
from events.publisher import Publisher
from queue_service.loops.outbox_relay import OutboxRelay
from queue_service.store.database import Database
from tests.loops.outbox_rows import aside, record, waiting
from tests.loops.test_outbox_relay import time_flies

QUEUE_BYTES: Final = 200_000
PARTS: Final = 10
EACH: Final = 100


async def test_a_queue_that_nobody_consumes_holds_up_its_own_tasks_only(
    sqlite_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Broker(limits=BrokerLimits(queue_bytes=QUEUE_BYTES)) as broker:
        relay = OutboxRelay(sqlite_database, Publisher(broker.url), "test", idle=timedelta(hours=1))
        await relay.connect()
        connection = await aio_pika.connect(broker.url)
        channel = await connection.channel()
        exchange = EXCHANGES[0].full_name
        dead = await channel.declare_queue("dead", durable=True)
        await dead.bind(exchange, "dead.#")
        live = await channel.declare_queue("live", durable=True)
        await live.bind(exchange, "live.#")
        heard: list[str] = []
        all_heard = asyncio.Event()

        def hear(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            heard.append(message.routing_key or "")
            if len(heard) == PARTS * EACH:
                all_heard.set()

        await live.consume(hear, no_ack=True)
        for part in range(PARTS):
            names = [f"{kind}.{part}.{number}" for number in range(EACH) for kind in ("dead", "live")]
            await record(sqlite_database, *names, exchange=exchange, key_of=str)
            while await relay.run_once():
                pass
        await all_heard.wait()
        assert heard == [f"live.{part}.{number}" for part in range(PARTS) for number in range(EACH)]
        assert set(await waiting(sqlite_database)) == set(await aside(sqlite_database))
        assert "queue dead is full" in caplog.text
        (ready,) = [queue.ready for queue in broker.queues() if queue.name == "dead"]
        assert 0 < ready < QUEUE_BYTES / EMPTY_BYTES
        assert len(await aside(sqlite_database)) == PARTS * EACH - ready

        await dead.consume(lambda message: None, no_ack=True)
        time_flies(relay)
        while await waiting(sqlite_database):
            await relay.run_once()
        await relay.stop()
        await connection.close()

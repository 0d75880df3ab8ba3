"""A listener never stays deaf: whatever breaks, it listens again, and misses nothing of a named queue."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aio_pika.abc import AbstractChannel

from events import BrokerUnavailable, Delivery, Listener, TaskDefined
from events.connection import Backoff
from schemas.messages import Message
from tests.events import samples
from tests.events.proxy import Proxy

Publish = Callable[..., Awaitable[None]]


def listening(url: str, **options: Any) -> Listener:
    return Listener(url, backoff=Backoff(0.02, 0.1), **options)


class Heard:
    """The message ids two handlers got: one with a named queue, one with an anonymous queue."""

    def __init__(self, listener: Listener, queue: str) -> None:
        self.named: asyncio.Queue[str] = asyncio.Queue()
        self.anonymous: asyncio.Queue[str] = asyncio.Queue()

        @listener.on(TaskDefined(), queue=queue)
        async def named(event: Message, delivery: Delivery) -> None:
            await self.named.put(delivery.message_id)

        @listener.on(TaskDefined())
        async def anonymous(event: Message, delivery: Delivery) -> None:
            await self.anonymous.put(delivery.message_id)


async def heard_of(queue: asyncio.Queue[str], message_id: str) -> None:
    """Wait for this message; an earlier one may come again when its acknowledgement was cut off."""
    while await queue.get() != message_id:
        pass


async def test_after_a_cut_queues_bindings_and_consumers_are_back(
    amqp_url: str, publish: Publish, queue: str
) -> None:
    async with Proxy(amqp_url) as proxy, listening(proxy.url) as listener:
        heard = Heard(listener, queue)
        await listener.ready()
        for cuts in range(1, 4):
            await proxy.cut()
            await proxy.connected(cuts + 1)
            await listener.ready()
            await publish(samples.defined())
            await heard_of(heard.named, f"m{cuts}")
            await heard_of(heard.anonymous, f"m{cuts}")


async def test_what_is_published_while_cut_off_waits_in_the_named_queue(
    amqp_url: str, publish: Publish, queue: str
) -> None:
    async with Proxy(amqp_url) as proxy, listening(proxy.url) as listener:
        heard = Heard(listener, queue)
        await listener.ready()
        await proxy.refuse()
        await proxy.cut()
        await publish(samples.defined())
        await proxy.accept()
        assert await heard.named.get() == "m1"


async def test_a_half_open_connection_is_noticed_by_the_watch(
    amqp_url: str, publish: Publish, queue: str
) -> None:
    async with Proxy(amqp_url) as proxy, listening(proxy.url, watch_interval=0.3) as listener:
        heard = Heard(listener, queue)
        await listener.ready()
        proxy.swallow()
        await publish(samples.defined())
        async with asyncio.timeout(10):
            await proxy.connected(2)
        proxy.flow()
        assert await heard.named.get() == "m1"


async def test_a_broker_that_refuses_at_first_is_reached_in_the_end(
    amqp_url: str, publish: Publish, queue: str
) -> None:
    async with Proxy(amqp_url) as proxy:
        await proxy.refuse()
        async with listening(proxy.url) as listener:
            heard = Heard(listener, queue)
            refused = ""
            try:
                await listener.ready(timeout=0.1)
            except BrokerUnavailable as error:
                refused = str(error)
            assert "cannot reach the AMQP broker" in refused
            await proxy.accept()
            await listener.ready()
            await publish(samples.defined())
            assert await heard.named.get() == await heard.anonymous.get() == "m1"


async def test_a_deleted_queue_is_made_again(
    amqp_url: str, admin: AbstractChannel, publish: Publish, queue: str
) -> None:
    async with Proxy(amqp_url) as proxy, listening(proxy.url, watch_interval=0.2) as listener:
        heard = Heard(listener, queue)
        await listener.ready()
        consumer = listener._consumers[0]
        await admin.queue_delete(queue)
        await consumer_lost(consumer)
        await listener.ready()
        await publish(samples.defined())
        assert await heard.named.get() == "m1"
        assert proxy.connections == 1


async def test_a_consumer_the_broker_forgot_is_noticed_by_the_watch(
    amqp_url: str, publish: Publish, queue: str
) -> None:
    async with listening(amqp_url, watch_interval=0.2) as listener:
        heard = Heard(listener, queue)
        await listener.ready()
        consumer = listener._consumers[0]
        assert consumer._queue is not None
        await consumer._queue.cancel(consumer._consumer_tag)
        await publish(samples.defined())
        assert await heard.named.get() == "m1"


async def consumer_lost(consumer: Any) -> None:
    """Wait until a consumer has noticed that it is not served any more."""
    lifetime = consumer._lifetime
    if lifetime is not None:
        async with asyncio.timeout(10):
            await asyncio.wait([lifetime.over])


async def test_a_handler_that_runs_while_the_link_is_cut_finishes_before_its_message_comes_again(
    amqp_url: str, publish: Publish, queue: str
) -> None:
    running = 0
    started, finish, again = asyncio.Event(), asyncio.Event(), asyncio.Event()
    deliveries: list[Delivery] = []

    async def handle(event: Message, delivery: Delivery) -> None:
        nonlocal running
        running += 1
        assert running == 1
        deliveries.append(delivery)
        started.set()
        await finish.wait()
        running -= 1
        if len(deliveries) == 2:
            again.set()

    async with Proxy(amqp_url) as proxy, listening(proxy.url) as listener:
        listener.on(TaskDefined(), queue=queue)(handle)
        await listener.ready()
        await publish(samples.defined())
        await started.wait()
        await proxy.cut()
        await proxy.connected(2)
        await listener.ready()
        finish.set()
        await again.wait()
    assert [delivery.message_id for delivery in deliveries] == ["m1", "m1"]
    assert deliveries[1].redelivered


async def test_a_listener_can_be_stopped_while_it_cannot_connect(amqp_url: str, queue: str) -> None:
    async with Proxy(amqp_url) as proxy:
        async with listening(proxy.url) as listener:
            Heard(listener, queue)
            await listener.ready()
            await proxy.refuse()
            await proxy.cut()
        assert listener._supervisor is None


async def test_a_listener_can_be_stopped_while_its_link_swallows_everything(
    amqp_url: str, queue: str
) -> None:
    async with Proxy(amqp_url) as proxy:
        async with listening(proxy.url) as listener:
            Heard(listener, queue)
            await listener.ready()
            proxy.swallow()
        assert listener._supervisor is None


def test_waits_double_up_to_the_longest_and_start_over_after_success() -> None:
    backoff = Backoff(first=1, longest=5, chance=lambda: 0.0)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next() == 1


def test_chance_shortens_a_wait_by_up_to_a_half() -> None:
    assert Backoff(first=8, longest=8, chance=lambda: 1.0).next() == 4

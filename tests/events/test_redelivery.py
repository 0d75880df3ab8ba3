"""A message whose handler fails comes again a bounded number of times, and is never lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aio_pika import Message as AmqpMessage
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq import Channel

from events import Delivery, Listener, TaskDefined, UndecodableMessage, bind
from events.connection import Backoff
from events.redelivery import RetryPolicy
from schemas.messages import Message
from tests.events import samples

Publish = Callable[..., Awaitable[None]]
BROKEN = b'{"version": 1, "status": {}}'


def listening(url: str, **options: Any) -> Listener:
    return Listener(url, backoff=Backoff(0.02, 0.1), **options)


class Failing:
    """A handler that fails the first so many times."""

    def __init__(self, times: int) -> None:
        self.deliveries: list[Delivery] = []
        self.succeeded = asyncio.Event()
        self.exhausted = asyncio.Event()
        self._times = times

    async def handle(self, event: Message, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if len(self.deliveries) <= self._times:
            raise ValueError(f"failure {len(self.deliveries)}")
        self.succeeded.set()


async def dead_letter(
    admin: AbstractChannel, queue: str, arguments: dict[str, Any] | None = None
) -> AbstractIncomingMessage:
    """Wait for the first message in the dead-letter queue."""
    arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
    dead = await admin.declare_queue(f"{queue}.dead", durable=True, arguments=arguments)
    await dead.consume(arrived.put, no_ack=True)
    async with asyncio.timeout(10):
        return await arrived.get()


async def is_empty(admin: AbstractChannel, queue: str) -> bool:
    return await (await admin.get_queue(queue)).get(no_ack=True, fail=False) is None


async def test_a_failing_handler_is_called_again_with_the_same_facts(
    amqp_url: str, admin: AbstractChannel, publish: Publish, queue: str
) -> None:
    handler = Failing(times=2)
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue, retry_delay=0.02)(handler.handle)
        await listener.ready()
        await publish(samples.defined(), "ci")
        await handler.succeeded.wait()
    assert [delivery.attempt for delivery in handler.deliveries] == [1, 2, 3]
    first = handler.deliveries[0]
    for again in handler.deliveries[1:]:
        assert (again.exchange, again.routing_key, again.cc, again.message_id) == (
            first.exchange,
            first.routing_key,
            first.cc,
            first.message_id,
        )
    assert await is_empty(admin, queue)
    assert await is_empty(admin, f"{queue}.dead")


async def test_after_the_last_attempt_the_message_is_dead_lettered_with_its_story(
    amqp_url: str, admin: AbstractChannel, publish: Publish, queue: str
) -> None:
    handler = Failing(times=9)
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue, retry_delay=0.02)(handler.handle)
        await listener.ready()
        await publish(samples.defined(), "ci")
        dead = await dead_letter(admin, queue)
    assert len(handler.deliveries) == 3
    assert dead.body == samples.defined().to_json()
    assert dead.message_id == "m1"
    headers = dead.headers
    assert headers["taskbus-error"] == "ValueError: failure 3"
    assert headers["taskbus-queue"] == queue
    assert headers["taskbus-exchange"] == TaskDefined().exchange
    assert headers["taskbus-routing-key"] == handler.deliveries[0].routing_key
    assert headers["taskbus-cc"] == ["route.ci"]
    assert await is_empty(admin, queue)


async def test_what_the_handler_cannot_read_is_dead_lettered_at_once(
    amqp_url: str, admin: AbstractChannel, publish: Publish, queue: str
) -> None:
    attempts: list[int] = []

    async def handle(event: Message, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        raise UndecodableMessage("names nobody")

    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue)(handle)
        await listener.ready()
        await publish(samples.defined())
        dead = await dead_letter(admin, queue)
    assert attempts == [1]
    assert dead.headers["taskbus-error"] == "UndecodableMessage: names nobody"


async def test_quorum_queues_retry_and_dead_letter_the_same(
    amqp_url: str, admin: AbstractChannel, publish: Publish, queue: str
) -> None:
    handler = Failing(times=9)
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue, queue_type="quorum", attempts=2, retry_delay=0.02)(
            handler.handle
        )
        await listener.ready()
        await publish(samples.defined())
        quorum = {"x-queue-type": "quorum"}
        dead = await dead_letter(admin, queue, arguments=quorum)
    assert dead.headers["taskbus-error"] == "ValueError: failure 2"


async def test_a_failure_does_not_hold_up_the_messages_behind_it(
    amqp_url: str, publish: Publish, queue: str
) -> None:
    handled: asyncio.Queue[str] = asyncio.Queue()

    async def handle(event: Any, delivery: Delivery) -> None:
        if delivery.message_id == "m1":
            raise ValueError("not this one")
        await handled.put(delivery.message_id)

    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue, prefetch=1)(handle)
        await listener.ready()
        await publish(samples.defined())
        await publish(samples.defined())
        assert await handled.get() == "m2"


async def test_a_message_that_cannot_be_read_goes_to_the_dead_and_not_to_the_handler(
    amqp_url: str, admin: AbstractChannel, queue: str
) -> None:
    handler = Failing(times=0)
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue)(handler.handle)
        await listener.ready()
        exchange = await admin.get_exchange(TaskDefined().exchange)
        await exchange.publish(AmqpMessage(BROKEN), "primary.a.b.c.d.e.f.g.h._")
        dead = await dead_letter(admin, queue)
    assert dead.body == BROKEN
    assert "status.taskId: Field required" in str(dead.headers["taskbus-error"])
    assert handler.deliveries == []


async def test_what_else_a_message_carries_survives_its_retries(
    amqp_url: str, admin: AbstractChannel, queue: str, name: str
) -> None:
    exchange = await admin.declare_exchange(f"{name}-x", "topic", auto_delete=True)
    handler = Failing(times=9)
    async with listening(amqp_url) as listener:
        listener.on(bind(exchange.name), queue=queue, attempts=2, retry_delay=0.02)(handler.handle)
        await listener.ready()
        message = AmqpMessage(
            b"{}", headers={"own": 1, "taskbus-attempt": 99}, correlation_id="c", type="t", app_id="a"
        )
        await exchange.publish(message, "k")
        dead = await dead_letter(admin, queue)
    assert [delivery.attempt for delivery in handler.deliveries] == [1, 2]
    assert (dead.headers["own"], dead.correlation_id, dead.type, dead.app_id) == (1, "c", "t", "a")
    assert (dead.headers["taskbus-exchange"], dead.headers["taskbus-routing-key"]) == (exchange.name, "k")


async def test_a_failure_between_sending_to_the_retry_queue_and_acknowledging_repeats_the_message(
    amqp_url: str, publish: Publish, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment a crash would hurt most: nothing may be lost, a repetition is fine."""
    acknowledge = Channel.basic_ack
    broken = asyncio.Event()

    async def fail_once(channel: Channel, *arguments: Any, **options: Any) -> None:
        if not broken.is_set():
            broken.set()
            raise ConnectionResetError("crashed before the acknowledgement")
        await acknowledge(channel, *arguments, **options)

    monkeypatch.setattr(Channel, "basic_ack", fail_once)
    handler = Failing(times=1)
    repeated = asyncio.Event()

    async def handle(event: Message, delivery: Delivery) -> None:
        await handler.handle(event, delivery)
        if len(handler.deliveries) == 3:
            repeated.set()

    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue, retry_delay=0.02)(handle)
        await listener.ready()
        await publish(samples.defined())
        await repeated.wait()
    assert broken.is_set()
    assert sorted(delivery.attempt for delivery in handler.deliveries) == [1, 1, 2]


async def test_a_missing_retry_queue_loses_nothing(
    amqp_url: str, admin: AbstractChannel, publish: Publish, queue: str
) -> None:
    handler = Failing(times=1)
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue, retry_delay=0.02)(handler.handle)
        await listener.ready()
        await admin.queue_delete(f"{queue}.retry.20ms")
        await publish(samples.defined())
        await handler.succeeded.wait()


async def test_an_anonymous_queue_tries_in_place_then_drops_and_tells(
    amqp_url: str, publish: Publish
) -> None:
    dropped: asyncio.Queue[tuple[Delivery, Exception]] = asyncio.Queue()
    handler = Failing(times=9)
    async with listening(
        amqp_url, on_dropped=lambda delivery, error: dropped.put_nowait((delivery, error))
    ) as listener:
        listener.on(TaskDefined(), retry_delay=0.02)(handler.handle)
        await listener.ready()
        await publish(samples.defined())
        delivery, error = await dropped.get()
        assert listener.dropped == 1
    assert delivery.message_id == "m1"
    assert str(error) == "failure 3"
    assert [delivery.attempt for delivery in handler.deliveries] == [1, 2, 3]


async def test_auto_ack_never_tries_again(amqp_url: str, publish: Publish, queue: str) -> None:
    dropped: asyncio.Queue[Exception] = asyncio.Queue()
    handler = Failing(times=9)
    async with listening(amqp_url, on_dropped=lambda _, error: dropped.put_nowait(error)) as listener:
        listener.on(TaskDefined(), queue=queue, auto_ack=True)(handler.handle)
        await listener.ready()
        await publish(samples.defined())
        assert str(await dropped.get()) == "failure 1"


async def test_a_handler_that_is_cancelled_by_what_it_waits_for_has_failed(
    amqp_url: str, publish: Publish
) -> None:
    dropped: asyncio.Queue[Exception] = asyncio.Queue()

    async def handle(event: Message) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async with listening(amqp_url, on_dropped=lambda _, error: dropped.put_nowait(error)) as listener:
        listener.on(TaskDefined(), attempts=1)(handle)
        await listener.ready()
        for _ in range(2):
            await publish(samples.defined())
            assert "cancelled by something it waited for" in str(await dropped.get())


def test_waits_grow_fourfold_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=6, delay=1.0, longest=60.0)
    assert [policy.wait(attempt) for attempt in range(1, 6)] == [1, 4, 16, 60, 60]
    assert policy.retry_queues("q") == {
        "q.retry.1000ms": 1000,
        "q.retry.4000ms": 4000,
        "q.retry.16000ms": 16000,
        "q.retry.60000ms": 60000,
    }

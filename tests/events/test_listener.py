"""What a handler gets, when a message counts as handled, and how a listener stops."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aio_pika import Message as AmqpMessage
from aio_pika.abc import AbstractChannel

from events import (
    BrokerUnavailable,
    Delivery,
    Listener,
    TaskCompleted,
    TaskDefined,
    TaskGroupResolved,
    TaskRunning,
    bind,
)
from events.connection import Backoff
from schemas.messages import Message, TaskDefinedMessage, TaskRunningMessage
from tests.events import samples

Publish = Callable[..., Awaitable[None]]


def listening(url: str, **options: Any) -> Listener:
    return Listener(url, backoff=Backoff(0.02, 0.1), **options)


async def test_a_handler_gets_typed_events_of_all_its_bindings(
    amqp_url: str, publish: Publish, queue: str
) -> None:
    events: asyncio.Queue[Message] = asyncio.Queue()
    async with listening(amqp_url) as listener:

        @listener.on(TaskDefined(worker_type="gaia"), TaskRunning(worker_type="gaia"), queue=queue)
        async def handle(event: TaskDefinedMessage | TaskRunningMessage) -> None:
            await events.put(event)

        await listener.ready()
        await publish(samples.defined())
        await publish(samples.completed())
        await publish(samples.running())
        assert await events.get() == samples.defined()
        assert await events.get() == samples.running()


async def test_filters_keep_other_messages_away(amqp_url: str, publish: Publish) -> None:
    events: asyncio.Queue[Message] = asyncio.Queue()
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(task_id=samples.OTHER_TASK_ID))(events.put)
        await listener.ready()
        await publish(samples.defined())
        await publish(samples.defined(samples.OTHER_TASK_ID))
        assert (await events.get()).status.task_id == samples.OTHER_TASK_ID
        assert events.empty()


async def test_a_route_binding_hears_tasks_with_such_a_route_once(amqp_url: str, publish: Publish) -> None:
    deliveries: asyncio.Queue[Delivery] = asyncio.Queue()

    async def handle(event: TaskDefinedMessage, delivery: Delivery) -> None:
        await deliveries.put(delivery)

    async with listening(amqp_url) as listener:
        listener.on(TaskDefined.route("ci.#"), TaskDefined.route("*.try"))(handle)
        await listener.ready()
        await publish(samples.defined(), "other")
        await publish(samples.defined(), "ci.try", "other")
        await publish(samples.defined(), "ci")
        assert [(await deliveries.get()).cc for _ in range(2)] == [
            ("route.ci.try", "route.other"),
            ("route.ci",),
        ]


async def test_a_handler_may_ask_for_the_facts_of_the_delivery(amqp_url: str, publish: Publish) -> None:
    deliveries: asyncio.Queue[Delivery] = asyncio.Queue()
    async with listening(amqp_url) as listener:

        @listener.on(TaskCompleted())
        async def handle(event: Message, delivery: Delivery) -> None:
            await deliveries.put(delivery)

        await listener.ready()
        await publish(samples.completed(), "ci")
        delivery = await deliveries.get()
    assert delivery == Delivery(
        exchange=TaskCompleted().exchange,
        routing_key=f"primary.{samples.TASK_ID}.0.eu-1.w-1.aws.gaia.sched.{samples.GROUP_ID}._",
        cc=("route.ci",),
        message_id="m1",
        redelivered=False,
        attempt=1,
    )


async def test_several_handlers_hear_the_same_message(amqp_url: str, publish: Publish, queue: str) -> None:
    first: asyncio.Queue[Message] = asyncio.Queue()
    second: asyncio.Queue[Message] = asyncio.Queue()
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue)(first.put)
        listener.on(TaskDefined())(second.put)
        await listener.ready()
        await publish(samples.defined())
        assert await first.get() == await second.get() == samples.defined()


async def test_a_handler_can_be_registered_before_the_listener_runs(amqp_url: str, publish: Publish) -> None:
    events: asyncio.Queue[Message] = asyncio.Queue()
    listener = listening(amqp_url)
    listener.on(TaskDefined())(events.put)
    async with listener:
        await listener.ready()
        await publish(samples.defined())
        assert await events.get() == samples.defined()


async def test_messages_of_a_foreign_exchange_are_plain_values(
    amqp_url: str, admin: AbstractChannel, name: str
) -> None:
    exchange = await admin.declare_exchange(name, "topic", auto_delete=True)
    events: asyncio.Queue[Any] = asyncio.Queue()
    async with listening(amqp_url) as listener:
        listener.on(bind(name, "build.#"), auto_ack=True)(events.put)
        await listener.ready()
        await exchange.publish(AmqpMessage(b'{"id": 7}'), "build.linux")
        assert await events.get() == {"id": 7}


async def test_a_missing_exchange_is_waited_for_while_the_others_are_heard(
    amqp_url: str, admin: AbstractChannel, publish: Publish, name: str
) -> None:
    events: asyncio.Queue[Any] = asyncio.Queue()
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined())(events.put)
        await listener.ready()
        listener.on(bind(name, "#"))(events.put)
        with pytest.raises(BrokerUnavailable, match=f"the exchange '{name}' does not exist on the broker"):
            await listener.ready(timeout=0.2)
        await publish(samples.defined())
        assert await events.get() == samples.defined()
        exchange = await admin.declare_exchange(name, "topic", auto_delete=True)
        await listener.ready()
        await exchange.publish(AmqpMessage(b"1"), "key")
        assert await events.get() == 1


async def test_one_handler_at_a_time_keeps_the_order(amqp_url: str, publish: Publish, queue: str) -> None:
    running, most, seen, done = 0, 0, [], asyncio.Event()

    async def handle(event: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        seen.append(event.run_id)
        running -= 1
        if len(seen) == 50:
            done.set()

    async with listening(amqp_url) as listener:
        listener.on(TaskRunning(), queue=queue, prefetch=10)(handle)
        await listener.ready()
        for run in range(50):
            await publish(samples.running(run_id=run))
        await done.wait()
    assert most == 1
    assert seen == list(range(50))


async def test_as_many_handlers_run_at_a_time_as_asked_for(amqp_url: str, publish: Publish) -> None:
    together = asyncio.Barrier(3)

    async def handle(event: Message) -> None:
        await together.wait()

    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), concurrency=2)(handle)
        await listener.ready()
        await publish(samples.defined())
        await publish(samples.defined())
        async with asyncio.timeout(10):
            await together.wait()


async def test_a_message_is_acknowledged_only_after_its_handler_returned(
    amqp_url: str, admin: AbstractChannel, publish: Publish, queue: str
) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def handle(event: Message) -> None:
        started.set()
        await finish.wait()

    async with listening(amqp_url, stop_timeout=0) as listener:
        listener.on(TaskDefined(), queue=queue)(handle)
        await listener.ready()
        await publish(samples.defined())
        await started.wait()
    message = await (await admin.get_queue(queue)).get(no_ack=True)
    assert message.redelivered
    assert message.message_id == "m1"


async def test_auto_ack_acknowledges_before_the_handler_runs(
    amqp_url: str, admin: AbstractChannel, publish: Publish, queue: str
) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def handle(event: Message) -> None:
        started.set()
        await finish.wait()

    async with listening(amqp_url, stop_timeout=0) as listener:
        listener.on(TaskDefined(), queue=queue, auto_ack=True)(handle)
        await listener.ready()
        await publish(samples.defined())
        await started.wait()
    assert await (await admin.get_queue(queue)).get(no_ack=True, fail=False) is None


async def test_a_named_queue_keeps_messages_while_nobody_listens(
    amqp_url: str, publish: Publish, queue: str
) -> None:
    events: asyncio.Queue[Message] = asyncio.Queue()
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue)(events.put)
        await listener.ready()
    await publish(samples.defined())
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue)(events.put)
        assert await events.get() == samples.defined()


async def test_stopping_lets_running_handlers_finish_and_gives_the_rest_back(
    amqp_url: str, admin: AbstractChannel, publish: Publish, queue: str
) -> None:
    started, finish, finished = asyncio.Event(), asyncio.Event(), []

    async def handle(event: Message, delivery: Delivery) -> None:
        started.set()
        await finish.wait()
        finished.append(delivery.message_id)

    listener = listening(amqp_url)
    await listener.start()
    listener.on(TaskDefined(), queue=queue, prefetch=10)(handle)
    await listener.ready()
    for _ in range(3):
        await publish(samples.defined())
    await started.wait()
    stopping = asyncio.create_task(listener.stop())
    await asyncio.sleep(0)
    finish.set()
    await stopping
    assert finished == ["m1"]
    left = await admin.get_queue(queue)
    assert [(await left.get(no_ack=True)).message_id for _ in range(2)] == ["m2", "m3"]
    assert await left.get(no_ack=True, fail=False) is None


async def test_a_stopped_listener_does_not_pretend_to_start_again(amqp_url: str) -> None:
    listener = listening(amqp_url)
    async with listener:
        pass
    with pytest.raises(RuntimeError, match="make a new one"):
        await listener.start()


async def test_ready_tells_why_there_is_no_broker() -> None:
    async with listening("amqp://guest:secret@127.0.0.1:1/") as listener:
        listener.on(TaskDefined())(asyncio.Queue().put)
        with pytest.raises(BrokerUnavailable, match="start it, or correct the AMQP URL") as caught:
            await listener.ready(timeout=0.1)
    assert "secret" not in str(caught.value)


async def test_a_queue_with_other_properties_is_reported_with_what_to_do(
    amqp_url: str, admin: AbstractChannel, queue: str
) -> None:
    await admin.declare_queue(queue, durable=False)
    async with listening(amqp_url) as listener:
        listener.on(TaskDefined(), queue=queue)(asyncio.Queue().put)
        with pytest.raises(BrokerUnavailable, match="delete it, or choose another name"):
            await listener.ready(timeout=0.5)


async def one(event: Any) -> None: ...


async def two(event: Any, delivery: Delivery) -> None: ...


async def three(event: Any, delivery: Delivery, more: Any) -> None: ...


async def none() -> None: ...


@pytest.mark.parametrize(
    ("options", "handler", "reason"),
    [
        ({"queue": ""}, one, "queue: expected a name of 1 to 230 bytes"),
        ({"queue": "x" * 231}, one, "queue: expected a name of 1 to 230 bytes"),
        ({"queue_type": "stream"}, one, "queue_type: expected classic or quorum"),
        ({"prefetch": 0}, one, "prefetch: expected 1 to 10000"),
        ({"concurrency": 3, "prefetch": 2}, one, r"concurrency: expected 1 to prefetch \(2\)"),
        ({"attempts": 0}, one, "attempts: expected 1 to 100"),
        ({"retry_delay": 0}, one, "retry_delay: expected more than 0"),
        ({}, three, r"handler: expected handler\(event\) or handler\(event, delivery\)"),
        ({}, none, r"handler: expected handler\(event\) or handler\(event, delivery\)"),
    ],
)
def test_wrong_options_are_refused_by_name(options: Any, handler: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Listener("amqp://localhost").on(TaskDefined(), **options)(handler)


def test_a_handler_needs_a_binding() -> None:
    with pytest.raises(ValueError, match="bindings: expected at least one"):
        Listener("amqp://localhost").on()(one)


def test_a_queue_has_one_handler_in_a_listener() -> None:
    listener = Listener("amqp://localhost")
    listener.on(TaskDefined(), queue="q")(one)
    with pytest.raises(ValueError, match="queue: 'q' has a handler in this listener already"):
        listener.on(TaskCompleted(), queue="q")(two)


def test_registering_returns_the_handler_itself() -> None:
    assert Listener("amqp://localhost").on(TaskGroupResolved())(two) is two

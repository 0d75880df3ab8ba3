"""Declaring, purging and deleting queues, on both brokers."""

from collections.abc import Callable
from typing import Any

import pytest
from pamqp.commands import Basic, Channel, Queue

from tests.broker.peer import Closed, Peer, PeerChannel, connected, unique

NameMaker = Callable[[], str]


async def test_the_broker_makes_a_name(channel: PeerChannel) -> None:
    names = {await channel.queue(exclusive=True) for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("amq.gen-") for name in names)


async def test_an_empty_name_means_the_queue_declared_last(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    channel.publish(b"1", queue)
    await channel.settled()
    assert (await channel.call(Queue.Purge(queue=""))).message_count == 1


async def test_declaring_counts_messages_and_consumers(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    channel.publish(b"", queue)
    channel.publish(b"", queue)
    await channel.call(Basic.Qos(prefetch_count=1))
    await channel.consume(queue)
    await channel.delivery()
    declared = await channel.call(Queue.Declare(queue=queue, passive=True))
    assert (declared.message_count, declared.consumer_count) == (1, 1)


async def test_purge_counts_waiting_messages_only(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    for _ in range(3):
        channel.publish(b"", queue)
    await channel.get(queue, no_ack=False)
    assert (await channel.call(Queue.Purge(queue=queue))).message_count == 2
    channel.send(Basic.Nack(1, requeue=True))
    assert await channel.get(queue) is not None


async def test_delete_counts_waiting_messages(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    for _ in range(3):
        channel.publish(b"", queue)
    assert (await channel.call(Queue.Delete(queue=queue))).message_count == 3


async def test_deleting_a_missing_queue_is_no_error(channel: PeerChannel) -> None:
    assert (await channel.call(Queue.Delete(queue=unique("missing")))).message_count == 0


async def test_a_queue_in_use_is_not_deleted_if_unused(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    await channel.consume(queue)
    with pytest.raises(Closed) as closed:
        await channel.call(Queue.Delete(queue=queue, if_unused=True))
    assert (closed.value.level, closed.value.code) == ("channel", 406)


async def test_a_queue_with_messages_is_not_deleted_if_empty(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    channel.publish(b"", queue)
    with pytest.raises(Closed) as closed:
        await channel.call(Queue.Delete(queue=queue, if_empty=True))
    assert (closed.value.level, closed.value.code) == ("channel", 406)


async def test_an_unused_empty_queue_is_deleted(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    await channel.call(Queue.Delete(queue=queue, if_unused=True, if_empty=True))
    with pytest.raises(Closed) as closed:
        await channel.depth(queue)
    assert closed.value.code == 404


async def test_an_exclusive_queue_is_locked_for_others(amqp_url: str, channel: PeerChannel) -> None:
    queue = await channel.queue(unique(), exclusive=True)
    async with connected(amqp_url) as stranger:
        for method in (
            Queue.Declare(queue=queue, passive=True),
            Queue.Declare(queue=queue, exclusive=True),
            Queue.Delete(queue=queue),
            Queue.Purge(queue=queue),
            Queue.Bind(queue=queue, exchange="amq.topic", routing_key="#"),
            Basic.Consume(queue=queue),
            Basic.Get(queue=queue),
        ):
            with pytest.raises(Closed) as closed:
                await (await stranger.open()).call(method)
            assert (closed.value.level, closed.value.code) == ("channel", 405), method.name


async def test_an_exclusive_queue_takes_messages_from_others(amqp_url: str, channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    await channel.consume(queue)
    async with connected(amqp_url) as stranger:
        (await stranger.open()).publish(b"hello", queue)
        assert (await channel.delivery()).body == b"hello"


async def test_an_exclusive_queue_goes_with_its_connection(amqp_url: str, channel: PeerChannel) -> None:
    async with connected(amqp_url) as owner:
        queue = await (await owner.open()).queue(unique(), exclusive=True)
    with pytest.raises(Closed) as closed:
        await channel.depth(queue)
    assert closed.value.code == 404


async def test_an_exclusive_queue_outlives_its_channel(peer: Peer, channel: PeerChannel) -> None:
    other = await peer.open()
    queue = await other.queue(exclusive=True)
    await other.call(Channel.Close(200, "", 0, 0))
    assert await channel.depth(queue) == 0


async def test_an_auto_delete_queue_goes_with_its_last_consumer(channel: PeerChannel) -> None:
    queue = await channel.queue(unique(), auto_delete=True)
    first, second = await channel.consume(queue), await channel.consume(queue)
    await channel.call(Basic.Cancel(first))
    assert await channel.depth(queue) == 0
    await channel.call(Basic.Cancel(second))
    with pytest.raises(Closed) as closed:
        await channel.depth(queue)
    assert closed.value.code == 404


async def test_an_auto_delete_queue_waits_for_its_first_consumer(channel: PeerChannel) -> None:
    queue = await channel.queue(unique(), auto_delete=True)
    channel.publish(b"1", queue)
    assert await channel.get(queue) is not None
    assert await channel.depth(queue) == 0
    await channel.call(Queue.Delete(queue=queue))


async def test_a_shared_queue_outlives_its_connection(
    amqp_url: str, channel: PeerChannel, shared_name: NameMaker
) -> None:
    name = shared_name()
    async with connected(amqp_url) as owner:
        other = await owner.open()
        await other.confirms()
        await other.queue(name, durable=True)
        other.publish(b"still here", name, delivery_mode=2)
        await other.outcomes(1)
    message = await channel.get(name)
    assert message is not None
    assert message.body == b"still here"


ARGUMENTS: dict[str, Any] = {
    "x-message-ttl": 60_000,
    "x-expires": 60_000,
    "x-max-length": 10,
    "x-max-length-bytes": 1000,
    "x-overflow": "reject-publish",
    "x-dead-letter-exchange": "amq.topic",
    "x-dead-letter-routing-key": "dead",
}


async def test_declaring_again_alike_is_no_error(channel: PeerChannel) -> None:
    name = await channel.queue(unique(), exclusive=True, arguments=ARGUMENTS)
    assert await channel.queue(name, exclusive=True, arguments=ARGUMENTS) == name


async def test_unknown_arguments_need_not_be_alike(channel: PeerChannel) -> None:
    name = await channel.queue(unique(), exclusive=True, arguments={"x-mine": 1, "x-queue-mode": "lazy"})
    assert await channel.queue(name, exclusive=True, arguments={"x-mine": 2, "x-queue-mode": "lazy"}) == name


@pytest.mark.parametrize("changed", list(ARGUMENTS))
@pytest.mark.parametrize("present", [True, False])
async def test_declaring_again_with_another_argument_is_refused(
    channel: PeerChannel, changed: str, present: bool
) -> None:
    name = await channel.queue(unique(), exclusive=True, arguments=ARGUMENTS)
    other = {**ARGUMENTS}
    other["x-dead-letter-exchange"] = ARGUMENTS["x-dead-letter-exchange"]
    value = other.pop(changed)
    if present:
        other[changed] = value + 1 if isinstance(value, int) else "drop-head"
    if not present and changed == "x-dead-letter-exchange":
        other.pop("x-dead-letter-routing-key")
    with pytest.raises(Closed) as closed:
        await channel.queue(name, exclusive=True, arguments=other)
    assert (closed.value.level, closed.value.code) == ("channel", 406)
    assert "inequivalent arg" in closed.value.text


@pytest.mark.parametrize("flag", ["durable", "auto_delete"])
async def test_declaring_again_with_another_flag_is_refused(
    channel: PeerChannel, shared_name: NameMaker, flag: str
) -> None:
    name = await channel.queue(shared_name())
    with pytest.raises(Closed) as closed:
        await channel.call(Queue.Declare(queue=name, **{flag: True}))
    assert (closed.value.level, closed.value.code) == ("channel", 406)


async def test_declaring_again_as_exclusive_is_refused(channel: PeerChannel, shared_name: NameMaker) -> None:
    name = await channel.queue(shared_name())
    with pytest.raises(Closed) as closed:
        await channel.queue(name, exclusive=True)
    assert (closed.value.level, closed.value.code) == ("channel", 405)


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-message-ttl": -1},
        {"x-message-ttl": "soon"},
        {"x-expires": 0},
        {"x-max-length": -1},
        {"x-max-length-bytes": -1},
        {"x-overflow": "explode"},
        {"x-dead-letter-exchange": 5},
        {"x-dead-letter-routing-key": "key without exchange"},
        {"x-queue-type": "unheard-of"},
        {"x-queue-type": "classic", "x-delivery-limit": 3},
    ],
    ids=str,
)
async def test_a_wrong_argument_is_refused(channel: PeerChannel, arguments: dict[str, Any]) -> None:
    with pytest.raises(Closed) as closed:
        await channel.queue(unique(), exclusive=True, arguments=arguments)
    assert (closed.value.level, closed.value.code) == ("channel", 406)


@pytest.mark.parametrize("flags", [{"durable": False}, {"durable": True, "exclusive": True}], ids=str)
async def test_a_quorum_queue_must_be_durable_and_shared(
    channel: PeerChannel, flags: dict[str, bool]
) -> None:
    with pytest.raises(Closed) as closed:
        await channel.queue(unique(), arguments={"x-queue-type": "quorum"}, **flags)
    assert (closed.value.level, closed.value.code) == ("channel", 406)


@pytest.mark.parametrize(
    ("method", "code"),
    [
        (Queue.Declare(queue=unique("missing"), passive=True), 404),
        (Queue.Declare(queue="amq.mine"), 403),
        (Queue.Purge(queue=unique("missing")), 404),
        (Queue.Purge(queue=""), 404),
        (Queue.Bind(queue=unique("missing"), exchange="amq.topic", routing_key="#"), 404),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
async def test_queue_method_is_refused(channel: PeerChannel, method: Queue.Purge, code: int) -> None:
    with pytest.raises(Closed) as closed:
        await channel.call(method)
    assert (closed.value.level, closed.value.code) == ("channel", code)

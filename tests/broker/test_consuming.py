"""Getting messages out: consume, get, acknowledgements, prefetch and order, on both brokers."""

from collections.abc import Callable

import pytest
from pamqp.commands import Basic, Channel, Queue

from tests.broker.peer import Closed, Peer, PeerChannel, connected

NameMaker = Callable[[], str]


async def filled(channel: PeerChannel, *bodies: bytes) -> str:
    """An exclusive queue with these messages in it."""
    queue = await channel.queue(exclusive=True)
    for body in bodies:
        channel.publish(body, queue)
    await channel.settled()
    return queue


async def test_get_takes_messages_in_order_and_counts_the_rest(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2")
    first, second = await channel.get(queue), await channel.get(queue)
    assert first is not None
    assert second is not None
    assert (first.body, first.method.message_count, first.method.redelivered) == (b"1", 1, False)
    assert (second.body, second.method.message_count) == (b"2", 0)


async def test_get_from_an_empty_queue_says_so(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    assert isinstance(await channel.call(Basic.Get(queue=queue)), Basic.GetEmpty)


async def test_consumer_gets_what_waits_and_what_comes(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1")
    tag = await channel.consume(queue)
    channel.publish(b"2", queue)
    first, second = await channel.deliveries(2)
    assert [(m.body, m.method.delivery_tag, m.method.redelivered) for m in (first, second)] == [
        (b"1", 1, False),
        (b"2", 2, False),
    ]
    assert first.method.consumer_tag == tag


async def test_the_broker_makes_a_consumer_tag(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    tags = {await channel.consume(queue) for _ in range(2)}
    assert len(tags) == 2
    assert all(tag.startswith("amq.ctag-") for tag in tags)


async def test_consume_without_waiting_delivers(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1")
    channel.send(Basic.Consume(queue=queue, consumer_tag="mine", nowait=True))
    assert (await channel.delivery()).method.consumer_tag == "mine"


async def test_acknowledged_messages_do_not_come_back(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2", b"3")
    await channel.consume(queue)
    await channel.deliveries(3)
    channel.send(Basic.Ack(1), Basic.Ack(3))
    await channel.call(Basic.Recover(requeue=True))
    back = await channel.delivery()
    assert (back.body, back.method.redelivered) == (b"2", True)


async def test_ack_of_several_means_all_up_to_the_tag(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2", b"3")
    await channel.consume(queue)
    await channel.deliveries(3)
    channel.send(Basic.Ack(2, multiple=True))
    await channel.call(Basic.Recover(requeue=True))
    assert (await channel.delivery()).body == b"3"


async def test_ack_of_several_with_tag_zero_means_all(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2")
    await channel.consume(queue)
    await channel.deliveries(2)
    channel.send(Basic.Ack(0, multiple=True))
    await channel.call(Basic.Recover(requeue=True))
    channel.publish(b"3", queue)
    assert (await channel.delivery()).body == b"3"


@pytest.mark.parametrize(
    "method",
    [Basic.Ack(1), Basic.Ack(1, multiple=True), Basic.Ack(0), Basic.Nack(1), Basic.Reject(1)],
    ids=lambda method: f"{method.name}-{method.delivery_tag}",
)
async def test_an_unknown_delivery_tag_is_refused(channel: PeerChannel, method: Basic.Ack) -> None:
    channel.send(method)
    with pytest.raises(Closed) as closed:
        await channel.receive()
    assert (closed.value.level, closed.value.code) == ("channel", 406)
    assert "unknown delivery tag" in closed.value.text


async def test_acknowledging_twice_is_refused(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1")
    await channel.get(queue, no_ack=False)
    channel.send(Basic.Ack(1), Basic.Ack(1))
    with pytest.raises(Closed) as closed:
        await channel.receive()
    assert (closed.value.level, closed.value.code) == ("channel", 406)


async def test_no_ack_deliveries_are_done_when_sent(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1")
    await channel.consume(queue, no_ack=True)
    message = await channel.delivery()
    channel.send(Basic.Ack(message.method.delivery_tag))
    with pytest.raises(Closed) as closed:
        await channel.receive()
    assert closed.value.code == 406


async def test_a_rejected_message_is_dropped(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2")
    await channel.get(queue, no_ack=False)
    channel.send(Basic.Reject(1, requeue=False))
    message = await channel.get(queue)
    assert message is not None
    assert message.body == b"2"


@pytest.mark.parametrize("method", [Basic.Reject(2, requeue=True), Basic.Nack(2, requeue=True)])
async def test_a_requeued_message_returns_to_its_place(channel: PeerChannel, method: Basic.Nack) -> None:
    queue = await filled(channel, b"1", b"2", b"3", b"4")
    for _ in range(3):
        await channel.get(queue, no_ack=False)
    channel.send(method)
    back = await channel.get(queue)
    after = await channel.get(queue)
    assert back is not None
    assert after is not None
    assert (back.body, back.method.redelivered) == (b"2", True)
    assert (after.body, after.method.redelivered) == (b"4", False)


async def test_requeued_messages_keep_their_order(channel: PeerChannel) -> None:
    queue = await filled(channel, *(b"%d" % number for number in range(6)))
    for _ in range(5):
        await channel.get(queue, no_ack=False)
    channel.send(Basic.Nack(4, requeue=True), Basic.Nack(2, requeue=True))
    channel.send(Basic.Nack(5, multiple=True, requeue=True))
    bodies = [message.body for _ in range(6) if (message := await channel.get(queue))]
    assert bodies == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_closing_a_channel_gives_its_messages_back(peer: Peer, channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2")
    other = await peer.open()
    await other.consume(queue)
    await other.deliveries(2)
    await other.call(Channel.Close(200, "", 0, 0))
    messages = [await channel.get(queue), await channel.get(queue)]
    assert [(m.body, m.method.redelivered) for m in messages if m] == [(b"1", True), (b"2", True)]


async def test_a_channel_error_gives_its_messages_back(peer: Peer, channel: PeerChannel) -> None:
    queue = await filled(channel, b"1")
    other = await peer.open()
    await other.get(queue, no_ack=False)
    other.send(Basic.Ack(99))
    with pytest.raises(Closed):
        await other.receive()
    await channel.consume(queue)
    assert (await channel.delivery()).method.redelivered


async def test_a_lost_connection_gives_its_messages_back(
    amqp_url: str, channel: PeerChannel, shared_name: NameMaker
) -> None:
    queue = await channel.queue(shared_name())
    for number in range(5):
        channel.publish(b"%d" % number, queue)
    async with connected(amqp_url) as doomed:
        other = await doomed.open()
        await other.consume(queue)
        await other.deliveries(5)
        other.send(Basic.Ack(2))
        await other.settled()
        await channel.consume(queue)
        await doomed.cut()
        messages = await channel.deliveries(4)
    assert [(m.body, m.method.redelivered) for m in messages] == [
        (b"0", True),
        (b"2", True),
        (b"3", True),
        (b"4", True),
    ]


async def test_prefetch_bounds_each_consumer(channel: PeerChannel) -> None:
    queue = await filled(channel, *(b"%d" % number for number in range(6)))
    await channel.call(Basic.Qos(prefetch_count=2))
    await channel.consume(queue, tag="a")
    await channel.consume(queue, tag="b")
    tags = [message.method.consumer_tag for message in await channel.deliveries(4)]
    assert sorted(tags) == ["a", "a", "b", "b"]
    assert await channel.depth(queue) == 2


async def test_an_ack_makes_room_for_the_next(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2", b"3")
    await channel.call(Basic.Qos(prefetch_count=1))
    await channel.consume(queue)
    for body in (b"1", b"2", b"3"):
        message = await channel.delivery()
        assert message.body == body
        assert await channel.depth(queue) == 3 - int(body)
        channel.send(Basic.Ack(message.method.delivery_tag))


async def test_a_nack_makes_room_for_the_next(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2")
    await channel.call(Basic.Qos(prefetch_count=1))
    await channel.consume(queue)
    await channel.delivery()
    channel.send(Basic.Nack(1, requeue=False))
    assert (await channel.delivery()).body == b"2"


async def test_prefetch_counts_for_consumers_that_come_after_it(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2", b"3")
    await channel.consume(queue)
    await channel.call(Basic.Qos(prefetch_count=1))
    assert len(await channel.deliveries(3)) == 3


async def test_global_prefetch_is_shared_by_the_channel(channel: PeerChannel) -> None:
    queue = await filled(channel, *(b"%d" % number for number in range(5)))
    await channel.call(Basic.Qos(prefetch_count=3, global_=True))
    await channel.consume(queue, tag="a")
    await channel.consume(queue, tag="b")
    await channel.deliveries(3)
    assert await channel.depth(queue) == 2
    channel.send(Basic.Ack(2, multiple=True))
    await channel.deliveries(2)


async def test_raising_the_global_prefetch_lets_more_through(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2")
    await channel.call(Basic.Qos(prefetch_count=1, global_=True))
    await channel.consume(queue)
    await channel.delivery()
    await channel.call(Basic.Qos(prefetch_count=0, global_=True))
    assert (await channel.delivery()).body == b"2"


async def test_a_prefetch_for_each_consumer_ends_the_shared_one(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2", b"3")
    await channel.call(Basic.Qos(prefetch_count=1, global_=True))
    await channel.consume(queue)
    await channel.delivery()
    await channel.call(Basic.Qos(prefetch_count=1))
    assert [message.body for message in await channel.deliveries(2)] == [b"2", b"3"]


async def test_prefetch_does_not_bound_no_ack_consumers(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2", b"3")
    await channel.call(Basic.Qos(prefetch_count=1))
    await channel.consume(queue, no_ack=True)
    assert len(await channel.deliveries(3)) == 3


async def test_consumers_take_turns(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    for tag in "abc":
        await channel.consume(queue, tag=tag)
    for _ in range(6):
        channel.publish(b"", queue)
    tags = [message.method.consumer_tag for message in await channel.deliveries(6)]
    assert tags[:3] == tags[3:]
    assert sorted(tags) == list("aabbcc")


async def test_recover_without_requeue_is_refused(channel: PeerChannel) -> None:
    with pytest.raises(Closed) as closed:
        await channel.call(Basic.Recover(requeue=False))
    assert (closed.value.level, closed.value.code) == ("connection", 540)


@pytest.mark.filterwarnings("ignore:This command is deprecated")
async def test_the_old_recover_has_no_reply(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1")
    await channel.consume(queue)
    await channel.delivery()
    channel.send(Basic.RecoverAsync(requeue=True))
    assert (await channel.delivery()).method.redelivered


async def test_a_cancelled_consumer_gets_nothing_more(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    tag = await channel.consume(queue)
    await channel.call(Basic.Cancel(tag))
    channel.publish(b"1", queue)
    assert await channel.get(queue) is not None


async def test_cancelling_keeps_what_was_delivered(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1")
    tag = await channel.consume(queue)
    message = await channel.delivery()
    await channel.call(Basic.Cancel(tag))
    channel.send(Basic.Ack(message.method.delivery_tag))
    await channel.settled()


async def test_cancelling_an_unknown_consumer_is_no_error(channel: PeerChannel) -> None:
    assert (await channel.call(Basic.Cancel("nobody"))).consumer_tag == "nobody"


async def test_a_consumer_is_told_when_its_queue_is_deleted(peer: Peer, channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    tag = await channel.consume(queue)
    await (await peer.open()).call(Queue.Delete(queue=queue))
    assert (await channel.expect(Basic.Cancel)).consumer_tag == tag


async def test_a_client_that_cannot_hear_of_it_is_not_told(amqp_url: str) -> None:
    async with connected(amqp_url, capabilities={}) as peer:
        channel = await peer.open()
        queue = await channel.queue(exclusive=True)
        await channel.consume(queue)
        await channel.call(Queue.Delete(queue=queue))
        await channel.settled()
        assert channel.arrived.empty()


async def test_acknowledging_after_the_queue_is_gone_is_no_error(channel: PeerChannel) -> None:
    queue = await filled(channel, b"1", b"2", b"3")
    for _ in range(3):
        await channel.get(queue, no_ack=False)
    await channel.call(Queue.Delete(queue=queue))
    channel.send(Basic.Ack(1), Basic.Nack(2, requeue=True), Basic.Reject(3, requeue=False))
    await channel.settled()


@pytest.mark.parametrize("first_exclusive", [True, False])
async def test_an_exclusive_consumer_is_alone(channel: PeerChannel, first_exclusive: bool) -> None:
    queue = await channel.queue(exclusive=True)
    await channel.consume(queue, exclusive=first_exclusive)
    with pytest.raises(Closed) as closed:
        await channel.consume(queue, exclusive=not first_exclusive)
    assert (closed.value.level, closed.value.code) == ("channel", 403)


async def test_an_exclusive_consumer_that_leaves_makes_place(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    await channel.call(Basic.Cancel(await channel.consume(queue, exclusive=True)))
    await channel.consume(queue)


async def test_a_consumer_tag_is_used_once_per_channel(peer: Peer, channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    await channel.consume(queue, tag="same")
    await (await peer.open()).consume(queue, tag="same")
    with pytest.raises(Closed) as closed:
        await channel.consume(queue, tag="same")
    assert (closed.value.level, closed.value.code) == ("connection", 530)


@pytest.mark.parametrize(
    ("method", "code"),
    [
        (Basic.Consume(queue="test.missing"), 404),
        (Basic.Consume(queue=""), 404),
        (Basic.Get(queue="test.missing"), 404),
        (Basic.Get(queue=""), 404),
        (Basic.Qos(prefetch_size=1), 540),
        (Channel.Flow(active=False), 540),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
async def test_method_is_refused(channel: PeerChannel, method: Basic.Consume, code: int) -> None:
    with pytest.raises(Closed) as closed:
        await channel.call(method)
    assert closed.value.code == code


async def test_flow_on_is_what_it_is_anyway(channel: PeerChannel) -> None:
    assert (await channel.call(Channel.Flow(active=True))).active


async def test_a_slow_channel_does_not_stop_its_neighbour(peer: Peer, channel: PeerChannel) -> None:
    queue = await filled(channel, *[b"x"] * 10)
    await channel.call(Basic.Qos(prefetch_count=1))
    await channel.consume(queue)
    await channel.delivery()
    other = await peer.open()
    await other.consume(queue)
    assert len(await other.deliveries(9)) == 9

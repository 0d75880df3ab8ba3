"""Publishing: confirms, returns, bodies and properties, on both brokers."""

import struct
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pamqp.commands import Basic, Channel

from tests.broker.peer import Closed, Content, Peer, PeerChannel, connected, unique

QOS = bytes.fromhex("003c000a") + bytes(7)
EVERY_TYPE = (
    b"\x04boolt\x01\x04int8b\xff\x05uint8B\xff\x05int16s\xff\x00\x06uint16u\xff\xff"
    b"\x05int32I\xff\x00\x00\x00\x06uint32i\xff\x00\x00\x00\x05int64l\xff\x00\x00\x00\x00\x00\x00\x00"
    b"\x05floatf\x3f\x80\x00\x00\x06doubled\x3f\xf0\x00\x00\x00\x00\x00\x00\x07decimalD\x02\x00\x00\x01\x00"
    b"\x05bytesx\x00\x00\x00\x02\xff\xfe\x06binaryS\x00\x00\x00\x02\xff\xfe\x04timeT\x00\x00\x00\x00\x65\x00\x00\x00"
    b"\x04voidV\x05tableF\x00\x00\x00\x07\x01aS\x00\x00\x00\x00\x05arrayA\x00\x00\x00\x03\x56t\x00"
)


async def test_every_message_is_confirmed_once(channel: PeerChannel) -> None:
    await channel.confirms()
    queue = await channel.queue(exclusive=True)
    for number in range(500):
        channel.publish(b"x", queue if number % 2 else "nowhere")
    assert await channel.outcomes(500) == ["ack"] * 500
    assert await channel.depth(queue) == 250


async def test_a_confirmed_message_is_in_its_queue(channel: PeerChannel) -> None:
    await channel.confirms()
    queue = await channel.queue(exclusive=True)
    channel.publish(b"x", queue)
    await channel.outcomes(1)
    assert await channel.depth(queue) == 1


async def test_confirms_count_from_the_select(channel: PeerChannel) -> None:
    channel.publish(b"before", "nowhere")
    await channel.confirms()
    channel.publish(b"after", "nowhere")
    assert await channel.outcomes(1) == ["ack"]


async def test_unroutable_mandatory_message_is_returned_before_its_ack(channel: PeerChannel) -> None:
    await channel.confirms()
    channel.publish(b"come back", "nowhere", mandatory=True, message_id="m1")
    returned, ack = await channel.receive(), await channel.receive()
    assert isinstance(returned, Content)
    assert isinstance(returned.method, Basic.Return)
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert (returned.method.exchange, returned.method.routing_key) == ("", "nowhere")
    assert (returned.body, returned.properties.message_id) == (b"come back", "m1")
    assert isinstance(ack, Basic.Ack)


async def test_unroutable_message_that_is_not_mandatory_is_dropped(channel: PeerChannel) -> None:
    channel.publish(b"gone", "nowhere")
    assert isinstance(await channel.call(Basic.Qos()), Basic.QosOk)


async def test_routed_mandatory_message_is_not_returned(channel: PeerChannel) -> None:
    await channel.confirms()
    queue = await channel.queue(exclusive=True)
    channel.publish(b"", queue, mandatory=True)
    assert isinstance(await channel.receive(), Basic.Ack)


async def test_publishing_to_a_missing_exchange_closes_the_channel_only(
    peer: Peer, channel: PeerChannel
) -> None:
    channel.publish(b"", "a", unique("missing"))
    with pytest.raises(Closed) as closed:
        await channel.receive()
    assert (closed.value.level, closed.value.code) == ("channel", 404)
    await (await peer.open()).settled()


async def test_a_closed_channel_number_can_be_opened_again(peer: Peer, channel: PeerChannel) -> None:
    channel.publish(b"", "a", unique("missing"))
    channel.publish(b"ignored", "a", unique("missing"))
    with pytest.raises(Closed):
        await channel.receive()
    await channel.call(Channel.Open())
    await channel.settled()


async def test_immediate_is_refused(channel: PeerChannel) -> None:
    channel.publish(b"", "a", immediate=True)
    with pytest.raises(Closed) as closed:
        await channel.receive()
    assert (closed.value.level, closed.value.code) == ("connection", 540)


@pytest.mark.parametrize("frame_size", [131_064, 1000])
async def test_a_large_body_arrives_whole(channel: PeerChannel, frame_size: int) -> None:
    queue = await channel.queue(exclusive=True)
    data = bytes(range(256)) * 4096
    channel.publish(data, queue, frame_size=frame_size)
    message = await channel.get(queue)
    assert message is not None
    assert message.body == data


async def test_frames_are_as_small_as_the_client_asks(amqp_url: str) -> None:
    async with connected(amqp_url, frame_max=4096) as peer:
        channel = await peer.open()
        queue = await channel.queue(exclusive=True)
        data = bytes(range(256)) * 64
        channel.publish(data, queue, frame_size=4088)
        message = await channel.get(queue)
    assert message is not None
    assert message.body == data
    assert peer.largest_frame <= 4096


async def test_an_empty_body_arrives(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    channel.publish(b"", queue, message_id="empty")
    message = await channel.get(queue)
    assert message is not None
    assert (message.body, message.properties.message_id) == (b"", "empty")


async def test_an_empty_body_frame_is_allowed(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    channel.send(Basic.Publish(routing_key=queue))
    channel.send_frame(2, struct.pack(">HHQH", 60, 0, 2, 0))
    for piece in (b"", b"a", b"", b"b"):
        channel.send_frame(3, piece)
    message = await channel.get(queue)
    assert message is not None
    assert message.body == b"ab"


async def test_all_properties_arrive(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    properties = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {
            "text": "ä",
            "number": -5,
            "deep": {"list": [1, "two", None, {"a": True}]},
            "d": Decimal("1.5"),
        },
        "delivery_mode": 2,
        "priority": 7,
        "correlation_id": "correlation",
        "reply_to": "reply",
        "expiration": "60000",
        "message_id": "id",
        "timestamp": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        "message_type": "type",
        "user_id": "guest",
        "app_id": "app",
    }
    channel.publish(b"x", queue, **properties)
    message = await channel.get(queue)
    assert message is not None
    assert {name: getattr(message.properties, name) for name in properties} == properties


async def test_header_types_arrive_as_they_were_sent(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    channel.send(Basic.Publish(routing_key=queue))
    table = struct.pack(">I", len(EVERY_TYPE)) + EVERY_TYPE
    channel.send_frame(2, struct.pack(">HHQH", 60, 0, 0, 0x2000) + table)
    message = await channel.get(queue)
    assert message is not None
    assert EVERY_TYPE in channel.peer.raw_headers[-1]


async def test_other_user_ids_are_refused(channel: PeerChannel) -> None:
    channel.publish(b"", "a", user_id="someone else")
    with pytest.raises(Closed) as closed:
        await channel.receive()
    assert (closed.value.level, closed.value.code) == ("channel", 406)


@pytest.mark.parametrize("expiration", ["soon", "-1", "1.5"])
async def test_an_expiration_is_a_number_of_milliseconds(channel: PeerChannel, expiration: str) -> None:
    channel.publish(b"", "a", expiration=expiration)
    with pytest.raises(Closed) as closed:
        await channel.receive()
    assert (closed.value.level, closed.value.code) == ("channel", 406)


async def test_messages_of_several_channels_may_interleave(peer: Peer, channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    other = await peer.open()
    for each in (channel, other):
        each.send(Basic.Publish(routing_key=queue))
    for each in (channel, other):
        each.send_frame(2, struct.pack(">HHQH", 60, 0, 4, 0))
    for piece in (b"ab", b"cd"):
        for each in (other, channel):
            each.send_frame(3, piece)
    await other.settled()
    await channel.settled()
    assert [message.body for message in (await channel.get(queue), await channel.get(queue)) if message] == [
        b"abcd"
    ] * 2

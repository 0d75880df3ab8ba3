"""The connection itself: handshake, channels, closing and frames that make no sense, on both brokers."""

import struct
from typing import Any

import pytest
from pamqp import encode, frame, header
from pamqp.commands import Basic, Channel, Connection, Queue

from tests.broker.peer import Closed, Peer, PeerChannel, connect, connected, dial

PUBLISH = bytes.fromhex("003c0028") + b"\0\0" + b"\0" + b"\1q" + b"\0"
QOS = bytes.fromhex("003c000a") + bytes(7)


def raw(kind: int, payload: bytes, channel: int = 1, end: int = 0xCE) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes((end,))


def content_header(size: int, properties: bytes = b"\0\0", class_id: int = 60) -> bytes:
    return raw(2, struct.pack(">HHQ", class_id, 0, size) + properties)


async def test_the_broker_says_what_it_can_do(amqp_url: str) -> None:
    peer = await dial(amqp_url)
    peer.write(header.ProtocolHeader().marshal())
    start = await peer.control.expect(Connection.Start)
    await peer.cut()
    properties: Any = start.server_properties
    assert {name for name, able in properties["capabilities"].items() if able} >= {
        "publisher_confirms",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "per_consumer_qos",
        "authentication_failure_close",
        "exchange_exchange_bindings",
    }
    assert {"PLAIN", "AMQPLAIN"} <= set(start.mechanisms.split())


async def test_amqplain_is_understood(amqp_url: str) -> None:
    response = encode.field_table({"LOGIN": "guest", "PASSWORD": "guest"})[4:].decode()
    async with connected(amqp_url, mechanism="AMQPLAIN", response=response) as peer:
        await (await peer.open()).settled()


@pytest.mark.parametrize("response", ["\0guest\0wrong", "\0nobody\0guest", "\0guest\0"])
async def test_wrong_credentials_are_refused(amqp_url: str, response: str) -> None:
    with pytest.raises(Closed) as closed:
        await connect(amqp_url, response=response)
    assert closed.value.code == 403


async def test_a_client_that_cannot_hear_the_refusal_is_dropped(amqp_url: str) -> None:
    with pytest.raises(Closed) as closed:
        await connect(amqp_url, response="\0guest\0wrong", capabilities={})
    assert closed.value.code == 0


async def test_other_virtual_hosts_are_not_there(amqp_url: str) -> None:
    with pytest.raises(Closed) as closed:
        await connect(amqp_url, virtual_host="elsewhere")
    assert (closed.value.level, closed.value.code) == ("connection", 530)


async def test_another_protocol_is_told_ours(amqp_url: str) -> None:
    peer = await dial(amqp_url)
    peer.write(b"AMQP\x03\x01\x00\x00")
    with pytest.raises(Closed):
        await peer.control.receive()
    assert peer.greeting == b"AMQP\0\0\x09\x01"


async def test_closing_is_answered(amqp_url: str) -> None:
    peer = await connect(amqp_url)
    await peer.control.call(Connection.Close(200, "bye", 0, 0))
    await peer.cut()


async def test_updating_the_secret_does_no_harm(peer: Peer) -> None:
    await peer.control.call(Connection.UpdateSecret("new secret", "because"))


async def test_closing_a_channel_leaves_the_others(peer: Peer, channel: PeerChannel) -> None:
    other = await peer.open()
    await channel.call(Channel.Close(200, "", 0, 0))
    await other.settled()


async def test_a_closed_channel_is_not_open(peer: Peer, channel: PeerChannel) -> None:
    await channel.call(Channel.Close(200, "", 0, 0))
    with pytest.raises(Closed) as closed:
        await channel.settled()
    assert (closed.value.level, closed.value.code) == ("connection", 504)


async def test_a_channel_error_says_which_method_failed(channel: PeerChannel) -> None:
    channel.peer.keep_closes = True
    channel.send(Queue.Declare(queue="test.missing", passive=True))
    closed = await channel.expect(Channel.Close)
    assert (closed.reply_code, closed.class_id, closed.method_id) == (404, 50, 10)


async def test_a_publish_error_says_so(channel: PeerChannel) -> None:
    channel.peer.keep_closes = True
    channel.publish(b"body", "key", "test.missing")
    closed = await channel.expect(Channel.Close)
    assert (closed.reply_code, closed.class_id, closed.method_id) == (404, 60, 40)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(raw(1, QOS, end=0), 501, id="wrong end of a frame"),
        pytest.param(raw(5, b"abc"), 501, id="unknown type of frame"),
        pytest.param(struct.pack(">BHI", 1, 1, 200_000), 501, id="frame too large"),
        pytest.param(raw(1, b""), 501, id="no method"),
        pytest.param(raw(1, bytes.fromhex("0032000a") + b"\0\0\5ab"), 501, id="method cut off"),
        pytest.param(raw(1, QOS + b"more"), 501, id="bytes after a method"),
        pytest.param(
            raw(1, bytes.fromhex("0032000a0000") + b"\1\xff\2\0\0\0\0"), 501, id="name is not UTF-8"
        ),
        pytest.param(raw(8, b"xx", channel=0), 501, id="heartbeat with content"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 501, id="another protocol"),
        pytest.param(raw(1, bytes.fromhex("003c000b")), 503, id="a method only brokers send"),
        pytest.param(
            raw(1, bytes.fromhex("000a0028") + b"\1/\0\0"), 503, id="connection method on a channel"
        ),
        pytest.param(raw(1, bytes.fromhex("00140029")), 503, id="close-ok without a close"),
        pytest.param(raw(1, QOS, channel=7), 504, id="channel not open"),
        pytest.param(raw(1, QOS, channel=0), 504, id="channel method on the connection"),
        pytest.param(raw(1, bytes.fromhex("0014000a") + b"\0"), 504, id="channel opened twice"),
        pytest.param(
            raw(1, bytes.fromhex("000a0028") + b"\1/\0\0", channel=0), 504, id="connection opened twice"
        ),
        pytest.param(content_header(0), 505, id="header without a publish"),
        pytest.param(raw(3, b"x"), 505, id="body without a publish"),
        pytest.param(raw(1, PUBLISH) + raw(1, QOS), 505, id="method instead of a header"),
        pytest.param(raw(1, PUBLISH) + raw(3, b"x"), 505, id="body before the header"),
        pytest.param(raw(1, PUBLISH) + content_header(0, class_id=50), 505, id="header of another class"),
        pytest.param(raw(1, PUBLISH) + content_header(2) * 2, 505, id="two headers"),
        pytest.param(raw(8, b"", channel=1), 505, id="heartbeat on a channel"),
    ],
)
async def test_frames_that_make_no_sense_close_the_connection(
    channel: PeerChannel, sent: bytes, code: int
) -> None:
    channel.peer.write(sent)
    with pytest.raises(Closed) as closed:
        await channel.receive()
    assert (closed.value.level, closed.value.code) == ("connection", code)


async def test_a_bad_client_does_not_disturb_the_others(amqp_url: str, channel: PeerChannel) -> None:
    bad = await connect(amqp_url)
    bad.write(b"\xff" * 5000)
    with pytest.raises(Closed):
        await bad.control.receive()
    await bad.cut()
    await channel.settled()


async def test_several_frames_in_one_write_are_all_handled(channel: PeerChannel) -> None:
    declare = frame.marshal(Queue.Declare(queue="", exclusive=True), 1)
    channel.peer.write(declare * 3 + frame.marshal(Basic.Qos(), 1))
    names = {(await channel.expect(Queue.DeclareOk)).queue for _ in range(3)}
    await channel.expect(Basic.QosOk)
    assert len(names) == 3


async def test_a_heartbeat_comes_from_a_silent_broker(amqp_url: str) -> None:
    async with connected(amqp_url, heartbeat=1) as peer:
        await peer.heartbeat_came.wait()


async def test_a_silent_client_is_dropped(amqp_url: str) -> None:
    peer = await connect(amqp_url, heartbeat=1)
    with pytest.raises(Closed) as closed:
        await peer.control.receive()
    assert closed.value.code == 0

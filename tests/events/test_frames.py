"""Frames written by hand are what the library would read, and frames are read however they are cut."""

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from events.frames import Confirm, FrameReader, ProtocolError, encode_publish
from events.messages import OutboundMessage


def unmarshal_all(data: bytes) -> list[object]:
    frames = []
    while data:
        size, channel, frame = pamqp.frame.unmarshal(data)
        assert channel == 1
        frames.append(frame)
        data = data[size:]
    return frames


names = st.text(max_size=40)
outbound = st.builds(
    OutboundMessage,
    exchange=names,
    routing_key=names,
    cc=st.lists(names, max_size=4).map(tuple),
    body=st.binary(max_size=300),
    message_id=names,
)


@given(message=outbound, max_frame=st.integers(400, 500))
def test_a_publish_is_what_the_library_reads_back(message: OutboundMessage, max_frame: int) -> None:
    method, header, *bodies = unmarshal_all(encode_publish(message, max_frame))
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key) == (message.exchange, message.routing_key)
    assert not method.mandatory
    assert isinstance(header, ContentHeader)
    assert header.body_size == len(message.body)
    properties = header.properties
    assert properties.headers == {"CC": list(message.cc)}
    assert (properties.message_id or "") == message.message_id
    assert (properties.content_type, properties.content_encoding) == ("application/json", "utf-8")
    assert properties.delivery_mode == 2
    assert b"".join(body.value for body in bodies if isinstance(body, ContentBody)) == message.body


def test_no_frame_is_larger_than_agreed() -> None:
    data = encode_publish(OutboundMessage("e", "k", (), b"x" * 1000), max_frame=256)
    sizes = []
    while data:
        size = pamqp.frame.unmarshal(data)[0]
        sizes.append(size)
        data = data[size:]
    assert max(sizes) == 256


@pytest.mark.parametrize("field", ["exchange", "routing_key", "message_id"])
def test_a_name_that_does_not_fit_is_refused_by_name(field: str) -> None:
    values = {"exchange": "e", "routing_key": "k", "cc": (), "body": b"", "message_id": "1"}
    with pytest.raises(ValueError, match=f"{field}: expected at most 255 bytes, got 256"):
        encode_publish(OutboundMessage(**{**values, field: "ä" * 128}))


def test_more_cc_keys_than_a_frame_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="cc: 100 keys do not fit into a frame of 4096 bytes"):
        encode_publish(OutboundMessage("e", "k", ("x" * 200,) * 100, b""), max_frame=4096)


STREAM = [
    commands.Basic.Ack(delivery_tag=1, multiple=False),
    Heartbeat(),
    commands.Basic.Nack(delivery_tag=2, multiple=True, requeue=False),
    commands.Confirm.SelectOk(),
    commands.Basic.Ack(delivery_tag=2**40, multiple=True),
]


@given(cuts=st.lists(st.integers(0, 120), max_size=10).map(sorted))
def test_frames_are_read_however_they_are_cut(cuts: list[int]) -> None:
    data = b"".join(pamqp.frame.marshal(frame, 1) for frame in STREAM)
    reader = FrameReader()
    frames = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        frames += reader.feed(data[start:end])
    first, beat, second, select, third = frames
    assert (first, second, third) == (
        Confirm(1, ack=True, multiple=False),
        Confirm(2, ack=False, multiple=True),
        Confirm(2**40, ack=True, multiple=True),
    )
    assert isinstance(beat, Heartbeat)
    assert isinstance(select, commands.Confirm.SelectOk)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"AMQP\x00\x00\x09\x01",
        b"\x01\x00\x01\xff\xff\xff\xff",
        b"\x08\x00\x00\x00\x00\x00\x00\x00",
        b"\x01\x00\x01\x00\x00\x00\x04\xff\xff\xff\xff\xce",
        pamqp.frame.marshal(ContentBody(b"x"), 1),
    ],
    ids=["http", "other version", "too large", "no end octet", "unknown method", "content"],
)
def test_what_is_no_frame_for_us_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        FrameReader().feed(data)

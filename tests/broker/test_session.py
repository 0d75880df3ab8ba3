"""The embedded broker's session without a socket: back-pressure, heartbeats, limits and hostile bytes."""

import logging
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import body, frame, header
from pamqp.commands import INDEX_MAPPING, Basic, Channel, Confirm, Connection, Queue

from events.broker.limits import BrokerLimits
from events.broker.memory import ENTRY_BYTES
from events.broker.session import State
from events.broker.topology import Topology
from tests.broker.dialogue import HEARTBEAT, Dialogue, published

# -- confirms -------------------------------------------------------------------------------------------


def test_confirms_of_one_batch_are_one_frame() -> None:
    talk = Dialogue().opened()
    talk.say(Confirm.Select(), Queue.Declare(queue="q"))
    talk.listen()
    talk.session.receive(b"".join(published(b"x", "q") for _ in range(100)))
    ((_, ack),) = talk.listen()
    assert isinstance(ack, Basic.Ack)
    assert (ack.delivery_tag, ack.multiple) == (100, True)


def test_a_nack_comes_after_the_acks_before_it() -> None:
    talk = Dialogue().opened()
    arguments = {"x-max-length": 2, "x-overflow": "reject-publish"}
    talk.say(Confirm.Select(), Queue.Declare(queue="q", arguments=arguments))
    talk.listen()
    talk.session.receive(b"".join(published(b"x", key) for key in ("q", "q", "q", "other")))
    assert [(item.name, item.delivery_tag, item.multiple) for _, item in talk.listen()] == [
        ("Basic.Ack", 2, True),
        ("Basic.Nack", 3, False),
        ("Basic.Ack", 4, False),
    ]


def test_confirms_come_before_the_close_of_their_channel() -> None:
    talk = Dialogue().opened()
    talk.say(Confirm.Select())
    talk.listen()
    talk.session.receive(published(b"x", "nowhere") + published(b"x", "a", exchange="missing"))
    assert talk.names() == ["Basic.Ack", "Channel.Close"]


def test_confirms_come_before_the_close_of_their_connection() -> None:
    talk = Dialogue().opened()
    talk.say(Confirm.Select())
    talk.listen()
    talk.session.receive(published(b"x", "nowhere") + b"\xff" * 8)
    assert talk.names() == ["Basic.Ack", "Connection.Close"]


# -- back-pressure --------------------------------------------------------------------------------------

SMALL = BrokerLimits(outgoing_bytes=10_000, message_bytes=50_000, held_bytes=100_000)


def filled(topology: Topology, count: int, size: int) -> None:
    talk = Dialogue(topology).opened()
    talk.say(Queue.Declare(queue="q"))
    for _ in range(count):
        talk.publish(bytes(size), "q")


def test_deliveries_stop_when_the_output_is_full() -> None:
    topology = Topology(SMALL)
    filled(topology, count=50, size=1000)
    slow = Dialogue(topology).opened()
    slow.say(Basic.Consume(queue="q"))
    output = slow.session.take_output()
    assert 10_000 <= len(output) < 12_000
    (queue,) = topology.snapshot()
    assert queue.ready > 35


def test_deliveries_go_on_when_the_socket_takes_more() -> None:
    topology = Topology(SMALL)
    filled(topology, count=50, size=1000)
    slow = Dialogue(topology).opened()
    slow.say(Basic.Consume(queue="q"))
    slow.hear(slow.session.take_output())
    slow.session.output_taken(9000, paused=True)
    assert slow.session.take_output() == b""
    slow.session.output_taken(0, paused=False)
    while slow.listen():
        pass
    assert sum(isinstance(item, Basic.Deliver) for _, item in slow.heard) == 50


def test_a_client_that_does_not_read_its_answers_is_not_read() -> None:
    topology = Topology(SMALL)
    filled(topology, count=50, size=1000)
    greedy = Dialogue(topology).opened()
    asking = frame.marshal(Basic.Get(queue="q"), 1)
    greedy.session.receive(asking * 10_000)
    for _ in range(40):
        filled(topology, count=50, size=1000)
        greedy.session.receive(b"")
    assert not greedy.session.wants_input
    assert len(greedy.session.take_output()) < 4 * 10_000 + 50_000 + 10_000


def test_requests_left_over_are_handled_when_the_answers_are_read() -> None:
    topology = Topology(replace(SMALL, held_bytes=1_000_000))
    filled(topology, count=60, size=1500)
    greedy = Dialogue(topology).opened()
    greedy.session.output_taken(95_000, paused=True)
    greedy.session.receive(frame.marshal(Basic.Get(queue="q"), 1) * 60)
    assert greedy.names() == []
    greedy.session.receive(b"")
    while greedy.listen():
        greedy.session.receive(b"")
    assert sum(isinstance(item, Basic.GetOk) for _, item in greedy.heard) == 60


# -- memory ---------------------------------------------------------------------------------------------


def test_a_publisher_is_blocked_while_the_queues_are_full(caplog: pytest.LogCaptureFixture) -> None:
    topology = Topology(SMALL)
    talk = Dialogue(topology).opened()
    talk.say(Queue.Declare(queue="q"))
    talk.listen()
    talk.session.receive(published(bytes(20_000), "q") * 10)
    assert talk.names() == ["Connection.Blocked"]
    assert not talk.session.wants_input
    assert topology.snapshot()[0].ready == 5
    assert "publishers are blocked" in caplog.text


def test_others_go_on_while_a_publisher_is_blocked() -> None:
    topology = Topology(SMALL)
    talk, other = Dialogue(topology).opened(), Dialogue(topology).opened()
    talk.say(Queue.Declare(queue="q"))
    talk.session.receive(published(bytes(20_000), "q") * 10)
    other.say(Basic.Get(queue="q"))
    assert "Basic.GetOk" in other.names()


def test_a_blocked_publisher_goes_on_when_there_is_room() -> None:
    topology = Topology(SMALL)
    talk, other = Dialogue(topology).opened(), Dialogue(topology).opened()
    talk.say(Confirm.Select(), Queue.Declare(queue="q"))
    talk.session.receive(published(bytes(20_000), "q") * 7)
    talk.listen()
    other.say(Queue.Purge(queue="q"))
    assert talk.session.wants_input
    talk.session.receive(b"")
    news = talk.listen()
    assert isinstance(news[0][1], Connection.Unblocked)
    assert isinstance(news[1][1], Basic.Ack)
    assert topology.snapshot()[0].ready == 2


def test_a_message_in_many_queues_is_held_once() -> None:
    topology = Topology(SMALL)
    talk = Dialogue(topology).opened()
    for name in ("a", "b", "c"):
        talk.say(Queue.Declare(queue=name), Queue.Bind(queue=name, exchange="amq.fanout"))
    talk.publish(bytes(40_000), "", "amq.fanout")
    assert 40_000 < topology.memory.held < 45_000
    for name in ("a", "b", "c"):
        talk.say(Queue.Delete(queue=name))
    assert topology.memory.held == 0


def test_a_message_in_many_queues_needs_a_place_in_each() -> None:
    topology = Topology()
    talk = Dialogue(topology).opened()
    for number in range(100):
        talk.say(Queue.Declare(queue=str(number)), Queue.Bind(queue=str(number), exchange="amq.fanout"))
    talk.publish(b"", "", "amq.fanout")
    assert topology.memory.held > 100 * ENTRY_BYTES


# -- one queue ------------------------------------------------------------------------------------------

NARROW = BrokerLimits(queue_bytes=100_000)


def test_a_queue_that_nobody_consumes_refuses_and_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    topology = Topology(NARROW)
    talk = Dialogue(topology).opened()
    talk.say(Confirm.Select(), Queue.Declare(queue="dead"), Queue.Declare(queue="live"))
    talk.listen()
    for _ in range(1000):
        talk.publish(bytes(1000), "dead")
    talk.publish(b"x", "live")
    outcomes = [item for _, item in talk.listen()]
    assert isinstance(outcomes[-1], Basic.Ack)
    assert sum(isinstance(item, Basic.Nack) for item in outcomes) > 900
    assert topology.memory.held <= 100_000 + 1000
    assert not talk.session.blocked
    assert caplog.text.count("queue dead is full") == 1


def test_a_queue_that_was_full_takes_messages_again_when_a_fifth_is_free() -> None:
    topology = Topology(NARROW)
    talk = Dialogue(topology).opened()
    talk.say(Confirm.Select(), Queue.Declare(queue="q"))
    for _ in range(100):
        talk.publish(bytes(1000), "q")
    full = topology.snapshot()[0].ready
    talk.say(Basic.Get(queue="q", no_ack=True))
    talk.listen()
    talk.publish(b"x", "q")
    assert talk.names() == ["Basic.Nack"]
    for _ in range(full // 4):
        talk.say(Basic.Get(queue="q", no_ack=True))
    talk.listen()
    talk.publish(b"x", "q")
    assert talk.names() == ["Basic.Ack"]


def test_what_is_not_acknowledged_takes_room() -> None:
    topology = Topology(NARROW)
    talk, consumer = Dialogue(topology).opened(), Dialogue(topology).opened()
    talk.say(Confirm.Select(), Queue.Declare(queue="q"))
    consumer.say(Basic.Consume(queue="q"))
    for _ in range(1000):
        talk.publish(bytes(1000), "q")
        consumer.listen()
    assert topology.snapshot()[0].unacknowledged < 100


def test_a_publisher_without_confirms_is_not_refused_but_blocked_in_the_end() -> None:
    topology = Topology(replace(NARROW, held_bytes=200_000))
    talk = Dialogue(topology).opened()
    talk.say(Queue.Declare(queue="q"))
    talk.session.receive(published(bytes(1000), "q") * 1000)
    assert topology.snapshot()[0].ready > 100
    assert talk.session.blocked


def test_a_queue_that_drops_its_oldest_does_so_at_the_limit_of_any_queue() -> None:
    topology = Topology(NARROW)
    talk = Dialogue(topology).opened()
    talk.say(Confirm.Select(), Queue.Declare(queue="q", arguments={"x-max-length": 1_000_000}))
    talk.listen()
    for number in range(1000):
        talk.publish(str(number).encode(), "q")
    assert all(isinstance(item, Basic.Ack) for _, item in talk.listen())
    assert 50 < topology.snapshot()[0].ready < 200
    talk.say(Basic.Get(queue="q"))
    assert b"0" not in [item.value for _, item in talk.listen() if isinstance(item, body.ContentBody)]


def test_acknowledging_rejecting_expiring_and_losing_let_go_of_memory() -> None:
    topology = Topology(SMALL, clock=lambda: 0.0)
    talk, other = Dialogue(topology).opened(), Dialogue(topology).opened()
    talk.say(Queue.Declare(queue="q"))
    for _ in range(4):
        talk.publish(b"x", "q")
    talk.publish(b"x", "q", expiration="10")
    other.say(Basic.Get(queue="q"), Basic.Get(queue="q"), Basic.Get(queue="q", no_ack=True))
    other.say(Basic.Ack(1), Basic.Reject(2, requeue=False))
    other.say(Basic.Get(queue="q"))
    other.session.lost()
    talk.say(Basic.Get(queue="q", no_ack=True))
    topology.clock = lambda: 1.0
    topology.agenda.run(1.0)
    assert (topology.snapshot()[0].ready, topology.memory.held) == (0, 0)


def test_a_message_larger_than_allowed_closes_the_channel() -> None:
    talk = Dialogue(Topology(SMALL)).opened()
    talk.publish(bytes(50_001), "q")
    ((_, closed),) = talk.listen()
    assert isinstance(closed, Channel.Close)
    assert closed.reply_code == 406


def test_bodies_in_part_are_bounded() -> None:
    talk = Dialogue(Topology(BrokerLimits(assembling_bytes=10_000))).opened()
    for number in (2, 3):
        talk.say(Channel.Open(), channel=number)
        talk.listen()
        talk.say(Basic.Publish(routing_key="q"), channel=number)
        talk.session.receive(frame.marshal(header.ContentHeader(0, 20_000), number))
        assert talk.names() == []
        talk.session.receive(frame.marshal(body.ContentBody(bytes(6_000)), number))
    ((_, closed),) = talk.listen()
    assert isinstance(closed, Connection.Close)
    assert closed.reply_code == 506


def test_bodies_in_part_are_bounded_for_all_connections_together() -> None:
    topology = Topology(BrokerLimits(assembling_bytes=10_000))

    def begin(talk: Dialogue) -> list[str]:
        talk.say(Basic.Publish(routing_key="q"))
        talk.session.receive(frame.marshal(header.ContentHeader(0, 20_000), 1))
        talk.session.receive(frame.marshal(body.ContentBody(bytes(6_000)), 1))
        return talk.names()

    first, second, third = (Dialogue(topology).opened() for _ in range(3))
    assert begin(first) == []
    assert begin(second) == ["Connection.Close"]
    first.session.lost()
    assert topology.memory.assembling == 0
    assert begin(third) == []


def test_a_stranger_cannot_send_large_frames() -> None:
    """Before the login a frame is small, so that what waits for its end is, too."""
    talk = Dialogue()
    talk.session.receive(header.ProtocolHeader().marshal() + struct.pack(">BHI", 1, 0, 10_000))
    assert talk.names() == ["Connection.Start", "Connection.Close"]


# -- limits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "method", "code"),
    [
        (BrokerLimits(queues=1), Queue.Declare(queue="second"), 406),
        (BrokerLimits(bindings=0), Queue.Bind(queue="first", exchange="amq.topic", routing_key="#"), 406),
        (BrokerLimits(consumers=0), Basic.Consume(queue="first"), 530),
        (BrokerLimits(channels=1), None, 530),
    ],
    ids=["queues", "bindings", "consumers", "channels"],
)
def test_a_limit_is_refused_by_name(limits: BrokerLimits, method: Queue.Declare | None, code: int) -> None:
    talk = Dialogue(Topology(limits)).opened()
    talk.say(Queue.Declare(queue="first"))
    talk.listen()
    if method is None:
        talk.say(Channel.Open(), channel=2)
    else:
        talk.say(method)
    ((_, closed),) = talk.listen()
    assert isinstance(closed, Channel.Close | Connection.Close)
    assert closed.reply_code == code
    assert "limit" in closed.reply_text


def test_a_refused_message_names_publish_whatever_another_channel_did_meanwhile() -> None:
    talk = Dialogue().opened()
    talk.say(Channel.Open(), channel=2)
    talk.listen()
    talk.say(Basic.Publish(exchange="missing", routing_key="q"))
    talk.say(Basic.Qos(), channel=2)
    talk.session.receive(frame.marshal(header.ContentHeader(0, 0), 1))
    (_, (_, closed)) = talk.listen()
    assert isinstance(closed, Channel.Close)
    assert (closed.class_id, closed.method_id) == (60, 40)


# -- heartbeats -----------------------------------------------------------------------------------------


def test_a_silent_broker_sends_a_heartbeat() -> None:
    talk = Dialogue().opened()
    talk.session.tick()
    talk.listen()
    talk.session.tick()
    assert talk.names() == ["Heartbeat"]


def test_a_broker_that_speaks_sends_no_heartbeat() -> None:
    talk = Dialogue().opened()
    talk.session.tick()
    talk.say(Basic.Qos())
    talk.listen()
    talk.session.tick()
    assert talk.names() == []


def test_a_silent_client_is_dropped_after_two_intervals() -> None:
    talk = Dialogue().opened()
    talk.session.tick()
    for _ in range(3):
        talk.session.tick()
    assert talk.session.state is State.RUNNING
    talk.session.tick()
    assert talk.session.state is State.FINISHED


def test_a_client_with_heartbeats_stays() -> None:
    talk = Dialogue().opened()
    for _ in range(10):
        talk.session.receive(HEARTBEAT)
        talk.session.tick()
        talk.session.tick()
    assert talk.session.state is State.RUNNING


def test_a_blocked_publisher_need_not_be_heard() -> None:
    talk = Dialogue(Topology(BrokerLimits(held_bytes=0))).opened()
    talk.say(Queue.Declare(queue="q"))
    talk.publish(b"x", "q")
    for _ in range(10):
        talk.session.tick()
    assert talk.session.state is State.RUNNING


# -- hostile bytes --------------------------------------------------------------------------------------

_FRAMES = st.builds(
    lambda kind, channel, payload, size_off, end: (
        struct.pack(">BHI", kind, channel, max(0, len(payload) + size_off)) + payload + bytes((end,))
    ),
    st.sampled_from([1, 1, 1, 2, 3, 8, 5]),
    st.sampled_from([0, 1, 1, 2]),
    st.one_of(
        st.binary(max_size=40),
        st.builds(
            lambda index, rest: index.to_bytes(4, "big") + rest,
            st.sampled_from(sorted(INDEX_MAPPING)),
            st.binary(max_size=40),
        ),
        st.builds(
            lambda size, rest: struct.pack(">HHQ", 60, 0, size) + rest,
            st.integers(0, 30),
            st.binary(min_size=2, max_size=40),
        ),
    ),
    st.sampled_from([0] * 20 + [-1, 1]),
    st.sampled_from([0xCE] * 20 + [0]),
)
_SENSIBLE = st.sampled_from(
    [
        frame.marshal(Channel.Open(), 2),
        frame.marshal(Queue.Declare(queue="q"), 1),
        frame.marshal(Basic.Consume(queue="q", consumer_tag="c"), 1),
        frame.marshal(Basic.Get(queue="q"), 1),
        frame.marshal(Basic.Ack(0, multiple=True), 1),
        frame.marshal(Confirm.Select(), 1),
        published(b"hello", "q", headers={"CC": ["q", "r"]}),
        published(b"", "q", expiration="0"),
        HEARTBEAT,
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(_FRAMES, _SENSIBLE, st.binary(max_size=20)), max_size=12), st.data())
def test_any_bytes_are_answered_and_never_break_the_session(pieces: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(pieces)
    whole = Dialogue(Topology(clock=lambda: 0.0, wall_clock=lambda: 0.0, make_name=lambda: "n")).opened()
    parts = Dialogue(Topology(clock=lambda: 0.0, wall_clock=lambda: 0.0, make_name=lambda: "n")).opened()
    failures: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = failures.append  # type: ignore[method-assign]
    logging.getLogger("events.broker").addHandler(handler)
    try:
        whole.session.receive(sent)
        cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=4).map(sorted))
        for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            parts.session.receive(sent[start:end])
    finally:
        logging.getLogger("events.broker").removeHandler(handler)
    assert not failures
    whole.listen()
    parts.listen()
    assert whole.session.state is parts.session.state
    assert [(c, i.name) for c, i in whole.heard] == [(c, i.name) for c, i in parts.heard]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_first_bytes_are_answered(sent: bytes) -> None:
    talk = Dialogue()
    talk.session.receive(sent)
    talk.session.take_output()
    assert talk.session.state in (State.HEADER, State.START_OK, State.CLOSE_OK, State.FINISHED)


def test_frames_may_come_byte_by_byte() -> None:
    talk = Dialogue()
    hello = header.ProtocolHeader().marshal() + frame.marshal(
        Connection.StartOk({}, "PLAIN", "\0guest\0guest"), 0
    )
    for byte in hello:
        talk.session.receive(bytes((byte,)))
    assert talk.names() == ["Connection.Start", "Connection.Tune"]

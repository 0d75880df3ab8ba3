"""Routing, queues and time without frames: the pure part of the embedded broker, with its own clock."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic

from events.broker.errors import AmqpError, Reply
from events.broker.limits import BrokerLimits
from events.broker.message import Message, received
from events.broker.queues import Entry, Queue
from events.broker.topology import Outcome, QueueInfo, Topology


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Taker:
    """A consumer that takes up to `room` messages."""

    no_ack = False
    exclusive = False
    parked = False

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.taken: list[Entry] = []
        self.lost_queue = False

    def ready(self) -> bool:
        return len(self.taken) < self.room

    def deliver(self, entry: Entry) -> None:
        self.taken.append(entry)

    def queue_deleted(self) -> None:
        self.lost_queue = True

    @property
    def bodies(self) -> list[bytes]:
        return [entry.message.body for entry in self.taken]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def topology(clock: Clock) -> Topology:
    return Topology(clock=clock, wall_clock=lambda: 1_700_000_000.5, make_name=lambda: "made")


def message(key: str, body: bytes = b"", exchange: str = "", **properties: Any) -> Message:
    raw = Basic.Properties(**properties).marshal()
    return received(exchange, key, b"", raw, body, "guest")


def advance(topology: Topology, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    while (when := topology.agenda.next()) is not None and when <= clock.now:
        topology.agenda.run(clock.now)


def bodies(queue: Queue) -> list[bytes]:
    found = []
    while (entry := queue.pop()) is not None:
        found.append(entry.message.body)
    return found


def declared(topology: Topology, name: str, **arguments: Any) -> Queue:
    named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    return topology.declare_queue(name, "owner", arguments=named)


# -- queues ---------------------------------------------------------------------------------------------


def test_a_full_consumer_is_passed_over(topology: Topology) -> None:
    queue = declared(topology, "q")
    small, large = Taker(room=1), Taker()
    queue.add_consumer(small)
    queue.add_consumer(large)
    for number in range(5):
        queue.push(message("q", b"%d" % number))
    assert (small.bodies, large.bodies) == ([b"0"], [b"1", b"2", b"3", b"4"])


def test_a_woken_consumer_gets_what_waited(topology: Topology) -> None:
    queue = declared(topology, "q")
    taker = Taker(room=1)
    queue.add_consumer(taker)
    for number in range(3):
        queue.push(message("q", b"%d" % number))
    taker.room = 3
    queue.wake_consumer(taker)
    assert taker.bodies == [b"0", b"1", b"2"]


@given(st.permutations(range(8)), st.integers(0, 8))
def test_requeued_messages_stand_where_they_stood(order: list[int], taken: int) -> None:
    topology = Topology()
    queue = declared(topology, "q")
    for number in range(8):
        queue.push(message("q", b"%d" % number))
    entries = [entry for _ in range(taken) if (entry := queue.pop())]
    for position in order:
        if position < taken:
            queue.requeue([entries[position]])
    assert bodies(queue) == [b"%d" % number for number in range(8)]


def test_a_deleted_queue_tells_its_consumers(topology: Topology) -> None:
    queue = declared(topology, "q")
    taker = Taker()
    queue.add_consumer(taker)
    topology.delete_queue(queue)
    assert taker.lost_queue
    assert topology.snapshot() == []


def test_the_snapshot_counts_messages_and_consumers(topology: Topology) -> None:
    queue = declared(topology, "q")
    queue.add_consumer(Taker(room=1))
    for _ in range(3):
        queue.push(message("q"))
    assert topology.snapshot() == [QueueInfo("q", ready=2, unacknowledged=1, consumers=1)]


# -- time -----------------------------------------------------------------------------------------------


def test_messages_expire_from_the_front_only(topology: Topology, clock: Clock) -> None:
    queue = declared(topology, "q")
    queue.push(message("q", b"long", expiration="5000"))
    queue.push(message("q", b"short", expiration="10"))
    advance(topology, clock, 1)
    assert len(queue) == 2
    advance(topology, clock, 4)
    assert len(queue) == 0


def test_a_message_expires_when_the_one_before_it_is_taken(topology: Topology, clock: Clock) -> None:
    queue = declared(topology, "q")
    queue.push(message("q", b"kept"))
    queue.push(message("q", b"short", expiration="10"))
    queue.pop()
    advance(topology, clock, 1)
    assert len(queue) == 0


def test_an_expired_message_is_not_delivered(topology: Topology, clock: Clock) -> None:
    queue = declared(topology, "q", message_ttl=10)
    queue.push(message("q"))
    clock.now = 1
    taker = Taker()
    queue.add_consumer(taker)
    assert taker.taken == []


def test_many_messages_expire_in_several_turns(topology: Topology, clock: Clock) -> None:
    queue = declared(topology, "q", message_ttl=10)
    for _ in range(1200):
        queue.push(message("q"))
    clock.now = 1
    turns = 0
    while topology.agenda.next() is not None:
        topology.agenda.run(clock.now)
        turns += 1
    assert (len(queue), turns) == (0, 3)


def test_an_unused_queue_expires(topology: Topology, clock: Clock) -> None:
    declared(topology, "q", expires=1000)
    advance(topology, clock, 0.9)
    assert topology.find_queue("q") is not None
    advance(topology, clock, 0.2)
    assert topology.find_queue("q") is None


@pytest.mark.parametrize("use", ["get", "declare"])
def test_using_a_queue_puts_off_its_end(topology: Topology, clock: Clock, use: str) -> None:
    queue = declared(topology, "q", expires=1000)
    advance(topology, clock, 0.9)
    if use == "get":
        queue.pop()
    else:
        declared(topology, "q", expires=1000)
    advance(topology, clock, 0.9)
    assert topology.find_queue("q") is queue
    advance(topology, clock, 0.2)
    assert topology.find_queue("q") is None


def test_a_queue_with_a_consumer_does_not_expire(topology: Topology, clock: Clock) -> None:
    queue = declared(topology, "q", expires=1000)
    taker = Taker()
    queue.add_consumer(taker)
    advance(topology, clock, 10)
    assert topology.find_queue("q") is queue
    queue.remove_consumer(taker)
    advance(topology, clock, 1.1)
    assert topology.find_queue("q") is None


# -- dead letters ---------------------------------------------------------------------------------------


def test_a_message_that_expires_in_a_circle_is_dropped(topology: Topology, clock: Clock) -> None:
    first = declared(
        topology, "first", message_ttl=10, dead_letter_exchange="", dead_letter_routing_key="second"
    )
    second = declared(
        topology, "second", message_ttl=10, dead_letter_exchange="", dead_letter_routing_key="first"
    )
    first.push(message("first"))
    advance(topology, clock, 0.015)
    assert (len(first), len(second)) == (0, 1)
    advance(topology, clock, 0.015)
    assert (len(first), len(second)) == (0, 0)


@pytest.mark.parametrize(
    "record", [{"count": "many"}, {"count": 2**63 - 1}, {}, "no table", {"queue": 5}], ids=str
)
def test_a_record_made_up_by_a_client_does_no_harm(topology: Topology, record: Any) -> None:
    if isinstance(record, dict):
        record = {"reason": "rejected", "queue": "q", **record}
    last = declared(topology, "last")
    queue = declared(topology, "q", dead_letter_exchange="", dead_letter_routing_key="last")
    queue.push(message("q", headers={"x-death": [record]}))
    entry = queue.pop()
    assert entry is not None
    queue.reject([entry])
    assert len(last) == 1


def test_a_rejected_message_may_go_in_a_circle(topology: Topology) -> None:
    queue = declared(topology, "q", dead_letter_exchange="", dead_letter_routing_key="q")
    queue.push(message("q"))
    for _ in range(3):
        entry = queue.pop()
        assert entry is not None
        queue.reject([entry])
    assert len(queue) == 1


@pytest.mark.parametrize(("length", "arrives"), [(50, True), (51, False), (5000, False)])
def test_a_chain_of_overflowing_queues_is_followed_for_fifty_steps(
    topology: Topology, length: int, arrives: bool
) -> None:
    for number in range(length):
        declared(
            topology,
            f"q{number}",
            max_length=0,
            dead_letter_exchange="",
            dead_letter_routing_key=f"q{number + 1}",
        )
    last = declared(topology, f"q{length}")
    topology.publish(message("q0", b"far"))
    assert bodies(last) == ([b"far"] if arrives else [])


# -- exchanges ------------------------------------------------------------------------------------------


def fanouts(topology: Topology, names: Iterable[str]) -> None:
    for name in names:
        topology.declare_exchange(
            name, "fanout", durable=False, auto_delete=True, internal=False, arguments={}
        )


def test_a_long_chain_of_auto_delete_exchanges_goes_at_once(topology: Topology) -> None:
    names = [f"e{number}" for number in range(900)]
    fanouts(topology, names)
    for source, target in pairwise(names):
        topology.bind(topology.bindable(source), "", topology.bindable(target))
    queue = declared(topology, "q")
    topology.bind(topology.bindable(names[-1]), "", queue)
    assert topology.publish(message("", exchange=names[0])) is Outcome.ROUTED
    topology.delete_queue(queue)
    assert all(topology.find_exchange(name) is None for name in names)


def test_exchanges_bound_in_a_circle_deliver_once(topology: Topology) -> None:
    fanouts(topology, ["a", "b"])
    topology.bind(topology.bindable("a"), "", topology.bindable("b"))
    topology.bind(topology.bindable("b"), "", topology.bindable("a"))
    queue = declared(topology, "q")
    topology.bind(topology.bindable("b"), "", queue)
    topology.publish(message("", exchange="a"))
    assert len(queue) == 1


def test_exchanges_are_limited() -> None:
    topology = Topology(BrokerLimits(exchanges=5))
    fanouts(topology, ["fifth"])
    with pytest.raises(AmqpError) as refused:
        fanouts(topology, ["sixth"])
    assert refused.value.code is Reply.PRECONDITION_FAILED


def test_deleted_bindings_make_place_for_others() -> None:
    topology = Topology(BrokerLimits(bindings=1))
    for _ in range(3):
        queue = declared(topology, "q")
        topology.bind(topology.bindable("amq.topic"), "#", queue)
        topology.delete_queue(queue)


# -- what is not offered --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [{"x-max-priority": 5}, {"x-single-active-consumer": True}, {"x-queue-type": "stream"}],
    ids=str,
)
def test_a_promise_the_broker_does_not_keep_is_refused_by_name(
    topology: Topology, arguments: dict[str, Any]
) -> None:
    with pytest.raises(AmqpError) as refused:
        topology.declare_queue("q", "owner", durable=True, arguments=arguments)
    assert refused.value.code is Reply.NOT_IMPLEMENTED


def test_headers_exchanges_are_refused_by_name(topology: Topology) -> None:
    with pytest.raises(AmqpError) as refused:
        topology.declare_exchange(
            "e", "headers", durable=True, auto_delete=False, internal=False, arguments={}
        )
    assert refused.value.code is Reply.NOT_IMPLEMENTED

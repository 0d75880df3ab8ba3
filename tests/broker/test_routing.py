"""Which queues get a message: exchanges, bindings and keys, on both brokers."""

import pytest
from pamqp.commands import Basic, Exchange, Queue

from tests.broker.peer import Closed, Content, Peer, PeerChannel, unique


async def routed(channel: PeerChannel, exchange: str, key: str) -> bool:
    """Does a message with this key reach any queue? An unroutable mandatory message comes back."""
    channel.publish(b"?", key, exchange, mandatory=True)
    return isinstance(await channel.receive(), Basic.Ack)


async def bodies(channel: PeerChannel, queue: str) -> list[bytes]:
    found = []
    while (message := await channel.get(queue)) is not None:
        found.append(message.body)
    return found


async def test_default_exchange_routes_by_queue_name(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    channel.publish(b"hello", queue)
    message = await channel.get(queue)
    assert message is not None
    assert (message.body, message.method.exchange, message.method.routing_key) == (b"hello", "", queue)


async def test_direct_exchange_routes_equal_keys_only(channel: PeerChannel) -> None:
    exchange = await channel.exchange("direct")
    queue = await channel.queue(exclusive=True)
    await channel.bind(queue, exchange, "a.b")
    for key in ("a.b", "a.c", "a.*", ""):
        channel.publish(key.encode(), key, exchange)
    assert await bodies(channel, queue) == [b"a.b"]


async def test_fanout_exchange_ignores_keys(channel: PeerChannel) -> None:
    exchange = await channel.exchange("fanout")
    queues = [await channel.queue(exclusive=True) for _ in range(3)]
    for queue in queues:
        await channel.bind(queue, exchange, "whatever")
    channel.publish(b"all", "other", exchange)
    assert [await bodies(channel, queue) for queue in queues] == [[b"all"]] * 3


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a.b.c", False),
        ("*", "a", True),
        ("*", "", False),
        ("*", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.*", "a.", True),
        ("*.b", "a.b", True),
        ("*.*", "a.b", True),
        ("#", "", True),
        ("#", "a", True),
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "b", False),
        ("#.b", "b", True),
        ("#.b", "x.y.b", True),
        ("#.b", "b.x", False),
        ("a.#.b", "a.b", True),
        ("a.#.b", "a.x.y.b", True),
        ("a.#.b", "a.b.b", True),
        ("a.#.b", "a.x", False),
        ("#.#", "a", True),
        ("#.#", "", True),
        ("*.#", "", False),
        ("*.#", "a", True),
        ("#.*", "a", True),
        ("#.a.#", "x.a.y.a.z", True),
        ("#.a.#.b.#", "a.x.b", True),
        ("#.a.#.b.#", "b.a", False),
        ("", "", True),
        ("", "a", False),
        ("a..b", "a..b", True),
        ("a.*.b", "a..b", True),
        ("route.#", "route.index.x", True),
        ("route.#", "routes.index", False),
        ("a*", "ab", False),
        ("a#", "a", False),
    ],
)
async def test_topic_pattern(channel: PeerChannel, pattern: str, key: str, expected: bool) -> None:
    await channel.confirms()
    exchange = await channel.exchange("topic")
    await channel.bind(await channel.queue(exclusive=True), exchange, pattern)
    assert await routed(channel, exchange, key) is expected


async def test_a_queue_gets_one_copy_however_many_bindings_match(channel: PeerChannel) -> None:
    exchange = await channel.exchange("topic")
    queue = await channel.queue(exclusive=True)
    for pattern in ("#", "a.#", "a.*", "*.b", "a.b"):
        await channel.bind(queue, exchange, pattern)
    channel.publish(b"once", "a.b", exchange)
    assert await bodies(channel, queue) == [b"once"]


async def test_binding_twice_is_one_binding(channel: PeerChannel) -> None:
    await channel.confirms()
    exchange = await channel.exchange("topic", auto_delete=False)
    queue = await channel.queue(exclusive=True)
    await channel.bind(queue, exchange, "a")
    await channel.bind(queue, exchange, "a")
    await channel.call(Queue.Unbind(queue=queue, exchange=exchange, routing_key="a"))
    assert not await routed(channel, exchange, "a")
    await channel.call(Exchange.Delete(exchange=exchange))


@pytest.mark.parametrize("kind", ["direct", "fanout", "topic"])
async def test_unbinding_one_key_leaves_the_others(channel: PeerChannel, kind: str) -> None:
    await channel.confirms()
    exchange = await channel.exchange(kind)
    queue = await channel.queue(exclusive=True)
    await channel.bind(queue, exchange, "a.b")
    await channel.bind(queue, exchange, "a.c")
    await channel.call(Queue.Unbind(queue=queue, exchange=exchange, routing_key="a.b"))
    assert await routed(channel, exchange, "a.b") is (kind == "fanout")
    assert await routed(channel, exchange, "a.c")


async def test_unbinding_what_is_not_bound_is_no_error(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    await channel.call(Queue.Unbind(queue=queue, exchange="amq.topic", routing_key="none"))
    await channel.call(Queue.Unbind(queue=queue, exchange=unique("missing"), routing_key="none"))
    await channel.call(Queue.Unbind(queue=unique("missing"), exchange="amq.topic", routing_key="none"))


async def test_an_empty_queue_and_key_bind_the_last_queue_by_its_name(channel: PeerChannel) -> None:
    await channel.confirms()
    exchange = await channel.exchange("direct")
    queue = await channel.queue(exclusive=True)
    await channel.bind("", exchange, "")
    assert await routed(channel, exchange, queue)


async def test_exchange_bound_to_exchange_passes_messages_on(channel: PeerChannel) -> None:
    inner = await channel.exchange("topic", auto_delete=False)
    outer = await channel.exchange("direct", auto_delete=False)
    queue = await channel.queue(exclusive=True)
    await channel.bind(queue, inner, "a.#")
    await channel.bind(queue, outer, "a.b")
    await channel.call(Exchange.Bind(destination=inner, source=outer, routing_key="a.b"))
    await channel.call(Exchange.Bind(destination=outer, source=inner, routing_key="#"))
    channel.publish(b"through both", "a.b", outer)
    assert await bodies(channel, queue) == [b"through both"]
    await channel.call(Exchange.Unbind(destination=inner, source=outer, routing_key="a.b"))
    await channel.call(Exchange.Delete(exchange=inner))
    await channel.call(Exchange.Delete(exchange=outer))


async def test_alternate_exchange_takes_what_is_not_routed(channel: PeerChannel) -> None:
    rest = await channel.exchange("fanout")
    queue = await channel.queue(exclusive=True)
    await channel.bind(queue, rest)
    exchange = await channel.exchange("direct", auto_delete=False, arguments={"alternate-exchange": rest})
    channel.publish(b"lost and found", "nowhere", exchange)
    assert await bodies(channel, queue) == [b"lost and found"]
    await channel.call(Exchange.Delete(exchange=exchange))


async def test_an_alternate_exchange_is_a_name(channel: PeerChannel) -> None:
    with pytest.raises(Closed) as closed:
        await channel.exchange("direct", arguments={"alternate-exchange": 5})
    assert (closed.value.level, closed.value.code) == ("channel", 406)


@pytest.mark.parametrize("kind", ["direct", "fanout", "topic"])
async def test_each_exchange_type_is_there_from_the_start(channel: PeerChannel, kind: str) -> None:
    await channel.call(Exchange.Declare(exchange=f"amq.{kind}", passive=True))
    await channel.call(Exchange.Declare(exchange=f"amq.{kind}", exchange_type=kind, durable=True))


async def test_auto_delete_exchange_goes_with_its_last_binding(peer: Peer, channel: PeerChannel) -> None:
    exchange = await channel.exchange("topic")
    first, second = await channel.queue(exclusive=True), await channel.queue(exclusive=True)
    await channel.bind(first, exchange, "a")
    await channel.bind(second, exchange, "a")
    await channel.call(Queue.Unbind(queue=first, exchange=exchange, routing_key="a"))
    await channel.call(Exchange.Declare(exchange=exchange, passive=True))
    await channel.call(Queue.Delete(queue=second))
    with pytest.raises(Closed) as closed:
        await channel.call(Exchange.Declare(exchange=exchange, passive=True))
    assert closed.value.code == 404


async def test_deleting_an_exchange_removes_its_bindings(channel: PeerChannel) -> None:
    await channel.confirms()
    exchange = await channel.exchange("direct")
    await channel.bind(await channel.queue(exclusive=True), exchange, "a")
    await channel.call(Exchange.Delete(exchange=exchange))
    await channel.exchange("direct", exchange)
    assert not await routed(channel, exchange, "a")
    await channel.call(Exchange.Delete(exchange=exchange))


async def test_deleting_a_missing_exchange_is_no_error(channel: PeerChannel) -> None:
    await channel.call(Exchange.Delete(exchange=unique("missing")))


async def test_exchange_in_use_is_not_deleted_if_unused(channel: PeerChannel) -> None:
    exchange = await channel.exchange("direct")
    await channel.bind(await channel.queue(exclusive=True), exchange, "a")
    with pytest.raises(Closed) as closed:
        await channel.call(Exchange.Delete(exchange=exchange, if_unused=True))
    assert (closed.value.level, closed.value.code) == ("channel", 406)


async def test_internal_exchange_refuses_publishers(channel: PeerChannel) -> None:
    exchange = await channel.exchange("direct", internal=True, auto_delete=False)
    channel.publish(b"", "a", exchange)
    with pytest.raises(Closed) as closed:
        await channel.receive()
    assert (closed.value.level, closed.value.code) == ("channel", 403)
    again = await channel.peer.open()
    await again.call(Exchange.Delete(exchange=exchange))


@pytest.mark.parametrize(
    ("method", "level", "code"),
    [
        (Exchange.Declare(exchange=unique("missing"), passive=True), "channel", 404),
        (Exchange.Declare(exchange="amq.mine"), "channel", 403),
        (Exchange.Declare(exchange=""), "channel", 403),
        (Exchange.Declare(exchange="amq.topic", exchange_type="topic", durable=False), "channel", 406),
        (Exchange.Declare(exchange="amq.topic", exchange_type="direct", durable=True), "channel", 406),
        (Exchange.Declare(exchange=unique("odd"), exchange_type="unheard-of"), "connection", 503),
        (Exchange.Delete(exchange="amq.topic"), "channel", 403),
        (Exchange.Delete(exchange=""), "channel", 403),
        (Exchange.Bind(destination="amq.topic", source=unique("missing")), "channel", 404),
        (Exchange.Bind(destination=unique("missing"), source="amq.topic"), "channel", 404),
        (Exchange.Bind(destination="", source="amq.topic"), "channel", 403),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else str(value),
)
async def test_exchange_method_is_refused(
    channel: PeerChannel, method: Exchange.Declare, level: str, code: int
) -> None:
    with pytest.raises(Closed) as closed:
        await channel.call(method)
    assert (closed.value.level, closed.value.code) == (level, code)


async def test_binding_to_a_missing_exchange_is_refused(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    with pytest.raises(Closed) as closed:
        await channel.bind(queue, unique("missing"), "a")
    assert (closed.value.level, closed.value.code) == ("channel", 404)


async def test_binding_to_the_default_exchange_is_refused(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True)
    with pytest.raises(Closed) as closed:
        await channel.bind(queue, "", "a")
    assert (closed.value.level, closed.value.code) == ("channel", 403)


async def test_cc_adds_keys_and_stays_in_the_headers(channel: PeerChannel) -> None:
    exchange = await channel.exchange("topic")
    queues = [await channel.queue(exclusive=True) for _ in range(3)]
    for queue, key in zip(queues, ("primary.x", "route.a", "route.b"), strict=True):
        await channel.bind(queue, exchange, key)
    channel.publish(b"news", "primary.x", exchange, headers={"CC": ["route.a", "route.b"], "n": 1})
    for queue in queues:
        message = await channel.get(queue)
        assert message is not None
        assert message.headers == {"CC": ["route.a", "route.b"], "n": 1}
        assert message.method.routing_key == "primary.x"


async def test_bcc_adds_keys_and_is_taken_out_of_the_headers(channel: PeerChannel) -> None:
    exchange = await channel.exchange("direct")
    queue = await channel.queue(exclusive=True)
    await channel.bind(queue, exchange, "hidden")
    properties = {"headers": {"BCC": ["hidden"], "n": 1}, "message_id": "m", "delivery_mode": 2}
    channel.publish(b"secret", "shown", exchange, **properties)
    message = await channel.get(queue)
    assert message is not None
    assert (message.headers, message.properties.message_id, message.properties.delivery_mode) == (
        {"n": 1},
        "m",
        2,
    )
    assert message.method.routing_key == "shown"


async def test_a_queue_gets_one_copy_however_many_keys_match(channel: PeerChannel) -> None:
    exchange = await channel.exchange("topic")
    queue = await channel.queue(exclusive=True)
    await channel.bind(queue, exchange, "#")
    channel.publish(b"once", "a", exchange, headers={"CC": ["b", "a"], "BCC": ["c"]})
    assert await bodies(channel, queue) == [b"once"]


async def test_cc_works_on_the_default_exchange(channel: PeerChannel) -> None:
    first, second = await channel.queue(exclusive=True), await channel.queue(exclusive=True)
    channel.publish(b"both", first, headers={"CC": [second]})
    assert (await bodies(channel, first), await bodies(channel, second)) == ([b"both"], [b"both"])


async def test_cc_that_is_no_array_is_refused(channel: PeerChannel) -> None:
    channel.publish(b"", "a", headers={"CC": "a"})
    with pytest.raises(Closed) as closed:
        await channel.receive()
    assert (closed.value.level, closed.value.code) == ("channel", 406)


async def test_cc_counts_for_mandatory(channel: PeerChannel) -> None:
    await channel.confirms()
    queue = await channel.queue(exclusive=True)
    channel.publish(b"", "nowhere", mandatory=True, headers={"CC": [queue]})
    answer = await channel.receive()
    assert not isinstance(answer, Content)

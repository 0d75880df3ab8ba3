"""Messages that a queue gives up: times to live, length limits, rejection and the x-death record, on both
brokers.

A time to live is a few milliseconds, and the test awaits the dead letter instead of the time.
"""

from collections.abc import Callable
from typing import Any

import pytest
from pamqp.commands import Basic

from tests.broker.peer import Content, PeerChannel, unique

NameMaker = Callable[[], str]


class Graveyard:
    """A dead-letter exchange and a consumer of all that comes to it."""

    def __init__(self, channel: PeerChannel, exchange: str, queue: str) -> None:
        self.channel = channel
        self.exchange = exchange
        self.queue = queue

    async def next(self) -> Content:
        return await self.channel.delivery()


@pytest.fixture
async def graveyard(channel: PeerChannel) -> Graveyard:
    exchange = await channel.exchange("topic")
    queue = await channel.queue(exclusive=True)
    await channel.bind(queue, exchange, "#")
    await channel.consume(queue, no_ack=True)
    return Graveyard(channel, exchange, queue)


async def dying(graveyard: Graveyard, **arguments: Any) -> str:
    """An exclusive queue that dead-letters; words of its arguments are given with underscores."""
    named = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
    return await graveyard.channel.queue(
        exclusive=True, arguments={"x-dead-letter-exchange": graveyard.exchange, **named}
    )


async def test_a_rejected_message_is_dead_lettered_with_its_record(
    channel: PeerChannel, graveyard: Graveyard
) -> None:
    source = await channel.exchange("topic")
    queue = await dying(graveyard)
    await channel.bind(queue, source, "#")
    channel.publish(b"bad", "a.b", source, headers={"mine": 1}, message_id="m")
    await channel.get(queue, no_ack=False)
    channel.send(Basic.Reject(1, requeue=False))
    letter = await graveyard.next()
    assert (letter.body, letter.properties.message_id) == (b"bad", "m")
    assert (letter.method.exchange, letter.method.routing_key) == (graveyard.exchange, "a.b")
    assert letter.headers["mine"] == 1
    (death,) = letter.headers["x-death"]
    assert death.pop("time").year >= 2024
    assert death == {
        "count": 1,
        "reason": "rejected",
        "queue": queue,
        "exchange": source,
        "routing-keys": ["a.b"],
    }
    firsts = {name: value for name, value in letter.headers.items() if name.startswith("x-first-death")}
    assert firsts == {
        "x-first-death-reason": "rejected",
        "x-first-death-queue": queue,
        "x-first-death-exchange": source,
    }


@pytest.mark.parametrize("multiple", [True, False])
async def test_nacked_messages_are_dead_lettered_in_order(
    channel: PeerChannel, graveyard: Graveyard, multiple: bool
) -> None:
    queue = await dying(graveyard)
    for body in (b"1", b"2"):
        channel.publish(body, queue)
        await channel.get(queue, no_ack=False)
    if not multiple:
        channel.send(Basic.Nack(1, requeue=False))
    channel.send(Basic.Nack(2, multiple=multiple, requeue=False))
    assert [(await graveyard.next()).body for _ in range(2)] == [b"1", b"2"]


async def test_the_queue_may_name_the_key_of_its_dead_letters(
    channel: PeerChannel, graveyard: Graveyard
) -> None:
    queue = await dying(graveyard, dead_letter_routing_key="the.dead")
    channel.publish(b"", queue)
    await channel.get(queue, no_ack=False)
    channel.send(Basic.Reject(1, requeue=False))
    assert (await graveyard.next()).method.routing_key == "the.dead"


async def test_dead_letters_may_go_to_a_queue_by_the_default_exchange(channel: PeerChannel) -> None:
    last = await channel.queue(exclusive=True)
    queue = await channel.queue(
        exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": last}
    )
    channel.publish(b"down", queue)
    await channel.get(queue, no_ack=False)
    channel.send(Basic.Reject(1, requeue=False))
    await channel.consume(last)
    assert (await channel.delivery()).body == b"down"


async def test_dead_letters_keep_their_cc_keys(channel: PeerChannel, graveyard: Graveyard) -> None:
    copy = await channel.queue(exclusive=True)
    await channel.bind(copy, graveyard.exchange, "extra")
    queue = await dying(graveyard)
    channel.publish(b"", queue, headers={"CC": ["extra"]})
    await channel.get(queue, no_ack=False)
    channel.send(Basic.Reject(1, requeue=False))
    letter = await graveyard.next()
    assert letter.headers["CC"] == ["extra"]
    assert letter.headers["x-death"][0]["routing-keys"] == [queue, "extra"]
    await channel.consume(copy)
    assert (await channel.delivery()).body == b""


async def test_a_key_of_the_queue_replaces_the_cc_keys(channel: PeerChannel, graveyard: Graveyard) -> None:
    queue = await dying(graveyard, dead_letter_routing_key="the.dead")
    channel.publish(b"", queue, headers={"CC": ["extra"]})
    await channel.get(queue, no_ack=False)
    channel.send(Basic.Reject(1, requeue=False))
    letter = await graveyard.next()
    assert "CC" not in letter.headers
    assert letter.headers["x-death"][0]["routing-keys"] == [queue, "extra"]


async def test_dead_letters_keep_their_bcc_keys(channel: PeerChannel, graveyard: Graveyard) -> None:
    hidden = await channel.queue(exclusive=True)
    await channel.bind(hidden, graveyard.exchange, "hidden")
    await channel.consume(hidden, no_ack=True, tag="hidden")
    queue = await dying(graveyard)
    channel.publish(b"", queue, headers={"BCC": ["hidden"]})
    await channel.get(queue, no_ack=False)
    channel.send(Basic.Reject(1, requeue=False))
    letters = await channel.deliveries(2)
    assert "hidden" in {letter.method.consumer_tag for letter in letters}
    assert [letter.headers["x-death"][0]["routing-keys"] for letter in letters] == [[queue]] * 2


async def test_a_second_death_in_the_same_way_is_counted(channel: PeerChannel, graveyard: Graveyard) -> None:
    queue = await dying(graveyard)
    await channel.bind(queue, graveyard.exchange, "#")
    channel.publish(b"", queue)
    for count in (1, 2, 3):
        message = await channel.get(queue, no_ack=False)
        assert message is not None
        channel.send(Basic.Reject(message.method.delivery_tag, requeue=False))
        letter = await graveyard.next()
        assert [death["count"] for death in letter.headers["x-death"]] == [count]


async def test_deaths_in_several_queues_are_recorded_latest_first(
    channel: PeerChannel, graveyard: Graveyard
) -> None:
    last = await dying(graveyard)
    first = await channel.queue(
        exclusive=True,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": last, "x-message-ttl": 1},
    )
    await channel.consume(last)
    channel.publish(b"", first)
    channel.send(Basic.Reject((await channel.delivery()).method.delivery_tag, requeue=False))
    letter = await graveyard.next()
    deaths = [(death["queue"], death["reason"]) for death in letter.headers["x-death"]]
    assert deaths == [(last, "rejected"), (first, "expired")]
    assert letter.headers["x-first-death-queue"] == first


async def test_a_missing_dead_letter_exchange_loses_the_message_only(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True, arguments={"x-dead-letter-exchange": unique("missing")})
    channel.publish(b"", queue)
    await channel.get(queue, no_ack=False)
    channel.send(Basic.Reject(1, requeue=False))
    await channel.settled()
    assert await channel.depth(queue) == 0


async def test_messages_expire_after_the_time_of_their_queue(
    channel: PeerChannel, graveyard: Graveyard
) -> None:
    queue = await dying(graveyard, message_ttl=5)
    for body in (b"1", b"2"):
        channel.publish(body, queue)
    letters = [await graveyard.next(), await graveyard.next()]
    assert [letter.body for letter in letters] == [b"1", b"2"]
    assert letters[0].headers["x-death"][0]["reason"] == "expired"
    assert "original-expiration" not in letters[0].headers["x-death"][0]


async def test_a_message_expires_after_its_own_time(channel: PeerChannel, graveyard: Graveyard) -> None:
    queue = await dying(graveyard)
    channel.publish(b"", queue, expiration="5")
    letter = await graveyard.next()
    assert letter.properties.expiration is None
    assert letter.headers["x-death"][0]["original-expiration"] == "5"


@pytest.mark.parametrize(("of_queue", "of_message"), [(5, "60000"), (60_000, "5")])
async def test_the_shorter_time_rules(
    channel: PeerChannel, graveyard: Graveyard, of_queue: int, of_message: str
) -> None:
    queue = await dying(graveyard, message_ttl=of_queue)
    channel.publish(b"", queue, expiration=of_message)
    assert (await graveyard.next()).headers["x-death"][0]["reason"] == "expired"


async def test_a_time_of_zero_expires_what_nobody_takes_at_once(
    channel: PeerChannel, graveyard: Graveyard
) -> None:
    queue = await dying(graveyard, message_ttl=0)
    channel.publish(b"missed", queue)
    assert (await graveyard.next()).body == b"missed"
    assert await channel.get(queue) is None


async def test_a_time_of_zero_lets_a_waiting_consumer_have_it(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True, arguments={"x-message-ttl": 0})
    await channel.consume(queue)
    channel.publish(b"caught", queue)
    assert (await channel.delivery()).body == b"caught"


async def test_a_requeued_message_keeps_its_time(channel: PeerChannel, graveyard: Graveyard) -> None:
    queue = await dying(graveyard, message_ttl=200)
    channel.publish(b"", queue)
    await channel.get(queue, no_ack=False)
    channel.send(Basic.Nack(1, requeue=True))
    assert (await graveyard.next()).headers["x-death"][0]["reason"] == "expired"


async def test_the_oldest_leaves_a_queue_that_is_too_long(channel: PeerChannel, graveyard: Graveyard) -> None:
    queue = await dying(graveyard, max_length=2)
    for body in (b"1", b"2", b"3"):
        channel.publish(body, queue)
    letter = await graveyard.next()
    assert (letter.body, letter.headers["x-death"][0]["reason"]) == (b"1", "maxlen")
    assert await channel.depth(queue) == 2


async def test_the_oldest_leave_a_queue_that_is_too_large(channel: PeerChannel, graveyard: Graveyard) -> None:
    queue = await dying(graveyard, max_length_bytes=10)
    for body in (b"1234", b"5678", b"90123456"):
        channel.publish(body, queue)
    assert [(await graveyard.next()).body for _ in range(2)] == [b"1234", b"5678"]
    assert await channel.depth(queue) == 1


async def test_limits_count_waiting_messages_only(channel: PeerChannel) -> None:
    queue = await channel.queue(exclusive=True, arguments={"x-max-length": 1})
    await channel.consume(queue)
    for body in (b"1", b"2", b"3"):
        channel.publish(body, queue)
    assert [message.body for message in await channel.deliveries(3)] == [b"1", b"2", b"3"]


async def test_a_message_that_comes_back_to_a_full_queue_counts(
    channel: PeerChannel, graveyard: Graveyard
) -> None:
    queue = await dying(graveyard, max_length=1)
    channel.publish(b"1", queue)
    await channel.get(queue, no_ack=False)
    channel.publish(b"2", queue)
    channel.send(Basic.Nack(1, requeue=True))
    assert (await graveyard.next()).body == b"1"
    assert await channel.depth(queue) == 1


async def test_a_full_queue_may_refuse_instead(channel: PeerChannel) -> None:
    await channel.confirms()
    queue = await channel.queue(exclusive=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    for _ in range(4):
        channel.publish(b"", queue)
    assert await channel.outcomes(4) == ["ack", "ack", "nack", "nack"]
    await channel.get(queue)
    channel.publish(b"", queue)
    await channel.settled()
    assert await channel.depth(queue) == 2


async def test_a_refused_message_may_be_dead_lettered(channel: PeerChannel, graveyard: Graveyard) -> None:
    await channel.confirms()
    queue = await dying(graveyard, max_length=1, overflow="reject-publish-dlx")
    channel.publish(b"kept", queue)
    channel.publish(b"refused", queue)
    letter = await graveyard.next()
    assert (letter.body, letter.headers["x-death"][0]["reason"]) == (b"refused", "maxlen")
    assert await channel.outcomes(2) == ["ack", "nack"]


async def test_a_refusal_by_one_queue_is_a_nack(channel: PeerChannel) -> None:
    await channel.confirms()
    full = await channel.queue(exclusive=True, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    free = await channel.queue(exclusive=True)
    channel.publish(b"", free, headers={"CC": [full]})
    assert await channel.outcomes(1) == ["nack"]
    assert await channel.depth(free) == 1


async def test_a_quorum_queue_gives_up_after_its_delivery_limit(
    channel: PeerChannel, graveyard: Graveyard, shared_name: NameMaker
) -> None:
    await channel.confirms()
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 2,
        "x-dead-letter-exchange": graveyard.exchange,
    }
    queue = await channel.queue(shared_name(), durable=True, arguments=arguments)
    channel.publish(b"poison", queue)
    await channel.outcomes(1)
    await channel.consume(queue, tag="victim")
    counts = []
    for _ in range(3):
        message = await channel.delivery()
        counts.append(message.headers.get("x-delivery-count"))
        channel.send(Basic.Nack(message.method.delivery_tag, requeue=True))
    letter = await graveyard.next()
    assert counts == [None, 1, 2]
    assert (letter.body, letter.headers["x-death"][0]["reason"]) == (b"poison", "delivery_limit")

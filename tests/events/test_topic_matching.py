"""Our idea of topic matching against what the brokers do."""

import itertools

from aio_pika import Message
from aio_pika.abc import AbstractChannel

from events.keys import matches

PATTERNS = [
    "#",
    "*",
    "",
    "a",
    "a.#",
    "#.a",
    "a.#.b",
    "#.#",
    "*.#",
    "#.*",
    "a.*",
    "*.a",
    "a.*.#.b",
    "a.",
    ".a",
    "*.*",
]
KEYS = ["", "a", "b", "a.b", "a.a", "b.a", "a.b.a", "a.x.b", "a.x.y.b", "a.", ".a", ".", "a..b", "a.b.a.b"]


async def test_a_broker_delivers_exactly_the_keys_that_match(admin: AbstractChannel, name: str) -> None:
    exchange = await admin.declare_exchange(name, "topic", auto_delete=True)
    queues = {pattern: await admin.declare_queue(exclusive=True) for pattern in PATTERNS}
    for pattern, queue in queues.items():
        await queue.bind(exchange, pattern)
    for key in KEYS:
        await exchange.publish(Message(b""), key)
    delivered = set()
    for pattern, queue in queues.items():
        while message := await queue.get(no_ack=True, fail=False):
            delivered.add((pattern, message.routing_key))
    assert delivered == {(p, k) for p, k in itertools.product(PATTERNS, KEYS) if matches(p, k)}

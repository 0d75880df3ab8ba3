"""A journal's contents put back into a topology: what a restart finds again."""

import json
import logging
from collections.abc import Mapping

from events.broker.arguments import queue_policy
from events.broker.errors import AmqpError
from events.broker.exchanges import Destination, Exchange
from events.broker.journal import Journal
from events.broker.journal_file import Contents, JournalUnusable, Row
from events.broker.limits import BrokerLimits
from events.broker.message import Message
from events.broker.queues import Entry, Queue
from events.broker.topology import Topology
from events.broker.wire import shortstr

logger = logging.getLogger(__name__)


def recovered(journal: Journal, limits: BrokerLimits) -> Topology:
    """A topology as the journal has it, which it goes on recording. Raises JournalUnusable.

    Limits that are lower than they were refuse what is new, not what is there.
    """
    contents = journal.read()
    topology = Topology(limits, journal=journal)
    try:
        queues = _restore(topology, contents)
    except (AmqpError, LookupError, TypeError, ValueError) as error:
        raise JournalUnusable(f"the broker's journal holds what it cannot hold: {error!r}") from error
    finally:
        journal.forget_recorded()
    for queue in queues:
        queue.restored()
    if queues:
        logger.info(
            "the broker's journal is read", extra={"queues": len(queues), "messages": len(contents.entries)}
        )
    return topology


def _restore(topology: Topology, contents: Contents) -> list[Queue]:
    for name, definition in contents.exchanges:
        topology.add_exchange(Exchange(name, durable=True, **json.loads(definition)))
    queues = {row[1]: _queue(topology, row) for row in contents.queues}
    for source, key, destination, to_queue in contents.bindings:
        target: Destination = (
            topology.queue(destination, None) if to_queue else topology.exchange(destination)
        )
        topology.add_binding(topology.exchange(source), key, target)
    _fill(topology, queues, contents)
    return list(queues.values())


def _queue(topology: Topology, row: Row) -> Queue:
    name, journal_id, text, delivered = row
    definition = json.loads(text)
    arguments = definition["arguments"]
    queue = Queue(
        topology,
        name,
        queue_policy(name, arguments),
        durable=True,
        auto_delete=definition["auto_delete"],
        arguments=arguments,
    )
    topology.add_queue(queue)
    queue.journal_id, queue.delivered = journal_id, delivered
    return queue


def _fill(topology: Topology, queues: Mapping[int, Queue], contents: Contents) -> None:
    messages = {row[0]: _message(row) for row in contents.messages}
    now, wall_now = topology.clock(), topology.wall_clock()
    for position, queue_id, message_id, deadline, deliveries in contents.entries:
        message = messages[message_id]
        message.rows += 1
        entry = Entry(message, position)
        entry.deliveries = deliveries
        if deadline is not None:
            entry.deadline = now + deadline / 1000 - wall_now
        queues[queue_id].restore(entry)


def _message(row: Row) -> Message:
    row_id, exchange, keys, properties, body, expiration = row
    routing_keys = tuple(json.loads(keys))
    return Message(
        exchange,
        routing_keys,
        shortstr(exchange) + shortstr(routing_keys[0]),
        properties,
        body,
        expiration,
        persistent=True,
        row=row_id,
    )

"""The methods that shape the topology: exchange.* and queue.* of one channel."""

from collections.abc import Callable
from typing import Any, Final

from pamqp.base import Frame
from pamqp.commands import Exchange, Queue

from events.broker import queues, wire
from events.broker.channel import Channel


def on_method(channel: Channel, method: Frame) -> bool:
    """Carry out a method of the classes exchange and queue; False when it is none of them. Raises
    AmqpError.
    """
    handler = _HANDLERS.get(type(method))
    if handler is None:
        return False
    reply = handler(channel, method)
    channel.link.promised = True
    if not getattr(method, "nowait", False):
        channel.reply(*reply)
    return True


_Reply = tuple[int, bytes]


def _exchange_declare(channel: Channel, method: Exchange.Declare) -> _Reply:
    topology = channel.link.topology
    if method.passive and method.exchange:
        topology.exchange(method.exchange)
    else:
        topology.declare_exchange(
            method.exchange,
            method.exchange_type,
            durable=method.durable,
            auto_delete=method.auto_delete,
            internal=method.internal,
            arguments=method.arguments or {},
        )
    return Exchange.DeclareOk.index, b""


def _exchange_delete(channel: Channel, method: Exchange.Delete) -> _Reply:
    channel.link.topology.delete_exchange(method.exchange, if_unused=method.if_unused)
    return Exchange.DeleteOk.index, b""


def _exchange_bind(channel: Channel, method: Exchange.Bind) -> _Reply:
    topology = channel.link.topology
    source = topology.bindable(method.source)
    topology.bind(source, method.routing_key, topology.bindable(method.destination))
    return Exchange.BindOk.index, b""


def _exchange_unbind(channel: Channel, method: Exchange.Unbind) -> _Reply:
    topology = channel.link.topology
    if (destination := topology.find_exchange(method.destination)) is not None:
        topology.unbind(method.source, method.routing_key, destination)
    return Exchange.UnbindOk.index, b""


def _queue_declare(channel: Channel, method: Queue.Declare) -> _Reply:
    topology, owner = channel.link.topology, channel.link
    if method.passive:
        queue = topology.queue(method.queue, owner)
        queue.used()
    else:
        queue = topology.declare_queue(
            method.queue,
            owner,
            durable=method.durable,
            exclusive=method.exclusive,
            auto_delete=method.auto_delete,
            arguments=method.arguments or {},
        )
    channel.last_queue = queue.name
    counts = len(queue).to_bytes(4, "big") + len(queue.consumers).to_bytes(4, "big")
    return Queue.DeclareOk.index, wire.shortstr(queue.name) + counts


def _queue_bind(channel: Channel, method: Queue.Bind) -> _Reply:
    topology = channel.link.topology
    name = channel.queue_name(method.queue)
    key = method.routing_key if method.queue or method.routing_key else name
    source = topology.bindable(method.exchange)
    topology.bind(source, key, topology.queue(name, channel.link))
    return Queue.BindOk.index, b""


def _queue_unbind(channel: Channel, method: Queue.Unbind) -> _Reply:
    queue = _if_there(channel, channel.queue_name(method.queue))
    if queue is not None:
        channel.link.topology.unbind(method.exchange, method.routing_key, queue)
    return Queue.UnbindOk.index, b""


def _queue_purge(channel: Channel, method: Queue.Purge) -> _Reply:
    queue = channel.link.topology.queue(channel.queue_name(method.queue), channel.link)
    return Queue.PurgeOk.index, queue.purge().to_bytes(4, "big")


def _queue_delete(channel: Channel, method: Queue.Delete) -> _Reply:
    queue = _if_there(channel, channel.queue_name(method.queue))
    waiting = 0
    if queue is not None:
        waiting = channel.link.topology.delete_queue(
            queue, if_unused=method.if_unused, if_empty=method.if_empty
        )
    return Queue.DeleteOk.index, waiting.to_bytes(4, "big")


def _if_there(channel: Channel, name: str) -> queues.Queue | None:
    """None for a queue that does not exist; one that belongs to another connection is refused."""
    topology = channel.link.topology
    return topology.queue(name, channel.link) if topology.find_queue(name) is not None else None


_HANDLERS: Final[dict[type[Frame], Callable[[Channel, Any], _Reply]]] = {
    Exchange.Declare: _exchange_declare,
    Exchange.Delete: _exchange_delete,
    Exchange.Bind: _exchange_bind,
    Exchange.Unbind: _exchange_unbind,
    Queue.Declare: _queue_declare,
    Queue.Bind: _queue_bind,
    Queue.Unbind: _queue_unbind,
    Queue.Purge: _queue_purge,
    Queue.Delete: _queue_delete,
}

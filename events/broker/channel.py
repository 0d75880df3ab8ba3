"""One channel: what it publishes, what is delivered on it, and the acknowledgements."""

from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any, Final, NamedTuple

from pamqp.base import Frame
from pamqp.commands import Basic, Confirm
from pamqp.commands import Channel as ChannelMethods

from events.broker import wire
from events.broker.errors import AmqpError, Reply
from events.broker.link import Link
from events.broker.message import with_delivery_count
from events.broker.publishing import Publishing
from events.broker.queues import Entry, Queue

_MULTIPLE: Final = 1
_NOWAIT: Final = b"\x01"


class Consumer:
    """A subscription of a channel to a queue."""

    __slots__ = (
        "channel",
        "encoded_tag",
        "exclusive",
        "no_ack",
        "outstanding",
        "parked",
        "prefetch",
        "queue",
        "tag",
    )

    def __init__(
        self, channel: "Channel", queue: Queue, tag: str, *, no_ack: bool, exclusive: bool, prefetch: int
    ) -> None:
        self.channel = channel
        self.queue = queue
        self.tag = tag
        self.encoded_tag = wire.shortstr(tag)
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.prefetch = prefetch
        """Deliveries that may be outstanding; 0 is any number."""
        self.outstanding = 0
        self.parked = False

    def ready(self) -> bool:
        if not self.no_ack and self.prefetch and self.outstanding >= self.prefetch:
            return False
        return self.channel.may_deliver(self.no_ack)

    def deliver(self, entry: Entry) -> None:
        self.channel.deliver(self, entry)

    def queue_deleted(self) -> None:
        self.channel.consumer_lost(self)


class Delivery(NamedTuple):
    """A message out with a client; without a consumer it was fetched by basic.get."""

    entry: Entry
    queue: Queue
    consumer: Consumer | None


class Channel:
    """Frames of one channel in, frames out through its link. Errors are raised as AmqpError."""

    def __init__(self, link: Link, number: int) -> None:
        self.link = link
        self.number = number
        self.publishing = Publishing(link, number)
        self.last_queue: str | None = None
        """The queue declared last: what an empty queue name means."""
        self._topology = link.topology
        self._consumers: dict[str, Consumer] = {}
        self._prefetch = 0
        """For each consumer to come."""
        self._shared_prefetch = 0
        """For all consumers together, until the other kind is set: so it is in RabbitMQ."""
        self._outstanding = 0
        self._unsettled: dict[int, Delivery] = {}
        self._last_tag = 0

    def on_method(self, method: Frame) -> bool:
        """Handle a method of the classes basic, confirm and channel; False when it is none of them."""
        handler = _HANDLERS.get(type(method))
        if handler is None:
            return False
        handler(self, method)
        return True

    def reply(self, index: int, arguments: bytes = b"") -> None:
        self.link.write(wire.method(self.number, index, arguments))

    def queue_name(self, name: str) -> str:
        """An empty name stands for the queue declared last on this channel. Raises NOT_FOUND."""
        if name:
            return name
        if self.last_queue is None:
            raise AmqpError(Reply.NOT_FOUND, "no previously declared queue")
        return self.last_queue

    def stop_consuming(self) -> None:
        """First half of closing: nothing more is delivered here."""
        for consumer in list(self._consumers.values()):
            self._forget(consumer)
            consumer.queue.remove_consumer(consumer)

    def requeue_all(self) -> None:
        """Second half of closing: what was not acknowledged goes back."""
        deliveries = list(self._unsettled.values())
        self._unsettled.clear()
        for queue, entries in _by_queue(deliveries):
            queue.requeue(entries)

    # -- delivering -------------------------------------------------------------------------------------

    def may_deliver(self, no_ack: bool) -> bool:
        shared = 0 if no_ack else self._shared_prefetch
        return self.link.writable and not (shared and self._outstanding >= shared)

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        """Send a message to a consumer of this channel."""
        self._last_tag = tag = self._last_tag + 1
        if not consumer.no_ack:
            consumer.outstanding += 1
            self._outstanding += 1
            self._unsettled[tag] = Delivery(entry, consumer.queue, consumer)
        self._write(
            wire.deliver_arguments(consumer.encoded_tag, tag, entry.redelivered, entry.message.address),
            entry,
            consumer.queue,
        )

    def _on_get(self, method: Basic.Get) -> None:
        queue = self._topology.queue(self.queue_name(method.queue), self.link)
        entry = queue.pop()
        if entry is None:
            self.reply(Basic.GetEmpty.index, wire.shortstr(""))
            return
        self._last_tag = tag = self._last_tag + 1
        self._write(
            wire.get_ok_arguments(tag, entry.redelivered, entry.message.address, len(queue)), entry, queue
        )
        if method.no_ack:
            queue.settle(entry)
        else:
            self._unsettled[tag] = Delivery(entry, queue, None)

    def _write(self, arguments: bytes, entry: Entry, queue: Queue) -> None:
        message, link = entry.message, self.link
        properties = message.properties
        if entry.deliveries and queue.policy.quorum:
            properties = with_delivery_count(properties, entry.deliveries)
        link.write(*wire.content_parts(self.number, arguments, properties, message.body, link.body_limit))

    # -- acknowledgements -------------------------------------------------------------------------------

    def on_ack(self, payload: bytes) -> None:
        tag, bits = wire.read_settlement(payload)
        for delivery in self._take(tag, multiple=bool(bits & _MULTIPLE)):
            delivery.queue.settle(delivery.entry)
            self._make_room(delivery)

    def _on_nack(self, method: Basic.Nack) -> None:
        self._refuse(self._take(method.delivery_tag, multiple=method.multiple), requeue=method.requeue)

    def _on_reject(self, method: Basic.Reject) -> None:
        self._refuse(self._take(method.delivery_tag or 0, multiple=False), requeue=method.requeue)

    def _on_recover(self, method: Basic.Recover | Basic.RecoverAsync) -> None:
        if not method.requeue:
            raise AmqpError(Reply.NOT_IMPLEMENTED, "requeue=false")
        self._refuse(self._take(0, multiple=True), requeue=True)
        if isinstance(method, Basic.Recover):
            self.reply(Basic.RecoverOk.index)

    def _take(self, tag: int, *, multiple: bool) -> list[Delivery]:
        """The unsettled deliveries that a tag means, all of them for 0 with `multiple`."""
        unsettled = self._unsettled
        if not multiple and (delivery := unsettled.pop(tag, None)) is not None:
            return [delivery]
        if multiple and tag == 0:
            tag = self._last_tag
        elif tag not in unsettled:
            raise AmqpError(Reply.PRECONDITION_FAILED, f"unknown delivery tag {tag}")
        return [unsettled.pop(each) for each in list(takewhile(lambda each: each <= tag, unsettled))]

    def _refuse(self, deliveries: list[Delivery], *, requeue: bool) -> None:
        for queue, entries in _by_queue(deliveries):
            if requeue:
                queue.requeue(entries)
            else:
                queue.reject(entries)
        for delivery in deliveries:
            self._make_room(delivery)

    def _make_room(self, delivery: Delivery) -> None:
        consumer = delivery.consumer
        if consumer is None:
            return
        consumer.outstanding -= 1
        self._outstanding -= 1
        if self._shared_prefetch:
            self.wake_consumers()
        elif consumer.parked and consumer.ready():
            delivery.queue.wake_consumer(consumer)

    # -- consumers --------------------------------------------------------------------------------------

    def _on_qos(self, method: Basic.Qos) -> None:
        if method.prefetch_size:
            raise AmqpError(Reply.NOT_IMPLEMENTED, f"prefetch_size!=0 ({method.prefetch_size})")
        if method.global_:
            self._shared_prefetch = method.prefetch_count
        else:
            self._prefetch, self._shared_prefetch = method.prefetch_count, 0
        self.reply(Basic.QosOk.index)
        self.wake_consumers()

    def _on_consume(self, method: Basic.Consume) -> None:
        queue = self._topology.queue(self.queue_name(method.queue), self.link)
        tag = method.consumer_tag or f"amq.ctag-{self._topology.make_name()}"
        if tag in self._consumers:
            raise AmqpError(Reply.NOT_ALLOWED, f"attempt to reuse consumer tag '{tag}'")
        limit = self._topology.limits.consumers
        if self.link.consumer_count >= limit:
            raise AmqpError(Reply.NOT_ALLOWED, f"the limit of {limit} consumers on one connection is reached")
        if queue.in_exclusive_use or (method.exclusive and queue.consumers):
            raise AmqpError(Reply.ACCESS_REFUSED, f"queue '{queue.name}' in vhost '/' in exclusive use")
        consumer = Consumer(
            self, queue, tag, no_ack=method.no_ack, exclusive=method.exclusive, prefetch=self._prefetch
        )
        self._consumers[tag] = consumer
        self.link.consumer_count += 1
        if not method.nowait:
            self.reply(Basic.ConsumeOk.index, consumer.encoded_tag)
        queue.add_consumer(consumer)

    def _on_cancel(self, method: Basic.Cancel) -> None:
        tag = method.consumer_tag or ""
        if (consumer := self._consumers.get(tag)) is not None:
            self._forget(consumer)
            consumer.queue.remove_consumer(consumer)
        if not method.nowait:
            self.reply(Basic.CancelOk.index, wire.shortstr(tag))

    def consumer_lost(self, consumer: Consumer) -> None:
        """Its queue has been deleted: tell a client that can hear it."""
        self._forget(consumer)
        if "consumer_cancel_notify" in self.link.capabilities:
            self.reply(Basic.Cancel.index, consumer.encoded_tag + _NOWAIT)

    def _forget(self, consumer: Consumer) -> None:
        del self._consumers[consumer.tag]
        self.link.consumer_count -= 1

    def wake_consumers(self) -> None:
        """Room has been made: consumers that wait for it may take messages again."""
        for consumer in [consumer for consumer in self._consumers.values() if consumer.parked]:
            if consumer.ready():
                consumer.queue.wake_consumer(consumer)

    # -- the channel itself -----------------------------------------------------------------------------

    def _on_confirm_select(self, method: Confirm.Select) -> None:
        self.publishing.confirming = True
        if not method.nowait:
            self.reply(Confirm.SelectOk.index)

    def _on_flow(self, method: ChannelMethods.Flow) -> None:
        if not method.active:
            raise AmqpError(Reply.NOT_IMPLEMENTED, "active=false")
        self.reply(ChannelMethods.FlowOk.index, b"\x01")


def _by_queue(deliveries: Iterable[Delivery]) -> Iterable[tuple[Queue, list[Entry]]]:
    grouped: dict[Queue, list[Entry]] = {}
    for delivery in deliveries:
        grouped.setdefault(delivery.queue, []).append(delivery.entry)
    return grouped.items()


_HANDLERS: Final[dict[type[Frame], Callable[[Channel, Any], None]]] = {
    Basic.Qos: Channel._on_qos,
    Basic.Consume: Channel._on_consume,
    Basic.Cancel: Channel._on_cancel,
    Basic.Get: Channel._on_get,
    Basic.Nack: Channel._on_nack,
    Basic.Reject: Channel._on_reject,
    Basic.Recover: Channel._on_recover,
    Basic.RecoverAsync: Channel._on_recover,
    Confirm.Select: Channel._on_confirm_select,
    ChannelMethods.Flow: Channel._on_flow,
}

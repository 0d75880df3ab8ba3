"""One queue: its messages in order, the consumers that wait for them, and the limits it keeps."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from operator import attrgetter
from typing import Any, Final, Protocol

from events.broker.arguments import Arguments, QueuePolicy
from events.broker.dead_letters import Reason
from events.broker.limits import BrokerLimits
from events.broker.memory import ENTRY_BYTES, Memory
from events.broker.message import OVERHEAD, Message
from events.broker.room import Room
from events.broker.timers import Agenda

_POSITION: Final = attrgetter("position")
EMPTY_BYTES: Final = OVERHEAD + ENTRY_BYTES
"""Of an empty message in one queue."""
_SWEEP: Final = 500
"""Expired messages dropped at a time: some milliseconds of work."""


class Consumer(Protocol):
    """Who takes messages. `parked` belongs to the queue: it offers nothing until woken."""

    no_ack: bool
    exclusive: bool
    parked: bool

    def ready(self) -> bool:
        """May it be given a message now?"""

    def deliver(self, entry: "Entry") -> None:
        """Take a message; it is settled later unless `no_ack`."""

    def queue_deleted(self) -> None:
        """The queue is gone, and this consumer with it."""


class MessageJournal(Protocol):
    """Where a durable queue records its persistent messages."""

    def next_id(self) -> int:
        """Larger than any before it."""

    def added(self, queue: "Queue", entry: "Entry") -> None: ...

    def changed(self, queue: "Queue", entry: "Entry") -> None: ...

    def delivered(self, queue: "Queue") -> None: ...

    def removed(self, entry: "Entry") -> None: ...


class Host(Protocol):
    """What a queue asks of the topology it belongs to."""

    @property
    def message_journal(self) -> MessageJournal | None:
        """None when nothing is to outlive the process."""

    clock: Callable[[], float]
    limits: BrokerLimits
    memory: Memory
    agenda: Agenda

    def give_up(self, queue: "Queue", message: Message, reason: Reason) -> None:
        """Dead-letter a message."""

    def remove_queue(self, queue: "Queue") -> None:
        """Delete a queue that is no longer used."""


class Entry:
    """A message in one queue. `position` is its place for good: a requeued message returns to it."""

    __slots__ = ("deadline", "deliveries", "journaled", "message", "position", "redelivered")

    def __init__(self, message: Message, position: int) -> None:
        self.message = message
        self.position = position
        self.deadline: float | None = None
        self.redelivered = False
        self.deliveries = 0
        """Deliveries that came back, counted for quorum queues."""
        self.journaled = False


class Queue:
    """Messages leave the front, and only there do they expire, as in RabbitMQ. Times are those of the
    host's clock.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        policy: QueuePolicy,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        owner: object | None = None,
        arguments: Arguments | None = None,
    ) -> None:
        self.name = name
        self.policy = policy
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        """The connection that declared it exclusive."""
        self.arguments = arguments or {}
        self.sources: dict[tuple[Any, str], None] = {}
        """Its bindings: exchange and key."""
        self.deleted = False
        self.armed: float | None = None
        self.consumers: dict[Consumer, None] = {}
        self.unsettled = 0
        """Messages delivered and not yet acknowledged."""
        self.ready_bytes = 0
        """Bodies of the messages that wait."""
        self.room = Room(name, host.limits.queue_bytes)
        self.journal_id = 0
        """Given by the journal, to durable queues."""
        self.delivered = 0
        """Position of the last journaled message delivered; those before it have been, too."""
        self._host = host
        self._journal = host.message_journal if durable else None
        self._ready: deque[Entry] = deque()
        self._idle: deque[Consumer] = deque()
        self._next_position = 0
        self._expires_at: float | None = None
        self._limited = policy.max_length is not None or policy.max_bytes is not None
        self._drops_head = self._limited and policy.overflow == "drop-head"
        self.used()

    def __len__(self) -> int:
        return len(self._ready)

    # -- messages in ------------------------------------------------------------------------------------

    def push(self, message: Message, *, refusable: bool = False) -> bool:
        """Take a message; False when the queue is full and its policy is to refuse, or when it holds as much
        as any queue may and the message is ``refusable``.
        """
        if (self._limited and self._refuses(message)) or (
            refusable and not self._drops_head and self.room.lacks(message)
        ):
            return False
        entry = Entry(message, self._position())
        self._hold(message)
        if self._journal is not None and message.persistent:
            self._journal.added(self, entry)
        self._ready.append(entry)
        self.ready_bytes += len(message.body)
        self.pump()
        if self.policy.message_ttl is not None or message.expiration is not None:
            entry.deadline = self._deadline(message)  # only now: with a time of 0 a waiting consumer has it
            self._arm()
        if self._limited:
            self._make_short()
        return True

    def restore(self, entry: Entry) -> None:
        """Take a message back as the journal has it; `restored` follows when all are in."""
        entry.journaled = True
        entry.redelivered = entry.position <= self.delivered
        self._hold(entry.message)
        self._ready.append(entry)
        self.ready_bytes += len(entry.message.body)

    def restored(self) -> None:
        """Limits and times count from now on."""
        self._make_short()

    def _position(self) -> int:
        if self._journal is not None:
            return self._journal.next_id()
        self._next_position += 1
        return self._next_position

    def requeue(self, entries: Iterable[Entry]) -> None:
        """Put unacknowledged messages back where they were, marked as redelivered."""
        limit = self.policy.delivery_limit
        for entry in sorted(entries, key=_POSITION, reverse=True):
            self.unsettled -= 1
            if self.deleted:
                self._let_go(entry)
                continue
            entry.redelivered = True
            entry.deliveries += 1
            if self.policy.quorum and self._journal is not None and entry.journaled:
                self._journal.changed(self, entry)
            if limit is not None and entry.deliveries > limit:
                self._give_up(entry, Reason.DELIVERY_LIMIT)
            else:
                self._insert(entry)
        self.pump()
        if self._limited:
            self._make_short()
        self._arm()

    def _insert(self, entry: Entry) -> None:
        ready = self._ready
        self.ready_bytes += len(entry.message.body)
        if not ready or entry.position < ready[0].position:
            ready.appendleft(entry)
        else:
            ready.insert(bisect_left(ready, entry.position, key=_POSITION), entry)

    # -- messages out -----------------------------------------------------------------------------------

    def pump(self) -> None:
        """Deliver while there are messages and consumers that may take them, in turn."""
        ready, idle = self._ready, self._idle
        while ready and idle:
            if ready[0].deadline is not None and not self._head_is_alive():
                return
            consumer = idle.popleft()
            if consumer.ready():
                idle.append(consumer)
                entry = self._take()
                consumer.deliver(entry)
                if consumer.no_ack:
                    self.settle(entry)
            else:
                consumer.parked = True

    def pop(self) -> Entry | None:
        """The first message, for basic.get; it is unsettled until settled, requeued or rejected."""
        self.used()
        return self._take() if self._head_is_alive() else None

    def settle(self, entry: Entry) -> None:
        """The message has been acknowledged."""
        self.unsettled -= 1
        self._let_go(entry)

    def reject(self, entries: Iterable[Entry]) -> None:
        """The messages were refused for good: dead-letter them."""
        for entry in entries:
            self.unsettled -= 1
            self._give_up(entry, Reason.REJECTED)

    def purge(self) -> int:
        """Remove the messages that wait; how many they were."""
        count = len(self._ready)
        while self._ready:
            self._let_go(self._ready.popleft())
        self.ready_bytes = 0
        return count

    def _take(self) -> Entry:
        entry = self._ready.popleft()
        self.ready_bytes -= len(entry.message.body)
        self.unsettled += 1
        if self._journal is not None and entry.journaled and entry.position > self.delivered:
            self.delivered = entry.position
            self._journal.delivered(self)
        if self._ready and self._ready[0].deadline is not None:
            self._arm()
        return entry

    # -- consumers --------------------------------------------------------------------------------------

    @property
    def in_exclusive_use(self) -> bool:
        return any(consumer.exclusive for consumer in islice(self.consumers, 1))

    def add_consumer(self, consumer: Consumer) -> None:
        self.consumers[consumer] = None
        self._expires_at = None
        self._idle.append(consumer)
        self.pump()

    def remove_consumer(self, consumer: Consumer) -> None:
        """The consumer was cancelled; the last one takes an auto-delete queue with it."""
        if consumer not in self.consumers:
            return
        del self.consumers[consumer]
        if not consumer.parked:
            self._idle.remove(consumer)
        if not self.consumers:
            self.used()
            if self.auto_delete:
                self._host.remove_queue(self)

    def wake_consumer(self, consumer: Consumer) -> None:
        """A parked consumer may take messages again."""
        if consumer.parked and consumer in self.consumers:
            consumer.parked = False
            self._idle.append(consumer)
            self.pump()

    # -- time and limits --------------------------------------------------------------------------------

    def used(self) -> None:
        """Someone showed interest: the time to x-expires starts anew."""
        if self.policy.expires is not None and not self.consumers:
            self._expires_at = self._host.clock() + self.policy.expires / 1000
            self._arm()

    def wake(self, now: float) -> None:
        """Something is due: the queue itself, or its first messages."""
        if self.deleted:
            return
        if self._expires_at is not None and self._expires_at <= now:
            self._host.remove_queue(self)
            return
        if self._head_is_alive():
            self.pump()
        self._arm()

    def close(self) -> None:
        """The queue is being deleted: let go of its messages and tell its consumers."""
        self.deleted = True
        self.armed = None
        self.purge()
        consumers, self.consumers = self.consumers, {}
        self._idle.clear()
        for consumer in consumers:
            consumer.queue_deleted()

    def _deadline(self, message: Message) -> float | None:
        ttl = self.policy.message_ttl
        if message.expiration is not None:
            ttl = message.expiration if ttl is None else min(ttl, message.expiration)
        return None if ttl is None else self._host.clock() + ttl / 1000

    def _head_is_alive(self) -> bool:
        """Is there a first message that has not expired? Gives up those that have, a bounded number at a
        time: the agenda goes on with the rest, so that a great many expiring at once hold up nobody else.
        """
        if not self._ready:
            return False
        now = self._host.clock()
        for _ in range(_SWEEP):
            deadline = self._ready[0].deadline
            if deadline is None or deadline > now:
                return True
            self._drop_head(Reason.EXPIRED)
            if not self._ready:
                return False
        self._arm()
        return False

    def _drop_head(self, reason: Reason) -> None:
        entry = self._ready.popleft()
        self.ready_bytes -= len(entry.message.body)
        self._give_up(entry, reason)

    def _give_up(self, entry: Entry, reason: Reason) -> None:
        if not self.deleted:
            self._host.give_up(self, entry.message, reason)
        self._let_go(entry)

    def _hold(self, message: Message) -> None:
        self.room.hold(message)
        self._host.memory.hold(message)

    def _let_go(self, entry: Entry) -> None:
        self.room.release(entry.message)
        self._host.memory.release(entry.message)
        if self._journal is not None and entry.journaled:
            self._journal.removed(entry)

    def _make_short(self) -> None:
        """Give up the oldest messages that are too many, unless the policy is to refuse the newest."""
        while self._ready and self._drops_head and (self._over_limit() or self._takes_too_much()):
            self._drop_head(Reason.MAXLEN)
        self._arm()

    def _refuses(self, message: Message) -> bool:
        """Is there no room for the message, and the policy to refuse it?"""
        policy = self.policy
        if self._drops_head or not self._over_limit(1, len(message.body)):
            return False
        if policy.overflow == "reject-publish-dlx":
            self._host.give_up(self, message, Reason.MAXLEN)
        return True

    def _takes_too_much(self) -> bool:
        """Does what waits need more than any queue may hold?"""
        return self.ready_bytes + len(self._ready) * EMPTY_BYTES > self._host.limits.queue_bytes

    def _over_limit(self, more: int = 0, more_bytes: int = 0) -> bool:
        policy = self.policy
        return (policy.max_length is not None and len(self._ready) + more > policy.max_length) or (
            policy.max_bytes is not None and self.ready_bytes + more_bytes > policy.max_bytes
        )

    def _arm(self) -> None:
        when = self._ready[0].deadline if self._ready else None
        if self._expires_at is not None and (when is None or self._expires_at < when):
            when = self._expires_at
        if when is not None:
            self._host.agenda.arm(self, when)

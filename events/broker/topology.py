"""Exchanges, queues and bindings of one broker, and the way of a message through them.

Plain data: no sockets, and the clocks are passed in. Everything lives in memory; with a journal, what is
durable is recorded there as it comes and goes, and `recovery` puts it back.
"""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from events.broker.arguments import ARGUMENTS_COMPARED, Arguments, queue_policy
from events.broker.dead_letters import Reason, TooManyDeaths, dead_letter, would_cycle
from events.broker.errors import AmqpError, Reply
from events.broker.exchanges import Destination, Exchange
from events.broker.journal import PREDECLARED, Journal
from events.broker.limits import BrokerLimits
from events.broker.memory import Memory
from events.broker.message import Message
from events.broker.queues import Queue
from events.broker.timers import Agenda

logger = logging.getLogger(__name__)

_KINDS: Final = ("direct", "fanout", "topic")


class Outcome(Enum):
    """What became of a published message."""

    ROUTED = auto()
    UNROUTED = auto()
    REFUSED = auto()
    """At least one queue was full and its policy is to refuse."""


@dataclass(frozen=True)
class QueueInfo:
    """One line of `Broker.queues()`."""

    name: str
    ready: int
    unacknowledged: int
    consumers: int


class Topology:
    """`clock` is monotonic seconds, for times to live; `wall_clock` is seconds since 1970, for x-death
    records; `make_name` gives the unguessable part of names the broker chooses.
    """

    def __init__(
        self,
        limits: BrokerLimits | None = None,
        *,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        make_name: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        self.limits = limits or BrokerLimits()
        self.clock = clock
        self.journal = journal
        self.make_name = make_name
        self.memory = Memory(self.limits.held_bytes)
        self.agenda = Agenda()
        self.wall_clock = wall_clock
        self._default = Exchange("", "direct", durable=True)
        self._exchanges = {"": self._default}
        for kind in _KINDS:
            self._exchanges[PREDECLARED + kind] = Exchange(PREDECLARED + kind, kind, durable=True)
        self._queues: dict[str, Queue] = {}
        self._bindings = 0

    @property
    def message_journal(self) -> Journal | None:
        return self.journal

    def snapshot(self) -> list[QueueInfo]:
        return [QueueInfo(q.name, len(q), q.unsettled, len(q.consumers)) for q in self._queues.values()]

    # -- exchanges --------------------------------------------------------------------------------------

    def exchange(self, name: str) -> Exchange:
        """Raises NOT_FOUND."""
        if (found := self._exchanges.get(name)) is None:
            raise AmqpError(Reply.NOT_FOUND, f"no exchange '{name}' in vhost '/'")
        return found

    def find_exchange(self, name: str) -> Exchange | None:
        return self._exchanges.get(name)

    def declare_exchange(
        self, name: str, kind: str, *, durable: bool, auto_delete: bool, internal: bool, arguments: Arguments
    ) -> None:
        """Create it, or agree that it is there as wanted. Raises AmqpError."""
        _refuse_default(name)
        alternate = arguments.get("alternate-exchange")
        if not (alternate is None or (isinstance(alternate, str) and len(alternate) <= 255)):
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                f"invalid arg 'alternate-exchange' for exchange '{name}': not a name",
            )
        wanted = Exchange(
            name, kind, durable=durable, auto_delete=auto_delete, internal=internal, alternate=alternate
        )
        if name in self._exchanges:
            _require_equal_exchange(self._exchanges[name], wanted)
            return
        _refuse_reserved("exchange", name)
        if len(self._exchanges) >= self.limits.exchanges:
            raise _limit_reached("exchange", name, self.limits.exchanges)
        self.add_exchange(wanted)

    def add_exchange(self, exchange: Exchange) -> None:
        self._exchanges[exchange.name] = exchange
        if self.journal is not None:
            self.journal.exchange_added(exchange)

    def delete_exchange(self, name: str, *, if_unused: bool = False) -> None:
        """Deleting what is not there is no error. Raises AmqpError."""
        _refuse_default(name)
        if name.startswith(PREDECLARED):
            raise AmqpError(
                Reply.ACCESS_REFUSED, f"deletion of system exchange '{name}' in vhost '/' not allowed"
            )
        exchange = self._exchanges.get(name)
        if exchange is None:
            return
        if if_unused and exchange.bindings:
            raise AmqpError(Reply.PRECONDITION_FAILED, f"exchange '{name}' in vhost '/' in use")
        self._remove_exchange(exchange)

    def _remove_exchange(self, exchange: Exchange) -> None:
        self._forget_exchange(exchange)
        for key, destination in list(exchange.bindings):
            self._unbind(exchange, key, destination)
        self._unbind_everywhere(exchange)

    def _forget_exchange(self, exchange: Exchange) -> None:
        del self._exchanges[exchange.name]
        if self.journal is not None:
            self.journal.exchange_removed(exchange)

    # -- bindings ---------------------------------------------------------------------------------------

    def bindable(self, name: str) -> Exchange:
        """The exchange, if bindings may start or end there. Raises NOT_FOUND or ACCESS_REFUSED."""
        _refuse_default(name)
        return self.exchange(name)

    def bind(self, source: Exchange, key: str, destination: Destination) -> None:
        """Binding twice is no error. Raises PRECONDITION_FAILED at the limit."""
        if self._bindings >= self.limits.bindings:
            raise _limit_reached("binding to", destination.name, self.limits.bindings)
        self.add_binding(source, key, destination)

    def add_binding(self, source: Exchange, key: str, destination: Destination) -> None:
        if source.bind(key, destination):
            self._bindings += 1
            if self.journal is not None:
                self.journal.bound(source, key, destination, True)

    def unbind(self, source: str, key: str, destination: Destination) -> None:
        """Unbinding what is not bound is no error. Raises AmqpError."""
        _refuse_default(source)
        exchange = self._exchanges.get(source)
        if exchange is None or not self._unbind(exchange, key, destination):
            return
        if exchange.auto_delete and not exchange.bindings:
            self._remove_exchange(exchange)

    def _unbind(self, source: Exchange, key: str, destination: Destination) -> bool:
        """False when there was no such binding."""
        if not source.unbind(key, destination):
            return False
        self._bindings -= source is not self._default
        if self.journal is not None:
            self.journal.bound(source, key, destination, False)
        return True

    def _unbind_everywhere(self, destination: Destination) -> None:
        """Auto-delete exchanges that lose their last binding go too, and what leads to them, and so on."""
        gone = [destination]
        while gone:
            destination = gone.pop()
            for exchange, key in list(destination.sources):
                self._unbind(exchange, key, destination)
                if exchange.auto_delete and not exchange.bindings:
                    self._forget_exchange(exchange)
                    gone.append(exchange)

    # -- queues -----------------------------------------------------------------------------------------

    def find_queue(self, name: str) -> Queue | None:
        return self._queues.get(name)

    def queue(self, name: str, owner: object) -> Queue:
        """The queue, if the connection `owner` may use it. Raises NOT_FOUND or RESOURCE_LOCKED."""
        if (queue := self._queues.get(name)) is None:
            raise AmqpError(Reply.NOT_FOUND, f"no queue '{name}' in vhost '/'")
        if queue.owner is not None and queue.owner is not owner:
            raise _locked(name)
        return queue

    def declare_queue(
        self,
        name: str,
        owner: object,
        *,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Arguments | None = None,
    ) -> Queue:
        """Create it, or agree that it is there as wanted; without a name the broker makes one. Raises
        AmqpError.
        """
        arguments = arguments or {}
        policy = queue_policy(name, arguments)
        if policy.quorum and not durable:
            raise AmqpError(
                Reply.PRECONDITION_FAILED, f"invalid property 'non-durable' for queue '{name}' in vhost '/'"
            )
        if policy.quorum and exclusive:
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                f"invalid property 'exclusive-owner' for queue '{name}' in vhost '/'",
            )
        durable = durable and not exclusive
        if name in self._queues:
            queue = self.queue(name, owner)
            if exclusive != (queue.owner is not None):
                raise _locked(name)
            _require_equal_queue(queue, durable, auto_delete, arguments)
            queue.used()
            return queue
        if name:
            _refuse_reserved("queue", name)
        else:
            name = f"{PREDECLARED}gen-{self.make_name()}"
        if len(self._queues) >= self.limits.queues:
            raise _limit_reached("queue", name, self.limits.queues)
        queue = Queue(
            self,
            name,
            policy,
            durable=durable,
            auto_delete=auto_delete,
            owner=owner if exclusive else None,
            arguments={key: arguments[key] for key in ARGUMENTS_COMPARED if key in arguments},
        )
        self.add_queue(queue)
        return queue

    def add_queue(self, queue: Queue) -> None:
        self._queues[queue.name] = queue
        self._default.bind(queue.name, queue)
        if self.journal is not None:
            self.journal.queue_added(queue)

    def delete_queue(self, queue: Queue, *, if_unused: bool = False, if_empty: bool = False) -> int:
        """How many waiting messages went with it. Raises PRECONDITION_FAILED."""
        if if_unused and queue.consumers:
            raise AmqpError(Reply.PRECONDITION_FAILED, f"queue '{queue.name}' in vhost '/' in use")
        if if_empty and len(queue):
            raise AmqpError(Reply.PRECONDITION_FAILED, f"queue '{queue.name}' in vhost '/' not empty")
        waiting = len(queue)
        self.remove_queue(queue)
        return waiting

    def remove_queue(self, queue: Queue) -> None:
        if queue.deleted:
            return
        del self._queues[queue.name]
        if self.journal is not None:
            self.journal.queue_removed(queue)
        self._unbind_everywhere(queue)
        queue.close()

    def remove_queues_of(self, owner: object) -> None:
        """The connection is gone, and its exclusive queues with it."""
        for queue in [queue for queue in self._queues.values() if queue.owner is owner]:
            self.remove_queue(queue)

    # -- messages ---------------------------------------------------------------------------------------

    def publish(self, message: Message, *, refusable: bool = False) -> Outcome:
        """Route a message; each queue gets one copy. A publisher of what is ``refusable`` hears when a queue
        has no room for it. Raises NOT_FOUND or ACCESS_REFUSED for its exchange.
        """
        exchange = self.exchange(message.exchange)
        if exchange.internal:
            raise AmqpError(
                Reply.ACCESS_REFUSED, f"cannot publish to internal exchange '{exchange.name}' in vhost '/'"
            )
        queues = self._route(exchange, message.keys)
        taken = True
        for queue in queues:
            taken = queue.push(message, refusable=refusable) and taken
        if not taken:
            return Outcome.REFUSED
        return Outcome.ROUTED if queues else Outcome.UNROUTED

    def _route(self, exchange: Exchange, keys: tuple[str, ...]) -> list[Queue]:
        queues: dict[Queue, None] = {}
        reached: dict[Exchange, None] = {exchange: None}
        waiting = [exchange]
        while waiting:
            exchange = waiting.pop()
            found = exchange.match(keys)
            if not found and exchange.alternate in self._exchanges:
                found = {self._exchanges[exchange.alternate]: None}
            for destination in found:
                if isinstance(destination, Queue):
                    queues[destination] = None
                elif destination not in reached:
                    reached[destination] = None
                    waiting.append(destination)
        return list(queues)

    def give_up(self, queue: Queue, message: Message, reason: Reason) -> None:
        """Dead-letter a message, if the queue says where to. One that cannot go there is lost, and logged."""
        name = queue.policy.dead_letter_exchange
        if name is None:
            return
        exchange = self._exchanges.get(name)
        if exchange is None:
            logger.warning(
                "message lost: the dead-letter exchange does not exist",
                extra={"queue": queue.name, "exchange": name, "reason": str(reason)},
            )
            return
        key = queue.policy.dead_letter_key
        try:
            letter = dead_letter(message, queue.name, reason, name, key, int(self.wall_clock()))
        except TooManyDeaths as problem:
            logger.warning("message lost: %s", problem, extra={"queue": queue.name, "exchange": name})
            return
        for target in self._route(exchange, letter.keys):
            if reason is Reason.REJECTED or not would_cycle(letter, target.name):
                target.push(letter)


def _refuse_default(name: str) -> None:
    if not name:
        raise AmqpError(Reply.ACCESS_REFUSED, "operation not permitted on the default exchange")


def _refuse_reserved(kind: str, name: str) -> None:
    if name.startswith(PREDECLARED):
        raise AmqpError(Reply.ACCESS_REFUSED, f"{kind} name '{name}' contains reserved prefix 'amq.*'")


def _limit_reached(kind: str, name: str, limit: int) -> AmqpError:
    return AmqpError(
        Reply.PRECONDITION_FAILED, f"cannot declare {kind} '{name}': the limit of {limit} is reached"
    )


def _locked(name: str) -> AmqpError:
    return AmqpError(
        Reply.RESOURCE_LOCKED,
        f"cannot obtain exclusive access to locked queue '{name}' in vhost '/': another connection declared "
        "it exclusive, or it was declared with another value of exclusive",
    )


def _require_equal_exchange(current: Exchange, wanted: Exchange) -> None:
    for name, attribute in (
        ("type", "kind"),
        ("durable", "durable"),
        ("auto_delete", "auto_delete"),
        ("internal", "internal"),
        ("alternate-exchange", "alternate"),
    ):
        _require_equal(
            "exchange", current.name, name, getattr(wanted, attribute), getattr(current, attribute)
        )


def _require_equal_queue(queue: Queue, durable: bool, auto_delete: bool, arguments: Arguments) -> None:
    _require_equal("queue", queue.name, "durable", durable, queue.durable)
    _require_equal("queue", queue.name, "auto_delete", auto_delete, queue.auto_delete)
    for name in ARGUMENTS_COMPARED:
        _require_equal("queue", queue.name, name, arguments.get(name), queue.arguments.get(name))


def _require_equal(kind: str, name: str, argument: str, wanted: Any, current: Any) -> None:
    if wanted != current:
        raise AmqpError(
            Reply.PRECONDITION_FAILED,
            f"inequivalent arg '{argument}' for {kind} '{name}' in vhost '/': "
            f"received {_spelled(wanted)} but current is {_spelled(current)}",
        )


def _spelled(value: Any) -> str:
    return "none" if value is None else f"'{str(value).lower() if isinstance(value, bool) else value}'"

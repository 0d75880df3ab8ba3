"""What a reader of the stream wants to hear: pairs of an exchange and a pattern, as AMQP bindings are."""

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from events.bindings import bind
from events.broker.matching import TopicMatcher
from events.exchanges import EXCHANGES, find_exchange
from queue_service.core.errors import InvalidRequestArguments

MAX_BINDINGS: Final = 100
_SOME: Final = ", ".join(exchange.full_name for exchange in EXCHANGES[:3])

Reader = TypeVar("Reader", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One binding of a reader."""

    exchange: str
    pattern: str


def wanted(exchanges: Sequence[str], keys: Sequence[str]) -> tuple[Wanted, ...]:
    """The bindings of a request: the first ``exchange`` with the first ``routingKey``, and so on.

    Raises InvalidRequestArguments, naming the parameter and its place.
    """
    wrong = []
    if not exchanges:
        wrong.append("`exchange` is missing: name at least one exchange, each with a `routingKey`")
    if len(exchanges) != len(keys):
        wrong.append(
            f"`exchange` is given {len(exchanges)} times and `routingKey` {len(keys)} times; "
            "each exchange needs a routing key of its own, `#` for all events"
        )
    if len(exchanges) > MAX_BINDINGS:
        wrong.append(f"`exchange` is given {len(exchanges)} times, and may be {MAX_BINDINGS} times")
    if not wrong:
        for place, (exchange, key) in enumerate(zip(exchanges, keys, strict=True), 1):
            if find_exchange(exchange) is None:
                wrong.append(
                    f"`exchange` number {place} is `{exchange}`, and there is no such exchange; "
                    f"expected one such as {_SOME}"
                )
            try:
                bind(exchange, key)
            except ValueError as error:
                wrong.append(f"`routingKey` number {place}: {error}")
    if wrong:
        raise InvalidRequestArguments(
            "Invalid query-string parameters:\n" + "\n".join(f" * {one}" for one in wrong)
        )
    return tuple(dict.fromkeys(map(Wanted, exchanges, keys)))


class Filters(Generic[Reader]):
    """Who wants which events. An event is looked up once, however many readers there are."""

    def __init__(self) -> None:
        self._by_exchange: dict[str, TopicMatcher[Reader]] = {}
        self._bound: dict[Reader, tuple[Wanted, ...]] = {}

    def add(self, reader: Reader, bindings: Iterable[Wanted]) -> None:
        """Take the bindings of a reader, who has none yet."""
        self._bound[reader] = tuple(bindings)
        for one in self._bound[reader]:
            self._by_exchange.setdefault(one.exchange, TopicMatcher()).add(one.pattern, reader)

    def remove(self, reader: Reader) -> None:
        for one in self._bound.pop(reader, ()):
            self._by_exchange[one.exchange].remove(one.pattern, reader)

    @property
    def readers(self) -> Iterable[Reader]:
        return self._bound.keys()

    def __len__(self) -> int:
        return len(self._bound)

    def match(self, exchange: str, routing_key: str, cc: Iterable[str]) -> Collection[Reader]:
        """Who wants a message with these routing keys, each once, as a broker routes it."""
        matcher = self._by_exchange.get(exchange)
        if matcher is None:
            return ()
        found: dict[Reader, None] = {}
        for key in (routing_key, *cc):
            matcher.match(key, found)
        return found

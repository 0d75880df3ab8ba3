"""Exchanges and the bindings that start at them."""

from collections.abc import Mapping
from typing import Any, Final

from events.broker.errors import AmqpError, Reply
from events.broker.matching import DirectMatcher, FanoutMatcher, Matcher, TopicMatcher
from events.broker.queues import Queue

_MATCHERS: Final[Mapping[str, type[Matcher[Any]]]] = {
    "direct": DirectMatcher,
    "fanout": FanoutMatcher,
    "topic": TopicMatcher,
}


class Exchange:
    """A named point of publication; messages go on to queues and to other exchanges."""

    def __init__(
        self,
        name: str,
        kind: str,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        alternate: str | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.alternate = alternate
        """The exchange that takes what this one cannot route."""
        self.bindings: dict[tuple[str, Destination], None] = {}
        self.sources: dict[tuple[Exchange, str], None] = {}
        """The bindings that end here: exchange and key."""
        self._matcher: Matcher[Destination] = _matcher(kind)

    def bind(self, key: str, destination: "Destination") -> bool:
        """False when it was bound so already."""
        if (key, destination) in self.bindings:
            return False
        self.bindings[key, destination] = None
        destination.sources[self, key] = None
        self._matcher.add(key, destination)
        return True

    def unbind(self, key: str, destination: "Destination") -> bool:
        """False when there was no such binding."""
        if (key, destination) not in self.bindings:
            return False
        del self.bindings[key, destination]
        del destination.sources[self, key]
        self._matcher.remove(key, destination)
        return True

    def match(self, keys: tuple[str, ...]) -> dict["Destination", None]:
        """The destinations of a message with these keys, each once."""
        found: dict[Destination, None] = {}
        for key in keys:
            self._matcher.match(key, found)
        return found


Destination = Queue | Exchange


def _matcher(kind: str) -> Matcher["Destination"]:
    if kind == "headers":
        raise AmqpError(
            Reply.NOT_IMPLEMENTED,
            "headers exchanges: not offered by the embedded broker, use a topic exchange",
        )
    if kind not in _MATCHERS:
        raise AmqpError(Reply.COMMAND_INVALID, f"unknown exchange type '{kind}'")
    return _MATCHERS[kind]()

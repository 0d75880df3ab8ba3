"""What a channel asks of its connection."""

from typing import Protocol

from events.broker.topology import Topology


class Confirming(Protocol):
    def flush_confirms(self) -> None:
        """Write the acknowledgements that are due."""


class Link(Protocol):
    topology: Topology
    user: str
    body_limit: int
    """Bytes of a body that go into one frame."""
    capabilities: frozenset[str]
    """What the client says it understands."""
    writable: bool
    """False while deliveries must wait for the socket."""
    consumer_count: int
    promised: bool
    """What is written since the last output says that something is done: it waits for the journal."""

    def write(self, *parts: bytes) -> None:
        """Send bytes that are whole frames together."""

    def confirm_later(self, channel: Confirming) -> None:
        """Have `flush_confirms` called once, just before the output goes out."""

    def published(self) -> None:
        """A message has been taken."""

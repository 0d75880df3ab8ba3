"""How much one embedded broker may hold and how long it waits: a limit on everything a client can ask for."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BrokerLimits:
    """Bounds of a broker. Sizes are bytes, times are seconds; a client that would pass one is refused by
    name.

    `held_bytes` bounds the messages in all queues together, unacknowledged ones included, each counted once
    however many queues hold it, and its place in each. Above it publishing connections are blocked as
    RabbitMQ's memory alarm does. Before that, `queue_bytes` bounds what one queue holds, so that one nobody
    consumes does not block the others: it refuses (nacks) what comes on a channel with confirms, as if it had
    been declared with reject-publish; one with a limit and drop-head drops its oldest. `outgoing_bytes` is
    where deliveries to one connection stop until its socket takes more; answers to its own requests may go
    beyond it by four times that and one message before the broker stops reading from it.
    """

    connections: int = 1_000
    channels: int = 2_047
    consumers: int = 10_000
    """Per connection."""
    exchanges: int = 1_000
    queues: int = 10_000
    bindings: int = 100_000
    frame_bytes: int = 131_072
    message_bytes: int = 16 * 1024 * 1024
    assembling_bytes: int = 64 * 1024 * 1024
    """Bodies of which all connections together have sent a part."""
    held_bytes: int = 256 * 1024 * 1024
    queue_bytes: int = 64 * 1024 * 1024
    outgoing_bytes: int = 1024 * 1024
    heartbeat_seconds: int = 60
    """Proposed to clients; the client's answer rules. 0 proposes none."""
    handshake_seconds: float = 10.0
    """For the handshake, and for the client's answer to a close."""
    frame_seconds: float = 60.0
    """For a frame to arrive as a whole, once it has begun."""

"""What client and broker tell each other before a connection opens: who they are and how much they can
take.
"""

import hmac
from typing import Any, Final, NamedTuple

from pamqp.commands import Connection

from events.broker import wire
from events.broker.errors import AmqpError, Reply
from events.broker.limits import BrokerLimits

MECHANISMS: Final = ("PLAIN", "AMQPLAIN")
_LEAST_FRAME: Final = 4096
_CLIENT_CAPABILITIES: Final = ("authentication_failure_close", "connection.blocked", "consumer_cancel_notify")

_PROPERTIES: Final[dict[str, Any]] = {
    "product": "Taskbus embedded broker",
    "platform": "Python",
    "version": "1",
    "information": "AMQP 0-9-1 for one machine; queues live as long as the process",
    "capabilities": {
        "publisher_confirms": True,
        "basic.nack": True,
        "consumer_cancel_notify": True,
        "connection.blocked": True,
        "per_consumer_qos": True,
        "authentication_failure_close": True,
        "exchange_exchange_bindings": True,
    },
}


class Tuning(NamedTuple):
    """What both sides agreed on; sizes in bytes, seconds between heartbeats (0 for none)."""

    channels: int
    frame_bytes: int
    heartbeat: int


def start_frame() -> bytes:
    start = Connection.Start(0, 9, _PROPERTIES, " ".join(MECHANISMS), "en_US")
    return wire.method(0, start.index, start.marshal())


def tune_frame(limits: BrokerLimits) -> bytes:
    tune = Connection.Tune(limits.channels, limits.frame_bytes, limits.heartbeat_seconds)
    return wire.method(0, tune.index, tune.marshal())


def credentials(method: Connection.StartOk) -> tuple[str, str] | None:
    """User name and password of either mechanism; None when they cannot be read."""
    response: str | bytes = method.response
    data = response.encode() if isinstance(response, str) else response
    try:
        if method.mechanism == "PLAIN":
            _, user, password = data.split(b"\0")
            return user.decode(), password.decode()
        table = wire.decode_table(data)
        return str(table["LOGIN"]), str(table["PASSWORD"])
    except (ValueError, KeyError, AmqpError):
        return None


def matches(given: tuple[str, str] | None, username: str, password: str) -> bool:
    """Are these the right credentials? Takes the same time whatever is wrong with them."""
    user, secret = given or ("", "")
    right_user = hmac.compare_digest(user.encode(), username.encode())
    return hmac.compare_digest(secret.encode(), password.encode()) and right_user and given is not None


def negotiate(method: Connection.TuneOk, limits: BrokerLimits) -> Tuning:
    """The client may lower what was proposed; 0 leaves it. Raises NOT_ALLOWED when it asks for more."""
    channels = _lowered("channel_max", method.channel_max, limits.channels)
    frame_bytes = _lowered("frame_max", method.frame_max, limits.frame_bytes)
    if frame_bytes < _LEAST_FRAME:
        raise AmqpError(
            Reply.NOT_ALLOWED, f"negotiated frame_max = {frame_bytes} is lower than {_LEAST_FRAME}"
        )
    return Tuning(channels, frame_bytes, method.heartbeat)


def _lowered(name: str, wanted: int, proposed: int) -> int:
    if wanted > proposed:
        raise AmqpError(
            Reply.NOT_ALLOWED, f"negotiated {name} = {wanted} is higher than the maximum of {proposed}"
        )
    return wanted or proposed


def client_capabilities(method: Connection.StartOk) -> frozenset[str]:
    """The capabilities of the client that change what the broker sends."""
    capabilities = (method.client_properties or {}).get("capabilities")
    if not isinstance(capabilities, dict):
        return frozenset()
    return frozenset(name for name in _CLIENT_CAPABILITIES if capabilities.get(name) is True)

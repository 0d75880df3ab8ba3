"""Where the broker is: an AMQP URL taken apart, and shown without its password."""

import ssl
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from events.errors import BrokerUnavailable

DEFAULT_HEARTBEAT = 30


@dataclass(frozen=True, slots=True)
class Address:
    """An AMQP URL, ``amqp[s]://user:password@host:port/vhost?heartbeat=30``.

    The virtual host is ``/`` unless the path names another one. ``heartbeat`` is in seconds, 0 turns it off.
    For ``amqps`` the queries ``cafile``, ``certfile``, ``keyfile`` and ``no_verify_ssl=1`` are understood.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    virtual_host: str
    heartbeat: int
    tls: ssl.SSLContext | None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL. Raises ValueError that never shows the password."""
        parts = urlsplit(url)
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
            raise ValueError("an AMQP URL looks like amqp://user:password@host:5672/virtual-host")
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        heartbeat = query.get("heartbeat", str(DEFAULT_HEARTBEAT))
        if not heartbeat.isdecimal() or int(heartbeat) > 65535:
            raise ValueError(
                f"heartbeat: expected seconds from 0 to 65535 in the AMQP URL, got {heartbeat!r}"
            )
        try:
            port = parts.port
        except ValueError:
            raise ValueError("port: expected a number from 0 to 65535 in the AMQP URL") from None
        secure = parts.scheme == "amqps"
        return cls(
            host=parts.hostname,
            port=port or (5671 if secure else 5672),
            user=unquote(parts.username or "guest"),
            password=unquote(parts.password or "guest"),
            virtual_host=unquote(parts.path[1:]) or "/",
            heartbeat=int(heartbeat),
            tls=_tls(query) if secure else None,
        )

    def __str__(self) -> str:
        scheme = "amqps" if self.tls else "amqp"
        vhost = "" if self.virtual_host == "/" else self.virtual_host
        return f"{scheme}://{self.user}@{self.host}:{self.port}/{vhost}"

    def unreachable(self, error: BaseException) -> BrokerUnavailable:
        """The error to raise when connecting failed: the reason, and what to do about it."""
        if isinstance(error, TimeoutError):
            return BrokerUnavailable(
                f"the AMQP broker at {self} does not answer in time: "
                "check that it is running and that nothing between blocks the port"
            )
        reason = str(error) or type(error).__name__
        return BrokerUnavailable(
            f"cannot reach the AMQP broker at {self} ({reason}): start it, or correct the AMQP URL"
        )


def _tls(query: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=query.get("cafile"), capath=query.get("capath"))
    if "certfile" in query:
        context.load_cert_chain(query["certfile"], query.get("keyfile"))
    if query.get("no_verify_ssl", "0") != "0":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

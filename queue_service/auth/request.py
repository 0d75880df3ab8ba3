"""What of an HTTP request a Hawk signature covers (``auth.md`` 1.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The parts of a request that its credentials sign, exactly as they were received."""

    method: str
    """In upper case."""
    resource: str
    """Raw path and query, as on the request line."""
    host: str
    """In lower case, without port, and without the brackets of an IPv6 address."""
    port: int
    authorization: str | None = None
    content_type: str = ""
    body: bytes = b""
    """Empty unless the body was read: see :attr:`covers_body`."""

    @property
    def covers_body(self) -> bool:
        """Whether the signature speaks about the body, so that it must be read to be checked."""
        return self.authorization is not None and "hash=" in self.authorization

    def __repr__(self) -> str:
        return f"SignedRequest({self.method} {self.host}:{self.port}{self.resource.partition('?')[0]})"


def host_and_port(headers: Mapping[bytes, bytes], scheme: str) -> tuple[str, int]:
    """Where the client believes to be: what it signed, also behind a proxy. Port 0 when it is no number."""
    host, given = _split(headers.get(b"host", b"").decode("latin-1"))
    port = given or str(_DEFAULT_PORTS.get(scheme, 80))
    forwarded_port = headers.get(b"x-forwarded-port")
    forwarded_scheme = headers.get(b"x-forwarded-proto")
    if forwarded_port is not None:
        port = forwarded_port.decode("latin-1")
    elif forwarded_scheme == b"https":
        port = "443"
    return host.lower(), int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0


def _split(host: str) -> tuple[str, str]:
    if host.startswith("["):
        address, _, port = host.partition("]")
        return address.removeprefix("["), port.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port

"""Bytes on a connection, and whatever comes back until the other side closes it."""

import re
import socket
from typing import Final
from urllib.parse import urlsplit

PATIENCE: Final = 30.0
"""Seconds until silence counts as a hang."""

_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Connection:
    """One connection to the service at ``root_url``."""

    def __init__(self, root_url: str) -> None:
        address = urlsplit(root_url)
        assert address.hostname is not None
        self._socket = socket.create_connection((address.hostname, address.port or 80), timeout=PATIENCE)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """All of it, or as much as the other side takes before it closes."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def end(self) -> None:
        """Nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def closed_within(self, seconds: float) -> bool:
        """Whether the other side closes in this time; what it says until then is lost."""
        self._socket.settimeout(seconds)
        try:
            while self._socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True
        finally:
            self._socket.settimeout(PATIENCE)
        return True

    def replies(self) -> bytes:
        """Everything that comes until the other side closes. Raises TimeoutError when it does not."""
        received = bytearray()
        try:
            while chunk := self._socket.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return bytes(received)


def answer(root_url: str, data: bytes) -> tuple[list[int], bytes]:
    """The statuses that these bytes are answered with, and all that was said."""
    with Connection(root_url) as connection:
        connection.send(data)
        said = connection.replies()
    return [int(status) for status in _STATUS.findall(said)], said

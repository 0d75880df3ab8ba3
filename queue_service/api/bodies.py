"""Request bodies of the APIs: read and parsed within limits of size, time, and memory of all together.

Nobody is known yet when a body is read: what one may cost is bounded for everybody.
"""

import asyncio
import re
from typing import Any, Final

from pydantic_core import from_json
from starlette.types import Receive

from queue_service.core.errors import InputTooLarge, MalformedPayload
from queue_service.operations.batching import Overloaded

MAX_BODY: Final = 10 * 1024 * 1024
MAX_TOGETHER: Final = 128 * 1024 * 1024
"""Bytes of bodies under way at a time; what comes as one piece is not counted."""
MAX_VALUES: Final = 100_000
"""Members and items of a body, at all depths: each takes far more memory and time than it takes bytes."""
SECONDS: Final = 60.0
"""For a whole body to arrive."""

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""Also one without an end, and never looked at twice: no text takes long."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Room:
    """How much may be read together, and how long a body may take."""

    def __init__(self, *, size: int = MAX_TOGETHER, seconds: float = SECONDS) -> None:
        self.left = size
        self.seconds = seconds


class BodyReader:
    """Reads the body of one request. Whoever called :meth:`read` must call :meth:`close` in the end."""

    __slots__ = ("_room", "_taken")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._taken = 0

    async def read(self, receive: Receive, announced: bytes) -> bytes:
        """The whole body; ``announced`` is its Content-Length.

        Raises InputTooLarge, MalformedPayload when it does not arrive in time, Overloaded, ClientGone.
        """
        if announced.isdigit() and len(announced) < 20 and int(announced) > MAX_BODY:
            raise _too_large()
        try:
            async with asyncio.timeout(self._room.seconds):
                return await self._pieces(receive)
        except TimeoutError:
            text = f"The request body did not arrive within {self._room.seconds:g} seconds."
            raise MalformedPayload(text) from None

    def close(self) -> None:
        """Give back the room that the body took."""
        self._room.left += self._taken
        self._taken = 0

    async def _pieces(self, receive: Receive) -> bytes:
        pieces: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(piece)
            if size > MAX_BODY:
                raise _too_large()
            if more or pieces:
                self._take(len(piece))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take(self, size: int) -> None:
        if size > self._room.left:
            raise Overloaded("too many large requests at a time")
        self._room.left -= size
        self._taken += size


def parsed(raw: bytes, max_values: int = MAX_VALUES) -> Any:
    """The JSON object or array of a body. Raises MalformedPayload, InputTooLarge."""
    if _separators(raw) > max_values and _separators(_STRING.sub(b"", raw)) > max_values:
        raise InputTooLarge(f"The request body has more than {max_values} members and items.")
    try:
        payload = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedPayload(f"The request body is not JSON: {error}.") from None
    if not isinstance(payload, dict | list):
        raise MalformedPayload("The request body must be a JSON object.")
    return payload


def _separators(raw: bytes) -> int:
    """Not fewer than the values in JSON text without strings."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _too_large() -> InputTooLarge:
    return InputTooLarge(f"The request body is larger than {MAX_BODY} bytes.")

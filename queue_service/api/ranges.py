"""Which part of a blob a request asks for (RFC 9110, section 14)."""

import re
from typing import Final

_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range holds no byte of the blob."""


def requested(header: str, size: int) -> tuple[int, int] | None:
    """Offset and length; None for the whole. Raises Unsatisfiable.

    What is no range, and a list of ranges, is as if it had not been said: the RFC leaves that to the server.
    """
    found = _RANGE.fullmatch(header)
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        length = min(int(last), size)
        offset = size - length
    else:
        offset = int(first)
        if last and int(last) < offset:
            return None
        length = min(int(last) if last else size, size - 1) - offset + 1
    if length <= 0:
        raise Unsatisfiable
    return offset, length

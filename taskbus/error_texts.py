"""What is told of an error that ended an attempt: a line or two, and where it came from (C-3, C-4)."""

import traceback
from typing import Final

from taskbus.endings import JobCancelled
from taskbus.errors import TaskFailed

MAX_ERROR: Final = 16 * 1024
MAX_TRACE: Final = 64 * 1024
"""Bytes of UTF-8 (C-4)."""
_ORDINARY: Final = (JobCancelled, TaskFailed)
_CUT: Final = "\n… cut …\n"


def text_of(error: BaseException) -> str:
    """The error in a line or two."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, _ORDINARY) and text:
        return cut(text, MAX_ERROR)
    return cut(f"{name}: {text}" if text else name, MAX_ERROR)


def trace_of(error: BaseException) -> str:
    """The traceback of an unexpected error; nothing for one that a handler means to tell (C-3)."""
    if isinstance(error, _ORDINARY):
        return ""
    return cut("".join(traceback.format_exception(error)), MAX_TRACE)


def cut(text: str, limit: int) -> str:
    """The text, or its beginning and its end with a mark in the middle, in so many bytes of UTF-8."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    half = (limit - len(_CUT.encode())) // 2
    return encoded[:half].decode(errors="ignore") + _CUT + encoded[-half:].decode(errors="ignore")

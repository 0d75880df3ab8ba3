"""What the log lines of one call have in common. It costs nothing until a line is written."""

from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Final

about: Final[ContextVar[Mapping[str, object]]] = ContextVar("about", default={})  # noqa: B039
"""Facts about the call under way, such as ``traceId`` and ``taskId``."""


def add_facts(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor of structlog: add the facts, but for those that the line gives itself."""
    for name, value in about.get().items():
        event.setdefault(name, value)
    return event

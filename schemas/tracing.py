"""Traces: what is done as spans, and the W3C ``traceparent`` by which others go on with a trace.

It is here, below everything, because all packages begin spans. Nothing is traced until a program says who
takes them, as with logging: ``tracing.use(OpenTelemetry())`` of :mod:`events.opentelemetry`. Until then a
span is one object that does nothing.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Literal, Protocol, Self

HEADER: Final = "traceparent"
"""Of HTTP requests and of AMQP messages."""
VARIABLE: Final = "TRACEPARENT"
"""Of the environment of a command."""

Kind = Literal["internal", "server", "producer", "consumer"]
Attributes = Mapping[str, object]
"""Texts, numbers and truth values by name; of a span that is not taken, nothing looks at them."""


class Span:
    """Something that takes time. As a context manager it is the current one inside, and ends with it.

    This one is that of nobody who traces; others override what it does.
    """

    __slots__ = ()

    @property
    def traceparent(self) -> str | None:
        """By which others go on from here; None when nobody traces."""
        return None

    def describe(self, name: str, attributes: Attributes) -> None:
        """Say what it turned out to be."""

    def fail(self, reason: str) -> None:
        """Mark it as gone wrong."""

    def end(self) -> None:
        """It is over; for one that is not used as a context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Tracer(Protocol):
    """Takes spans."""

    def span(self, name: str, kind: Kind, parent: str | None, attributes: Attributes) -> Span:
        """Begin one, below the span that ``parent`` tells of; else, or if that says nothing, a trace."""
        ...

    def current(self) -> str | None:
        """The ``traceparent`` of the current span; None without one."""
        ...


class _Nobody:
    """Does not trace."""

    def span(self, name: str, kind: Kind, parent: str | None, attributes: Attributes) -> Span:
        return _NOTHING

    def current(self) -> str | None:
        return None


_NOTHING: Final = Span()
_NO_ATTRIBUTES: Final[Attributes] = {}
_tracer: Tracer = _Nobody()


def use(tracer: Tracer | None) -> None:
    """Give all spans of this process to ``tracer`` from now on; None: to nobody."""
    global _tracer
    _tracer = tracer or _Nobody()


def span(
    name: str, kind: Kind = "internal", *, parent: str | None, attributes: Attributes = _NO_ATTRIBUTES
) -> Span:
    """Begin a span below that of ``parent``, a ``traceparent``; a new trace with None, or one out of form."""
    return _tracer.span(name, kind, parent, attributes)


def current() -> str | None:
    """The ``traceparent`` of what is being done here; None when nobody traces it."""
    return _tracer.current()

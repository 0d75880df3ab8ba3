"""The spans that a test makes: taken by OpenTelemetry's SDK, and looked at in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from events.opentelemetry import OpenTelemetry
from schemas import tracing

TRACE_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID: Final = "00f067aa0ba902b7"
TRACEPARENT: Final = f"00-{TRACE_ID}-{SPAN_ID}-01"


class Spans:
    """Those that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = OpenTelemetry(provider)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def the(self, name: str) -> ReadableSpan:
        """The only one of this name."""
        (span,) = self.named(name)
        return span

    def names_of(self, trace_id: str) -> list[str]:
        """The names of a trace's spans, in the order of their ends."""
        return [span.name for span in self._exporter.get_finished_spans() if trace_of(span) == trace_id]


@contextmanager
def taken_spans() -> Iterator[Spans]:
    """All spans of this process are taken, until the end of the context."""
    spans = Spans()
    tracing.use(spans.tracer)
    try:
        yield spans
    finally:
        tracing.use(None)


def trace_of(span: ReadableSpan) -> str:
    """Its trace id."""
    return format_trace_id(span.context.trace_id)


def id_of(span: ReadableSpan) -> str:
    return format_span_id(span.context.span_id)


def parent_of(span: ReadableSpan) -> str | None:
    """The id of the span above it."""
    return None if span.parent is None else format_span_id(span.parent.span_id)


def traceparent_of(span: ReadableSpan) -> str:
    """By which others go on from it."""
    return f"00-{trace_of(span)}-{id_of(span)}-{span.context.trace_flags:02x}"

"""Spans by OpenTelemetry, the extra ``traces``: into the program's own SDK, or to an OTLP collector."""

import os
from contextvars import Token
from types import TracebackType
from typing import Final, Self

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.tracing import HEADER, Attributes, Kind, Span

SERVICE_NAME: Final = "OTEL_SERVICE_NAME"
_KINDS: Final[dict[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class OpenTelemetry:
    """Takes the spans of Taskbus for ``provider``; without one, for that which the program has set up."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("taskbus", tracer_provider=provider)

    def span(self, name: str, kind: Kind, parent: str | None, attributes: Attributes) -> Span:
        """As :func:`schemas.tracing.span`."""
        nowhere = Context()
        within = nowhere if parent is None else _PROPAGATOR.extract({HEADER: parent}, nowhere)
        return _Span(self._tracer.start_span(name, within, _KINDS[kind], _known(attributes)))

    def current(self) -> str | None:
        """As :func:`schemas.tracing.current`."""
        return _traceparent(trace.get_current_span().get_span_context())


class _Span(Span):
    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._token: Token[Context] | None = None

    @property
    def traceparent(self) -> str | None:
        return _traceparent(self._span.get_span_context())

    def describe(self, name: str, attributes: Attributes) -> None:
        self._span.update_name(name)
        self._span.set_attributes(_known(attributes))

    def fail(self, reason: str) -> None:
        self._span.set_status(StatusCode.ERROR, reason)

    def end(self) -> None:
        self._span.end()

    def __enter__(self) -> Self:
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._span.record_exception(error)
            self.fail(f"{type(error).__name__}: {error}")
        if self._token is not None:
            context.detach(self._token)
        self.end()


def exporting(service: str) -> OpenTelemetry:
    """Spans of a program of this name, to an OTLP collector over HTTP.

    The variables that OpenTelemetry defines say the rest: ``OTEL_EXPORTER_OTLP_ENDPOINT``
    (``http://localhost:4318``), ``OTEL_TRACES_SAMPLER``, ``OTEL_SERVICE_NAME`` and others. While the
    collector is away, spans are dropped.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as Sdk
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": os.environ.get(SERVICE_NAME, service)})
    provider = Sdk(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetry(provider)


def _traceparent(span: SpanContext) -> str | None:
    """In the form of W3C; an unsampled trace is passed on as such."""
    if not span.is_valid:
        return None
    return (
        f"00-{trace.format_trace_id(span.trace_id)}-{trace.format_span_id(span.span_id)}"
        f"-{span.trace_flags:02x}"
    )


def _known(attributes: Attributes) -> dict[str, str | bool | int | float]:
    """The attributes that a span can have."""
    return {name: value for name, value in attributes.items() if isinstance(value, str | bool | int | float)}

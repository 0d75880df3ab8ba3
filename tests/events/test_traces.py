"""Messages carry their trace to whoever is delivered them, and handlers go on with it."""

import asyncio
from collections.abc import Iterator

import pytest
from aio_pika.abc import AbstractChannel
from pamqp.header import ContentHeader

from events import Delivery, Listener, TaskDefined
from events.connection import Backoff
from events.frames import encode_publish
from events.messages import OutboundMessage, encode
from events.publisher import Publisher, _traced
from schemas import tracing
from schemas.messages import TaskDefinedMessage
from tests.events import samples
from tests.events.test_frames import unmarshal_all
from tests.spans import TRACE_ID, TRACEPARENT, Spans, parent_of, taken_spans, trace_of, traceparent_of


@pytest.fixture
def spans() -> Iterator[Spans]:
    with taken_spans() as spans:
        yield spans


def traced() -> OutboundMessage:
    message = encode(samples.defined(), (), message_id="m1")
    return OutboundMessage(
        message.exchange, message.routing_key, message.cc, message.body, message.message_id, TRACEPARENT
    )


async def publish(url: str, message: OutboundMessage) -> None:
    publisher = Publisher(url)
    await publisher.connect()
    settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    publisher.send(message, settled.set_result)
    assert await settled
    await publisher.close()


def test_the_header_is_there_for_what_is_traced_and_only_then() -> None:
    for message, wanted in (
        (traced(), {"CC": [], "traceparent": TRACEPARENT}),
        (OutboundMessage("e", "k", (), b"{}"), {"CC": []}),
    ):
        header = unmarshal_all(encode_publish(message))[1]
        assert isinstance(header, ContentHeader)
        assert header.properties.headers == wanted


async def test_a_publisher_that_does_not_trace_passes_the_trace_on(
    amqp_url: str, admin: AbstractChannel, queue: str
) -> None:
    declared = await admin.declare_queue(queue, durable=True)
    message = traced()
    await publish(amqp_url, message)  # declares the exchange
    await declared.bind(message.exchange, "#")
    await publish(amqp_url, message)
    received = await declared.get(timeout=10)
    assert received is not None
    assert received.headers["traceparent"] == TRACEPARENT
    await received.ack()


async def test_a_handler_is_in_the_trace_of_its_message(amqp_url: str, spans: Spans, queue: str) -> None:
    inside: asyncio.Queue[tuple[str | None, str | None]] = asyncio.Queue()
    async with Listener(amqp_url, backoff=Backoff(0.02, 0.1)) as listener:

        @listener.on(TaskDefined(), queue=queue)
        async def handle(event: TaskDefinedMessage, delivery: Delivery) -> None:
            inside.put_nowait((tracing.current(), delivery.traceparent))

        await listener.ready()
        await publish(amqp_url, traced())
        current, told = await inside.get()
    published = spans.the(f"publish {traced().exchange}")
    processed = spans.the(f"process {traced().exchange}")
    assert (trace_of(published), parent_of(published)) == (TRACE_ID, TRACEPARENT.split("-")[2])
    assert told == traceparent_of(published)
    assert current == traceparent_of(processed)
    assert parent_of(processed) == traceparent_of(published).split("-")[2]


async def test_every_attempt_of_a_handler_is_a_span_of_the_same_trace(
    amqp_url: str, spans: Spans, queue: str
) -> None:
    done = asyncio.Event()
    async with Listener(amqp_url, backoff=Backoff(0.02, 0.1)) as listener:

        @listener.on(TaskDefined(), queue=queue, attempts=2, retry_delay=0.02)
        async def handle(event: TaskDefinedMessage, delivery: Delivery) -> None:
            if delivery.attempt == 1:
                raise ValueError("not yet")
            done.set()

        await listener.ready()
        await publish(amqp_url, traced())
        await done.wait()
    first, second = spans.named(f"process {traced().exchange}")
    assert trace_of(first) == trace_of(second) == TRACE_ID
    assert [span.status.is_ok or span.status.is_unset for span in (first, second)] == [False, True]


async def test_a_refused_message_is_a_span_that_failed(spans: Spans) -> None:
    outcomes: list[bool] = []
    _, settled = _traced(traced(), outcomes.append)
    settled(False)
    assert outcomes == [False]
    assert not spans.the(f"publish {traced().exchange}").status.is_unset

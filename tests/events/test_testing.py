"""The recorder, which other tests trust."""

from collections.abc import Awaitable, Callable

import pytest
from aio_pika import Message as AmqpMessage
from aio_pika.abc import AbstractChannel

from events import TaskCompleted, TaskDefined, TaskPending, UndecodableMessage
from events.testing import Recorder
from tests.events import samples

Publish = Callable[..., Awaitable[None]]


async def test_a_recorder_keeps_messages_of_all_exchanges_in_order(amqp_url: str, publish: Publish) -> None:
    async with Recorder(amqp_url) as recorder:
        for message in samples.ALL:
            await publish(message)
        await recorder.wait_for(TaskDefined)
        await recorder.wait_for_count(1, TaskCompleted)
        async with Recorder(amqp_url) as late:
            await publish(samples.defined())
            await late.wait_for(TaskDefined)
            assert len(late.records) == 1
        await recorder.wait_for_count(2, TaskDefined)
    assert [record.event for record in recorder.records] == [*samples.ALL, samples.defined()]
    assert [record.delivery.message_id for record in recorder.records[:2]] == ["m1", "m2"]


async def test_wait_for_finds_what_was_recorded_and_what_is_to_come(amqp_url: str, publish: Publish) -> None:
    async with Recorder(amqp_url, TaskPending()) as recorder:
        await publish(samples.pending(run_id=0))
        await publish(samples.pending(run_id=1))
        assert (await recorder.wait_for(TaskPending, run_id=1)).run_id == 1
        assert (await recorder.wait_for(TaskPending, task_id=samples.TASK_ID)).run_id == 0
        assert [event.run_id for event in recorder.of(TaskPending)] == [0, 1]
        assert recorder.of(TaskPending, run_id=7) == []


async def test_waiting_in_vain_shows_what_was_recorded(amqp_url: str, publish: Publish) -> None:
    async with Recorder(amqp_url) as recorder:
        await publish(samples.pending())
        await recorder.wait_for(TaskPending)
        with pytest.raises(AssertionError, match=r"waited 0.05 s for 1 of TaskCompleted[\s\S]*task-pending"):
            await recorder.wait_for(TaskCompleted, timeout=0.05)


async def test_a_message_that_is_not_what_its_exchange_declares_fails_the_wait(
    amqp_url: str, admin: AbstractChannel
) -> None:
    async with Recorder(amqp_url) as recorder:
        exchange = await admin.get_exchange(TaskDefined().exchange)
        await exchange.publish(AmqpMessage(b"{}"), "primary.a.b.c.d.e.f.g.h._")
        with pytest.raises(UndecodableMessage, match="status: Field required"):
            await recorder.wait_for(TaskDefined)

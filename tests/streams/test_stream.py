"""The stream of events: what a reader gets, in which order, and how it goes on after a cut."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from queue_service.api import feeds, readers
from queue_service.features.streams import tail
from queue_service.store import event_log
from queue_service.store.signals import TopicStirred
from tests.api.attached import Refused
from tests.api.running_queue import RunningQueue
from tests.streams.reader import Reader, Received
from tests.streams.running_streams import EVERYTHING, QUEUE, Streams, running_streams


def told(event: Received) -> tuple[str, str]:
    """Exchange and task of an event."""
    return event.data["exchange"].removeprefix(QUEUE), event.data["payload"]["status"]["taskId"]


async def ready(reader: Reader) -> Received:
    event = await reader.event()
    assert event.kind == "ready", event
    return event


async def events(reader: Reader, count: int) -> list[tuple[str, str]]:
    return [told(await reader.event()) for _ in range(count)]


# ---- what a reader gets ------------------------------------------------------------------------------


async def test_the_reply_begins_as_readers_and_proxies_need_it(streams: Streams) -> None:
    async with streams.read() as reader:
        assert reader.status == 200
        assert reader.headers["content-type"].startswith("text/event-stream")
        assert (reader.headers["cache-control"], reader.headers["x-accel-buffering"]) == ("no-store", "no")
        assert (await ready(reader)).data == {"reset": False}
        assert reader.first == "retry: 3000"


async def test_what_the_broker_has_taken_is_told_as_it_was_recorded(streams: Streams) -> None:
    async with streams.read() as reader:
        await ready(reader)
        task_id = await streams.queue.create()
        (defined, pending) = await streams.queue.messages()
        await streams.publish()
        first, second = await reader.event(), await reader.event()
        assert [told(first), told(second)] == [("task-defined", task_id), ("task-pending", task_id)]
        assert first.data["payload"] == defined.body
        assert (first.data["routingKey"], tuple(first.data["cc"])) == (defined.routing_key, defined.cc)
        assert int(second.id) == int(first.id) + 1
        assert [one.message_id for one in streams.publisher.sent] == [
            first.data["messageId"],
            second.data["messageId"],
        ]
        assert pending.body == second.data["payload"]


async def test_the_broker_is_not_waited_for(streams: Streams) -> None:
    async with streams.read() as reader:
        await ready(reader)
        task_id = await streams.queue.create()
        await streams.log_without_broker()
        assert await events(reader, 2) == [("task-defined", task_id), ("task-pending", task_id)]


async def test_what_was_told_without_the_broker_is_not_told_again_when_it_is_back(streams: Streams) -> None:
    async with streams.read() as reader:
        await ready(reader)
        first = await streams.queue.create()
        await streams.log_without_broker()
        await streams.publish()
        assert len(streams.publisher.sent) == 2
        second = await streams.queue.create()
        await streams.publish()
        assert [task for _, task in await events(reader, 4)] == [first, first, second, second]


async def test_a_message_that_the_broker_refuses_is_told_once(streams: Streams) -> None:
    async with streams.read() as reader:
        await ready(reader)
        first = await streams.queue.create()
        (refused, *_) = await streams.queue.messages()
        streams.publisher.refuses.add(refused.routing_key)
        await streams.publish()
        assert await events(reader, 2) == [("task-defined", first), ("task-pending", first)]
        streams.publisher.refuses.clear()
        await streams.log_without_broker()
        second = await streams.queue.create()
        await streams.publish()
        assert await events(reader, 2) == [("task-defined", second), ("task-pending", second)]


async def test_a_relay_that_is_quick_enough_does_all_the_logging(streams: Streams) -> None:
    async with streams.read() as reader:
        await ready(reader)
        await streams.queue.create()
        assert await streams.writing.run_once() == 0
        assert await streams.logged() == 0


async def test_nothing_is_kept_while_nobody_streams(streams: Streams) -> None:
    await streams.queue.create()
    await streams.log_without_broker()
    await streams.publish()
    assert await streams.logged() == 0
    assert len(streams.publisher.sent) == 2


@pytest.mark.parametrize(
    ("pairs", "heard"),
    [
        ([(QUEUE + "task-pending", "#")], ["task-pending"]),
        ([(QUEUE + "task-pending", "primary.#"), (QUEUE + "task-pending", "#")], ["task-pending"]),
        ([(QUEUE + "task-pending", "primary.nobody.#"), (QUEUE + "task-defined", "#")], ["task-defined"]),
        ([(QUEUE + "task-defined", "route.index.#")], ["task-defined"]),
        ([(QUEUE + "task-pending", "*"), (QUEUE + "task-running", "#")], []),
    ],
)
async def test_filters_are_those_of_topic_bindings(
    streams: Streams, pairs: list[tuple[str, str]], heard: list[str]
) -> None:
    end = (QUEUE + "task-completed", "#")
    async with streams.read([*pairs, end]) as reader:
        await ready(reader)
        await streams.queue.completed(routes=["index.project.a"])
        await streams.publish()
        kinds = []
        while (event := await reader.event()).data["exchange"] != end[0]:
            kinds.append(event.data["exchange"].removeprefix(QUEUE))
        assert [kind for kind in kinds if kind != "task-running"] == heard


async def test_a_websocket_gets_the_same_events(streams: Streams) -> None:
    async with streams.socket() as socket:
        assert (await socket.receive())["event"] == "ready"
        task_id = await streams.queue.create()
        await streams.publish()
        frame = await socket.receive()
        assert (frame["event"], frame["data"]["payload"]["status"]["taskId"]) == ("message", task_id)
    async with streams.socket(last=frame["id"]) as socket:
        assert (await socket.receive())["data"] == {"reset": False}
        assert (await socket.receive())["id"] == str(int(frame["id"]) + 1)


async def test_a_silent_stream_is_kept_open_by_comments(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "KEEP_ALIVE_SECONDS", 0.01)
    async with streams.read() as reader:
        await ready(reader)
        assert await reader.comment() == ":"


async def test_a_head_request_is_answered_without_a_stream(streams: Streams) -> None:
    reader = streams.read()
    reader._scope["method"] = "HEAD"
    async with reader:
        assert (reader.status, await reader.body()) == (200, "")
    assert len(streams.tail.readers) == 0


# ---- after a cut -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["header", "parameter", "both"])
async def test_a_reader_goes_on_where_it_was(streams: Streams, how: str) -> None:
    async with streams.read() as reader:
        await ready(reader)
        await streams.queue.create()
        await streams.publish()
        await reader.event()
        last = reader.last_id
    await streams.queue.create()
    await streams.publish()
    header = {"Last-Event-ID": str(last)} if how != "parameter" else {}
    parameter = None if how == "header" else last if how == "parameter" else "0"
    async with streams.read(last=parameter, headers=header) as reader:
        assert (await ready(reader)).data == {"reset": False}
        ids = [int((await reader.event()).id) for _ in range(3)]
        assert ids == [int(str(last)) + 1 + n for n in range(3)]


async def test_a_reader_that_heard_nothing_goes_on_from_where_it_began(streams: Streams) -> None:
    async with streams.read() as reader:
        last = (await ready(reader)).id
    task_id = await streams.queue.create()
    await streams.publish()
    async with streams.read(last=last) as reader:
        assert (await ready(reader)).data == {"reset": False}
        assert await events(reader, 2) == [("task-defined", task_id), ("task-pending", task_id)]


@pytest.mark.parametrize("last", ["0", "999999999", "", "no-number", "-1", "9" * 60])
async def test_a_position_that_is_not_kept_is_said(streams: Streams, last: str) -> None:
    async with streams.read(last=last) as reader:
        assert (await ready(reader)).data == {"reset": True}
        task_id = await streams.queue.create()
        await streams.publish()
        assert await events(reader, 1) == [("task-defined", task_id)]


async def test_what_was_told_while_nobody_streamed_is_a_gap_that_is_said(streams: Streams) -> None:
    async with streams.read() as reader:
        last = (await ready(reader)).id
    streams.queue.clock.advance(hours=1)
    await streams.trimming.run_once()
    await streams.queue.create()
    await streams.publish()
    async with streams.read(last=last) as reader:
        assert (await ready(reader)).data == {"reset": True}


async def test_a_gap_under_a_connected_reader_is_said(streams: Streams) -> None:
    """Nobody renewed the keeping: a process that was stopped for long, or a clock that is wrong."""
    async with streams.read() as reader:
        await ready(reader)
        streams.tail._renew_at = datetime.max.replace(tzinfo=UTC)
        streams.queue.clock.advance(hours=1)
        await streams.trimming.run_once()
        streams.queue.database.announce((TopicStirred(event_log.TOPIC),))
        assert ((await reader.event()).kind, reader.status) == ("reset", 200)


async def test_only_so_many_events_are_kept(queue: RunningQueue) -> None:
    async with running_streams(queue, stream_kept_events=1000) as streams:
        async with streams.read() as reader:
            first = await ready(reader)
            for _ in range(3):
                await queue.create()
            await streams.publish()
            await events(reader, 6)
            streams.trimming.run_once.__self__._most = 2  # type: ignore[attr-defined]
            await streams.trimming.run_once()
            assert await streams.logged() == 2
        async with streams.read(last=first.id) as reader:
            assert (await ready(reader)).data == {"reset": True}
        async with streams.read(last=str(int(first.id) + 4)) as reader:
            assert (await ready(reader)).data == {"reset": False}
            assert int((await reader.event()).id) == int(first.id) + 5


async def test_old_events_are_forgotten(streams: Streams) -> None:
    async with streams.read() as reader:
        await ready(reader)
        await streams.queue.create()
        await streams.publish()
        await events(reader, 2)
        streams.queue.clock.advance(minutes=9)
        await streams.tail.run_once()
        await streams.queue.create()
        await streams.publish()
        streams.queue.clock.advance(minutes=2)
        assert await streams.trimming.run_once() == 2
        assert await streams.logged() == 2


# ---- several processes -------------------------------------------------------------------------------


async def test_a_change_of_another_process_is_told(queue: RunningQueue, second: RunningQueue) -> None:
    async with running_streams(queue) as here, running_streams(second) as there, there.read() as reader:
        await ready(reader)
        task_id = await queue.create()
        await here.publish()
        second.database.announce((TopicStirred(event_log.TOPIC),))
        assert await events(reader, 2) == [("task-defined", task_id), ("task-pending", task_id)]


async def test_a_reader_goes_on_at_another_process(queue: RunningQueue, second: RunningQueue) -> None:
    async with running_streams(queue) as here, running_streams(second) as there:
        async with here.read() as reader:
            await ready(reader)
            await queue.create()
            await here.publish()
            await reader.event()
            last = reader.last_id
        async with there.read(last=last) as reader:
            assert (await ready(reader)).data == {"reset": False}
            assert int((await reader.event()).id) == int(str(last)) + 1


# ---- limits ------------------------------------------------------------------------------------------


async def test_a_reader_that_takes_nothing_is_cut_off_and_the_others_are_not(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MOST_UNDELIVERED", 6)
    monkeypatch.setattr(tail, "PAGE", 2)
    monkeypatch.setattr(tail, "RELIEF_SECONDS", 0.0)
    async with streams.read() as slow, streams.read() as quick:
        last = (await ready(slow)).id
        await ready(quick)
        slow.pause()
        made = []
        for _ in range(8):
            made += [await streams.queue.create()] * 2
            await streams.publish()
            assert [task for _, task in await events(quick, 2)] == made[-2:]
        slow.go_on()
        await slow.ended()
        assert streams.tail.readers.overflows == 1
        last = slow.last_id or last
    async with streams.read(last=last) as again:
        assert (await ready(again)).data == {"reset": False}
        rest = int(str(quick.last_id)) - int(last)
        assert [task for _, task in await events(again, rest)] == made[-rest:]


async def test_one_process_reads_the_log_once_for_all_its_readers(streams: Streams) -> None:
    readers = [streams.read() for _ in range(20)]
    for reader in readers:
        await reader.__aenter__()
        await ready(reader)
    reads = 0
    page = streams.tail._page

    async def counted(after: int) -> Any:
        nonlocal reads
        reads += 1
        return await page(after)

    streams.tail._page = counted  # type: ignore[method-assign]
    task_id = await streams.queue.create()
    await streams.publish()
    for reader in readers:
        assert await events(reader, 2) == [("task-defined", task_id), ("task-pending", task_id)]
        await reader.hang_up()
    assert reads <= 4


async def test_more_readers_than_allowed_are_asked_to_come_later(queue: RunningQueue) -> None:
    async with running_streams(queue, stream_max_readers=1) as streams, streams.read() as first:
        await ready(first)
        async with streams.read() as second:
            assert (second.status, second.headers["retry-after"]) == (503, "1")
        await first.hang_up()
        async with streams.read() as third:
            await ready(third)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "`exchange` is missing"),
        (f"exchange={QUEUE}task-pending", "`exchange` is given 1 times and `routingKey` 0 times"),
        ("exchange=exchange/nobody/v1/x&routingKey=%23", "`exchange` number 1"),
        (f"exchange={QUEUE}task-pending&routingKey=a*", "`routingKey` number 1"),
        (f"exchange={QUEUE}task-pending&routingKey={'a' * 256}", "`routingKey`"),
        (f"exchange={QUEUE}task-pending&routingKey={'%C3%A4' * 200}", "`routingKey` number 1"),
        ("&".join([f"exchange={QUEUE}task-pending&routingKey=%23"] * 101), "may be 100 times"),
        (f"exchange={QUEUE}task-pending&routingKey=%23&since=1", "`since` is not a parameter"),
        (f"exchange={QUEUE}task-pending&routingKey=%23&lastEventId=1&lastEventId=2", "more than once"),
    ],
)
async def test_what_is_wrong_with_a_request_is_named(streams: Streams, query: str, said: str) -> None:
    async with Reader(streams.application, f"/api/events/v1/stream?{query}") as reader:
        body = json.loads(await reader.body())
    assert (reader.status, body["code"]) == (400, "InvalidRequestArguments")
    assert said in body["message"]


# ---- who may listen ----------------------------------------------------------------------------------


async def test_each_exchange_needs_its_scope(streams: Streams) -> None:
    async with streams.read() as reader:
        await ready(reader)
    names = sorted(exchange for exchange, _ in EVERYTHING)
    assert streams.queue.permit.asked == [{"AllOf": [f"events:listen:{name}" for name in names]}]


async def test_without_the_scope_nothing_is_told(streams: Streams) -> None:
    streams.queue.permit.deny()
    async with streams.read() as reader:
        assert reader.status == 403
    with pytest.raises(Refused) as refused:
        await streams.socket().__aenter__()
    assert refused.value.status == 403


async def test_bad_credentials_are_refused_before_anything_is_sent(streams: Streams) -> None:
    streams.queue.permit.distrust()
    async with streams.read() as reader:
        assert reader.status == 401
    with pytest.raises(Refused) as refused:
        await streams.socket().__aenter__()
    assert refused.value.status == 401


async def test_a_stream_ends_with_the_credentials(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LONGEST_SECONDS", 0.05)
    async with streams.read() as reader:
        await ready(reader)
        await reader.ended()


# ---- the end -----------------------------------------------------------------------------------------


async def test_a_process_that_stops_ends_its_streams_and_takes_no_more(streams: Streams) -> None:
    async with streams.read() as reader, streams.socket() as socket:
        await ready(reader)
        await socket.receive()
        await streams.tail.stop()
        await reader.ended()
        assert (await socket.closed()).code == 1001
        async with streams.read() as late:
            assert late.status == 503


async def test_a_reader_that_hangs_up_leaves_nothing_behind(streams: Streams) -> None:
    async with streams.read() as reader:
        await ready(reader)
        assert len(streams.tail.readers) == 1
    assert len(streams.tail.readers) == len(streams.tail._filters) == 0

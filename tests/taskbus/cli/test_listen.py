"""``taskbus listen``: what is bound, and what is printed for each event."""

import asyncio
import io
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from events.exchanges import EXCHANGES, find_exchange
from events.listener import Listener
from events.messages import Delivery, encode
from events.publisher import Publisher
from events.testing import embedded_broker
from schemas.messages import Message
from taskbus.cli import listen
from taskbus.cli.watch import states_of
from taskbus.client import Queue
from tests.events import samples
from tests.taskbus.cli.conftest import Run

PREFIX = "exchange/taskcluster-queue/v1/"
ROUTED_EXCHANGES = {exchange.name for exchange in EXCHANGES if exchange.routes}

Publish = Callable[..., Awaitable[None]]


def bound(*names: str, routes: tuple[str, ...] = (), **filters: str) -> set[tuple[str, str]]:
    """Name of the exchange, in full if it is not ours, and pattern of each binding."""
    asked = listen.bindings(names, filters, routes)
    ours = {binding.exchange: find_exchange(binding.exchange) for binding in asked}
    return {
        (
            exchange.name if (exchange := ours[binding.exchange]) else binding.exchange,
            binding.routing_key_pattern,
        )
        for binding in asked
    }


class TestBindings:
    def test_all_is_every_exchange(self) -> None:
        assert {name for name, _ in bound("all")} == {exchange.name for exchange in EXCHANGES}

    def test_a_filter_becomes_words_of_the_routing_key(self) -> None:
        assert bound("task-completed", task_queue_id="prov/*") == {
            ("task-completed", "primary.*.*.*.*.prov.*.*.*.#")
        }
        assert bound("task-group-resolved", task_group_id=samples.GROUP_ID) == {
            ("task-group-resolved", f"primary.{samples.GROUP_ID}.*.#")
        }

    def test_all_leaves_out_what_a_filter_cannot_apply_to(self) -> None:
        of_queues = {"queue-paused", "queue-resumed"}
        assert {name for name, _ in bound("all", task_queue_id="prov/type")} == ROUTED_EXCHANGES | of_queues
        assert {name for name, _ in bound("all", routes=("ci.#",))} == ROUTED_EXCHANGES

    def test_several_routes_are_alternatives(self) -> None:
        assert bound("task-failed", routes=("ci.#", "index.*")) == {
            ("task-failed", "route.ci.#"),
            ("task-failed", "route.index.*"),
        }

    def test_any_other_exchange_has_its_full_name(self) -> None:
        assert bound("exchange/build/normalized") == {("exchange/build/normalized", "#")}

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["task-done"], "no exchange 'task-done': expected all, task-defined"),
            (["task-group-sealed", "--task-id", samples.TASK_ID], "cannot be filtered by task_id"),
            (["task-group-sealed", "--route", "ci"], "cannot be filtered by --route"),
            (["exchange/build/x", "--queue", "a/b"], "is not an exchange of the queue"),
            (["--route", "ci.#", "--queue", "a/b"], "--route cannot be combined"),
            (["--queue", "prov"], "task_queue_id: expected provisioner_id/worker_type"),
            (["--queue", "pr*v/type"], "* stands for a whole word"),
            (["--amqp-url", "http://localhost"], "an AMQP URL looks like"),
        ],
    )
    def test_what_is_typed_wrong_ends_with_one_line_and_status_2(
        self, run: Run, arguments: list[str], problem: str
    ) -> None:
        result = run("listen", *arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith("taskbus: ")
        assert problem in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.fixture
async def broker() -> AsyncIterator[str]:
    async with embedded_broker() as broker:
        yield broker.url


@pytest.fixture
async def publish(broker: str) -> AsyncIterator[Publish]:
    publisher = Publisher(broker)
    await publisher.connect()

    async def publish(event: Message, *routes: str) -> None:
        settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        publisher.send(encode(event, routes), settled.set_result)
        assert await settled

    yield publish
    await publisher.close()


class TestEvents:
    async def test_every_event_is_written_until_writing_fails(self, broker: str, publish: Publish) -> None:
        written: list[Any] = []
        first = asyncio.Event()

        def write(event: Any, delivery: Delivery) -> None:
            if written:
                raise BrokenPipeError
            written.append((event, delivery.exchange))
            first.set()

        listening = asyncio.Event()
        asked = listen.bindings(["all"], {}, [])
        showing = asyncio.create_task(listen.show_events(Listener(broker), asked, write, listening.set))
        await listening.wait()
        await publish(samples.completed())
        await first.wait()
        await publish(samples.completed())
        with pytest.raises(BrokenPipeError):
            await showing
        assert written == [(samples.completed(), PREFIX + "task-completed")]

    async def test_a_task_is_watched_by_its_events(self, broker: str, publish: Publish) -> None:
        async with (
            Queue("http://127.0.0.1:1") as queue,
            states_of(samples.TASK_ID, queue, broker) as states,
        ):
            resolved = samples.completed()
            resolved = resolved.model_copy(
                update={"status": resolved.status.model_copy(update={"state": "completed"})}
            )
            for event in (
                samples.running(samples.OTHER_TASK_ID),
                samples.running(),
                samples.running(),
                resolved,
            ):
                await publish(event)
            assert [status.state async for status in states] == ["running", "completed"]


DELIVERY = Delivery(PREFIX + "task-completed", "primary.x", ("route.ci",), "m1", False)


class TestOutput:
    @pytest.mark.parametrize("event", samples.ALL, ids=lambda event: type(event).__name__)
    def test_every_kind_of_event_fits_on_a_line(
        self, event: Message, capsys: pytest.CaptureFixture[str]
    ) -> None:
        listen.print_line(event, DELIVERY)
        line = capsys.readouterr().out
        assert line.count("\n") == 1
        assert "task-completed" in line
        wire = event.to_wire()
        about = wire.get("status", wire)
        names = (
            *("taskId", "taskGroupId", "clientId", "roleId", "taskQueueId"),
            *("hookId", "workerId", "key", "namespace", "triggerId"),
        )
        assert next(about[name] for name in names if name in about) in line

    def test_a_line_shows_when_what_where_and_by_whom(self, capsys: pytest.CaptureFixture[str]) -> None:
        listen.print_line(samples.completed(), DELIVERY)
        time, name, run, queue, by, worker = capsys.readouterr().out.split()
        assert datetime.strptime(time, "%H:%M:%S.%f")
        assert (name, run, queue) == ("task-completed", f"{samples.TASK_ID}/0", "aws/gaia")
        assert (by, worker) == ("by", "eu-1/w-1")

    def test_json_is_one_flushed_object_per_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Pipe(io.StringIO):
            flushed = ""

            def flush(self) -> None:
                self.flushed = self.getvalue()

        pipe = Pipe()
        monkeypatch.setattr(sys, "stdout", pipe)
        listen.print_json(samples.completed(), DELIVERY)
        listen.print_json({"any": "thing"}, DELIVERY)
        first, second = map(json.loads, pipe.flushed.splitlines())
        assert first == {
            "exchange": PREFIX + "task-completed",
            "routingKey": "primary.x",
            "cc": ["route.ci"],
            "message": samples.completed().to_wire(),
        }
        assert second["message"] == {"any": "thing"}


def test_a_broker_that_is_not_there_ends_with_one_line_and_status_1(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "READY_SECONDS", 0.1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = run("listen", "--amqp-url", f"amqp://me:s3cret@127.0.0.1:{unused.getsockname()[1]}/")
    assert result.exit_code == 1
    assert result.stderr.startswith("taskbus: cannot reach the AMQP broker at amqp://me@127.0.0.1")
    assert result.stderr.count("\n") == 1
    assert "s3cret" not in result.output

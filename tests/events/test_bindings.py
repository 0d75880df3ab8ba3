"""Binding classes: their filters are the words of the declarations, and become patterns."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest

import events
from events import BINDINGS, TaskCompleted, TaskDefined, TaskGroupResolved, bind, keys
from events.bindings import GroupBinding, TaskBinding
from events.exchanges import EXCHANGES, Exchange, exchange_for
from schemas.messages import Message, TaskCompletedMessage
from tests.events import samples

SUGAR = {"task_queue_id"}


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_every_exchange_has_a_binding_with_exactly_its_words(exchange: Exchange) -> None:
    binding = BINDINGS[exchange.name]
    filters = {field.name for field in dataclasses.fields(binding)} - SUGAR
    assert filters == {word.parameter for word in exchange.words} - {"reserved"}


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_a_binding_knows_exchange_and_message_and_is_exported_under_its_name(exchange: Exchange) -> None:
    kind = BINDINGS[exchange.name]
    assert kind().exchange == exchange.full_name
    assert kind().message_type is exchange.payload
    assert getattr(events, exchange.title.title().replace(" ", "")) is kind


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_routes_can_be_asked_for_exactly_where_messages_carry_them(exchange: Exchange) -> None:
    assert exchange.routes is issubclass(BINDINGS[exchange.name], TaskBinding)


@pytest.mark.parametrize("message", samples.ALL, ids=lambda message: type(message).__name__)
def test_a_binding_without_filters_matches_every_message_of_its_exchange(message: Message) -> None:
    exchange = exchange_for(type(message))
    pattern = BINDINGS[exchange.name]().routing_key_pattern
    assert keys.matches(pattern, keys.build(exchange, message))


def test_filters_become_words_of_the_pattern() -> None:
    binding = TaskCompleted(task_id=samples.TASK_ID, run_id=3, worker_group="eu", provisioner_id="aws")
    assert binding.routing_key_pattern == f"primary.{samples.TASK_ID}.3.eu.*.aws.*.*.*.#"


def test_a_task_queue_id_is_short_for_its_two_halves() -> None:
    assert TaskDefined(task_queue_id="aws/gaia").routing_key_pattern == (
        TaskDefined(provisioner_id="aws", worker_type="gaia").routing_key_pattern
    )
    assert TaskDefined(task_queue_id="aws/*").routing_key_pattern == "primary.*.*.*.*.aws.*.*.*.#"


def test_a_task_queue_id_may_be_repeated_by_its_halves() -> None:
    assert TaskDefined(task_queue_id="aws/gaia", worker_type="gaia", provisioner_id="aws")


def test_group_filters_become_words_of_the_pattern() -> None:
    assert TaskGroupResolved(scheduler_id="sched").routing_key_pattern == "primary.*.sched.#"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: TaskDefined(task_queue_id="aws/gaia", worker_type="b2g"), "worker_type: 'b2g' contradicts"),
        (
            lambda: TaskDefined(task_queue_id="aws/gaia", provisioner_id="b"),
            "provisioner_id: 'b' contradicts",
        ),
        (lambda: TaskDefined(task_queue_id="aws"), "task_queue_id: expected provisioner_id/worker_type"),
        (lambda: TaskDefined(task_queue_id="aws/"), "worker_type: expected 1 to 38 bytes"),
        (lambda: TaskDefined(task_id=""), "task_id: expected 1 to 22 bytes"),
        (lambda: TaskDefined(worker_id="a.b"), "worker_id: expected 1 to 38 bytes without a dot"),
        (lambda: TaskDefined(worker_id="a*"), "worker_id: * stands for a whole word"),
        (lambda: TaskDefined(scheduler_id="#"), "scheduler_id: * stands for a whole word"),
        (lambda: TaskDefined(routing_key_kind="route"), "routing_key_kind: is always 'primary'"),
        (lambda: TaskDefined.route(""), "route: expected a route"),
        (lambda: TaskDefined.route("ci.try*"), "route: * and # stand for whole words"),
        (lambda: TaskDefined.route("x" * 250), "route: expected at most 255 bytes"),
        (lambda: bind("", "#"), "exchange: expected the full name"),
        (lambda: bind("exchange/build/normalized", "a.b#"), "pattern: * and # stand for whole words"),
    ],
)
def test_a_binding_that_could_match_nothing_is_refused_by_name(make: Callable[[], Any], reason: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(reason)):
        make()


def test_a_route_binding_matches_the_cc_key_of_a_task_with_such_a_route() -> None:
    binding = TaskCompleted.route("ci.#")
    assert binding.exchange == TaskCompleted().exchange
    assert binding.routing_key_pattern == "route.ci.#"
    assert binding.message_type is TaskCompletedMessage


def test_any_exchange_can_be_bound() -> None:
    binding = bind("exchange/build/normalized", "#")
    assert (binding.exchange, binding.routing_key_pattern) == ("exchange/build/normalized", "#")
    assert binding.message_type is None


def test_bindings_are_values() -> None:
    assert TaskDefined(task_id="x") == TaskDefined(task_id="x") != TaskDefined()
    assert TaskDefined() != TaskCompleted()
    assert issubclass(TaskGroupResolved, GroupBinding)

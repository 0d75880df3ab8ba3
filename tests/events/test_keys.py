"""Routing keys are built, read and matched as ``queue-behaviour.md`` 10 and RabbitMQ do."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import keys
from events.exchanges import EXCHANGES, Exchange, exchange_for
from schemas.jobs import JobResolvedMessage
from schemas.kv import KvChangedMessage
from schemas.messages import (
    Message,
    TaskCompletedMessage,
    TaskDefinedMessage,
    TaskGroupResolvedMessage,
    TaskPendingMessage,
)
from tests.events import samples

DEFINED = exchange_for(TaskDefinedMessage)
COMPLETED = exchange_for(TaskCompletedMessage)
GROUP = exchange_for(TaskGroupResolvedMessage)
CHANGED = exchange_for(KvChangedMessage)


def test_a_task_key_has_ten_words_from_message_and_status() -> None:
    assert keys.build(COMPLETED, samples.completed(run_id=2)) == (
        f"primary.{samples.TASK_ID}.2.eu-1.w-1.aws.gaia.sched.{samples.GROUP_ID}._"
    )


def test_run_and_worker_never_come_from_the_status() -> None:
    """The status of a task-defined repeated later has runs; its key still has none."""
    again = TaskDefinedMessage.model_validate({"status": samples.status(), "task": samples.TAGS})
    assert keys.build(DEFINED, again).split(".")[2:5] == ["_", "_", "_"]


def test_a_pending_key_has_the_run_and_no_worker() -> None:
    key = keys.build(exchange_for(TaskPendingMessage), samples.pending(run_id=7))
    assert key.split(".")[2:5] == ["7", "_", "_"]


def test_a_group_key_has_four_words() -> None:
    message = TaskGroupResolvedMessage.model_validate(samples.GROUP)
    assert keys.build(GROUP, message) == f"primary.{samples.GROUP_ID}.sched._"


@pytest.mark.parametrize("value", ["a.b", "", "x" * 39])
def test_a_value_that_is_no_word_is_refused_by_name(value: str) -> None:
    status = samples.defined().status.model_copy(update={"scheduler_id": value})
    with pytest.raises(ValueError, match="scheduler_id: expected 1 to 38 bytes without a dot"):
        keys.build(DEFINED, samples.defined().model_copy(update={"status": status}))


def test_a_missing_required_value_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="worker_id: task-completed needs it"):
        keys.build(COMPLETED, samples.completed().model_copy(update={"worker_id": None}))


@pytest.mark.parametrize("message", samples.ALL, ids=lambda message: type(message).__name__)
def test_parse_gives_back_what_build_was_given(message: Message) -> None:
    exchange = exchange_for(type(message))
    words = keys.parse(exchange, keys.build(exchange, message))
    values = {
        word.parameter: getter(message) for word, getter in zip(exchange.words, exchange.getters, strict=True)
    }
    assert words == {name: None if value is None else str(value) for name, value in values.items()}


def test_parse_leaves_later_words_to_the_reserved_one() -> None:
    assert keys.parse(GROUP, "primary.group.sched.a.b")["reserved"] == "a.b"


def changed(namespace: str) -> KvChangedMessage:
    return KvChangedMessage(tenant="acme", namespace=namespace, key="k", op="put", entry_version=1)


@pytest.mark.parametrize(
    ("namespace", "words"), [("a", "a"), ("a/b", "a.b"), ("a/b.c/d", "a.b.c.d"), ("_/.", "_..")]
)
def test_a_namespace_is_as_many_words_as_it_has_parts(namespace: str, words: str) -> None:
    key = keys.build(CHANGED, changed(namespace))
    assert key == f"primary.acme.{words}.put"
    assert keys.parse(CHANGED, key) == {
        "routing_key_kind": "primary", "tenant": "acme", "namespace": words, "op": "put",
    }  # fmt: skip
    for asked in (None, namespace, "#"):
        assert keys.matches(keys.pattern(CHANGED, namespace=asked), key)


def test_a_part_of_a_namespace_may_be_any() -> None:
    pattern = keys.pattern(CHANGED, tenant="acme", namespace="*/prod/#", op="put")
    assert pattern == "*.acme.*.prod.#.put"
    assert keys.matches(pattern, keys.build(CHANGED, changed("eu/prod/a/b")))
    assert not keys.matches(pattern, keys.build(CHANGED, changed("eu/test")))
    with pytest.raises(ValueError, match="namespace: \\* and # stand for whole words"):
        keys.pattern(CHANGED, namespace="eu*/prod")


@pytest.mark.parametrize("key", ["", "primary.group", "route.ci"])
def test_parse_refuses_keys_with_too_few_words(key: str) -> None:
    with pytest.raises(ValueError, match="expected a key of 4 words"):
        keys.parse(GROUP, key)


def test_a_pattern_has_a_star_per_unset_word_and_a_hash_for_the_reserved_one() -> None:
    assert keys.pattern(DEFINED) == "*.*.*.*.*.*.*.*.*.#"
    assert keys.pattern(DEFINED, routing_key_kind="primary", task_id="*", run_id=3, worker_type="gaia") == (
        "primary.*.3.*.*.*.gaia.*.*.#"
    )


def test_a_pattern_asks_for_an_absent_word() -> None:
    assert keys.pattern(GROUP, scheduler_id="_") == "*.*._.#"


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        ("task", "x", "has no such word; expected one of routing_key_kind, task_group_id"),
        ("task_group_id", "", "expected 1 to 22 bytes"),
        ("task_group_id", "a.b", "without a dot"),
        ("task_group_id", "ab*", "stands for a whole word"),
        ("task_group_id", "#", "stands for a whole word"),
        ("routing_key_kind", "route", "is always 'primary'"),
    ],
)
def test_a_pattern_that_can_match_nothing_is_refused_by_name(word: str, value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{word}: .*{re.escape(reason)}"):
        keys.pattern(GROUP, **{word: value})


generic_id = st.from_regex(r"[a-zA-Z0-9_-]{1,22}", fullmatch=True)


@given(exchange=st.sampled_from(EXCHANGES), data=st.data())
def test_the_pattern_of_some_of_a_keys_own_words_matches_the_key(
    exchange: Exchange, data: st.DataObject
) -> None:
    values = {
        word.parameter: word.constant or data.draw(generic_id)[: word.max_size] for word in exchange.words
    }
    asked = data.draw(st.sets(st.sampled_from(sorted(values))))
    pattern = keys.pattern(exchange, **{word: values[word] for word in asked})
    assert keys.matches(pattern, ".".join(values.values()))


def regex(pattern: str) -> re.Pattern[str]:
    """An independent model: each word with the dot after it is one unit."""
    units = {"*": r"[^.]*\.", "#": r"([^.]*\.)*"}
    words = pattern.split(".") if pattern else []
    return re.compile("".join(units.get(word, re.escape(word) + r"\.") for word in words))


def model(pattern: str, key: str) -> bool:
    return regex(pattern).fullmatch(key + "." if key else "") is not None


topic = st.lists(st.sampled_from(["a", "b", "", "*", "#"]), max_size=7).map(".".join)
plain = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=7).map(".".join)


@given(pattern=topic, key=plain)
def test_matching_agrees_with_a_regular_expression(pattern: str, key: str) -> None:
    assert keys.matches(pattern, key) is model(pattern, key)


def test_matching_many_hashes_takes_no_time_to_speak_of() -> None:
    assert not keys.matches("#.a." * 30 + "b", "a." * 100 + "a")


def test_dots_of_a_value_stand_in_its_word_as_something_else() -> None:
    exchange = exchange_for(JobResolvedMessage)
    message = JobResolvedMessage(
        job_id=samples.TASK_ID,
        type="FILE.ETL",
        state="DONE",
        env_id="prod.eu",
        task_group_id=samples.GROUP_ID,
        steps=(),
    )
    key = keys.build(exchange, message)
    assert key == f"primary.{samples.TASK_ID}.FILE_ETL.DONE.prod_eu.{samples.GROUP_ID}._"
    assert keys.matches(keys.pattern(exchange, type="FILE.ETL", env_id="prod.eu"), key)

"""The declarations, against the reference and against the limits of AMQP."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from events.exchanges import (
    EXCHANGES,
    MAX_KEY_BYTES,
    QUEUE_EXCHANGES,
    Exchange,
    Word,
    exchange_for,
    find_exchange,
)
from events.reference import reference
from schemas.messages import Message, TaskDefinedMessage

REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference" / "queue-exchanges.json"
ENTRIES: list[dict[str, Any]] = json.loads(REFERENCE.read_text())["entries"] if REFERENCE.exists() else []
OWN_PROSE = {"title", "description", "summary"}


def without_prose(entry: dict[str, Any]) -> dict[str, Any]:
    words = [{k: v for k, v in word.items() if k not in OWN_PROSE} for word in entry["routingKey"]]
    return {k: v for k, v in entry.items() if k not in OWN_PROSE} | {"routingKey": words}


@pytest.mark.skipif(not ENTRIES, reason="the shared reference is not beside this repository")
def test_all_exchanges_of_the_reference_are_declared_in_its_order() -> None:
    assert [exchange.full_name for exchange in QUEUE_EXCHANGES] == [e["fullExchange"] for e in ENTRIES]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["exchange"])
def test_names_words_sizes_flags_and_schema_are_those_of_the_reference(entry: dict[str, Any]) -> None:
    ours = {e["exchange"]: e for e in reference()["entries"]}[entry["exchange"]]
    assert without_prose(ours) == entry


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_the_longest_key_fits_into_a_short_string(exchange: Exchange) -> None:
    assert sum(word.max_size for word in exchange.words) + len(exchange.words) - 1 <= MAX_KEY_BYTES


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_every_exchange_and_word_is_explained(exchange: Exchange) -> None:
    assert exchange.title
    assert exchange.description
    assert all(word.summary for word in exchange.words)


def test_exchanges_are_found_by_payload_and_by_name() -> None:
    exchange = exchange_for(TaskDefinedMessage)
    assert exchange.full_name == "exchange/taskcluster-queue/v1/task-defined"
    assert find_exchange(exchange.full_name) is exchange
    assert find_exchange("exchange/of-somebody/else") is None


def test_a_payload_without_exchange_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="no exchange is declared for Message"):
        exchange_for(Message)


DEFINED = exchange_for(TaskDefinedMessage)


def test_a_declaration_with_too_long_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="routing key may take 256 bytes, the limit is 255"):
        replace(DEFINED, words=(Word("taskId", "", 256, source="status.task_id"),))


def test_a_declaration_whose_required_word_has_no_source_is_refused() -> None:
    with pytest.raises(ValueError, match="TaskDefinedMessage has no 'run_id' for runId"):
        replace(DEFINED, words=(Word("runId", "", 3, source="run_id"),))


def test_a_declaration_in_which_two_words_stand_for_several_is_refused() -> None:
    many = Word("many", "", 3, required=False, multiple_words=True)
    with pytest.raises(ValueError, match="only one word may stand for several"):
        replace(DEFINED, words=(many, many))


def test_another_service_declares_exchanges_with_its_own_prefix() -> None:
    theirs = replace(DEFINED, prefix="exchange/taskbus-hooks/v1/", name="hook-fired")
    assert theirs.full_name == "exchange/taskbus-hooks/v1/hook-fired"

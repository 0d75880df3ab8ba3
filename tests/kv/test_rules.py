"""The rules of leases, as a table: each state of a lease and each thing a consumer may say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from queue_service.core.errors import InputError, LeaseExpired, QueueError, RequestConflict
from queue_service.features.kv.workset_rules import (
    Ack,
    Extend,
    Held,
    Lease,
    LeaseVerb,
    Nack,
    SetKey,
    check_living,
    is_last,
    next_token,
    settle,
)

NOW: Final = datetime(2024, 5, 1, 12, tzinfo=UTC)
LATER: Final = NOW + timedelta(seconds=1)
SET: Final = SetKey("acme:crawl", "urls")
EACH: Final = Lease("lease", SET, "ack-each", None, LATER, 2)
BATCH: Final = replace(EACH, ack_mode="ack-batch")
TWO: Final = {name: Held(name, 1, False, None) for name in ("a", "b")}
EXTEND: Final = Extend(timedelta(minutes=1))

STATES: Final[dict[str, tuple[Lease, dict[str, Held]]]] = {
    "each": (EACH, TWO),
    "batch": (BATCH, TWO),
    "over": (replace(EACH, expires=NOW), TWO),
    "batch over": (replace(BATCH, expires=NOW), TWO),
    "robbed": (EACH, {"a": TWO["a"]}),
    "each acked": (replace(EACH, remaining=0, outcome="acked"), {}),
    "batch acked": (replace(BATCH, remaining=0, outcome="acked"), {}),
    "batch nacked": (replace(BATCH, remaining=0, outcome="nacked"), {}),
    "acked and over": (replace(BATCH, remaining=0, outcome="acked", expires=NOW), {}),
}
VERBS: Final[dict[str, LeaseVerb]] = {
    "ack": Ack(), "ack a": Ack(("a",)), "nack": Nack(), "nack a": Nack(("a",)), "extend": EXTEND,
}  # fmt: skip
TABLE: Final[dict[str, tuple[object, ...]]] = {
    # how many members are done with, or why nothing is done; in the order of VERBS
    "each": (2, 1, 2, 1, 0),
    "batch": (2, RequestConflict, 2, RequestConflict, 0),
    "over": (LeaseExpired,) * 5,
    "batch over": (LeaseExpired, RequestConflict, LeaseExpired, RequestConflict, LeaseExpired),
    "robbed": (LeaseExpired,) * 5,
    "each acked": (0, 0, 0, 0, RequestConflict),
    "batch acked": (0, RequestConflict, RequestConflict, RequestConflict, RequestConflict),
    "batch nacked": (RequestConflict, RequestConflict, 0, RequestConflict, RequestConflict),
    "acked and over": (0, RequestConflict, RequestConflict, RequestConflict, RequestConflict),
}


def outcome(state: str, verb: LeaseVerb) -> object:
    lease, held = STATES[state]
    try:
        step = settle(lease, held, verb, NOW)
    except QueueError as error:
        return type(error)
    done = len(step.removed) + len(step.returned) + len(step.died)
    assert step.lease.remaining == lease.remaining - done
    return done


@pytest.mark.parametrize("state", STATES)
def test_each_state_takes_each_verb_as_the_table_says(state: str) -> None:
    assert tuple(outcome(state, verb) for verb in VERBS.values()) == TABLE[state]


def test_an_extension_is_from_now() -> None:
    step = settle(EACH, TWO, EXTEND, NOW)
    assert (step.extended, step.lease.expires) == (True, NOW + timedelta(minutes=1))


def test_who_is_settled_already_is_passed_over() -> None:
    step = settle(EACH, TWO, Ack(("a", "a", "gone")), NOW)
    assert [member.member_id for member in step.removed] == ["a"]


def test_a_nacked_member_dies_returns_or_is_renewed() -> None:
    held = {
        "returns": Held("returns", 1, False, None),
        "returns as it was": Held("returns as it was", 1, False, "{}"),
        "dies": Held("dies", 3, True, None),
        "is renewed": Held("is renewed", 3, True, "{}"),
    }
    step = settle(replace(EACH, remaining=4), held, Nack(), NOW)
    assert [member.member_id for member in step.returned] == ["returns", "returns as it was"]
    assert [member.member_id for member in step.died] == ["dies"]
    assert [member.member_id for member in step.removed] == ["is renewed"]
    assert step.lease.outcome == "nacked"


@pytest.mark.parametrize(
    ("deliveries", "most", "last"), [(1, 0, False), (1, 1, True), (1, 2, False), (5, 2, True)]
)
def test_a_delivery_is_the_last(deliveries: int, most: int, last: bool) -> None:
    assert is_last(deliveries, most) == last


def test_a_token_grows_also_when_the_clock_goes_back() -> None:
    assert next_token(7, 100) == 100
    assert next_token(200, 100) == 201


def test_nothing_is_added_to_the_dead() -> None:
    check_living("dead")
    with pytest.raises(InputError):
        check_living("urls.dead")

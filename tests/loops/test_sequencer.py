"""In which order recorded messages leave: whatever the broker says and when, nothing overtakes."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.messages import OutboundMessage
from queue_service.loops.sequencer import Sequencer
from queue_service.store.outbox import OutboxRow

MESSAGE = OutboundMessage("exchange", "key", (), b"{}")


def row(number: int, *keys: str) -> OutboxRow:
    return OutboxRow(number, keys, MESSAGE)


def rows(*keys_of_each: str) -> list[OutboxRow]:
    """Rows 1, 2, … with these order keys, a letter each."""
    return [row(number, *keys) for number, keys in enumerate(keys_of_each, 1)]


def ids(found: list[OutboxRow]) -> list[int]:
    return [item.id for item in found]


def test_rows_without_a_common_key_leave_together_the_oldest_first() -> None:
    assert ids(Sequencer(rows("a", "b", "cd", "")).ready) == [1, 2, 3, 4]


def test_of_rows_with_a_common_key_only_the_oldest_leaves() -> None:
    given_rows = rows("a", "a", "ab", "b", "c")
    sequencer = Sequencer(given_rows)
    assert ids(sequencer.ready) == [1, 5]
    assert ids(sequencer.settle(given_rows[0], True)) == [2]
    assert ids(sequencer.settle(given_rows[1], True)) == [3]
    assert ids(sequencer.settle(given_rows[2], True)) == [4]
    assert sequencer.under_way == 2


def test_a_row_waits_for_all_of_its_keys() -> None:
    first, second, both = rows("a", "b", "ab")
    sequencer = Sequencer([first, second, both])
    assert ids(sequencer.settle(second, True)) == []
    assert ids(sequencer.settle(first, True)) == [3]


def test_a_row_with_two_keys_in_common_with_one_other_leaves_after_it() -> None:
    first, second = rows("ab", "ba")
    sequencer = Sequencer([first, second])
    assert ids(sequencer.settle(first, True)) == [2]


def test_a_refused_row_stops_what_is_behind_it_and_nothing_else() -> None:
    refused, behind, other = rows("a", "a", "b")
    sequencer = Sequencer([refused, behind, other])
    assert ids(sequencer.settle(refused, False)) == []
    assert ids(sequencer.settle(other, True)) == []
    assert (sequencer.confirmed, sequencer.refused, sequencer.under_way) == ([3], [1], 0)


# Whatever the broker does


@dataclass
class Broker:
    """Settles rows in an order and with an outcome that the test draws."""

    draw: Any
    refuses: bool
    sent: list[OutboxRow] = field(default_factory=list)
    unconfirmed: list[OutboxRow] = field(default_factory=list)
    confirmed: list[OutboxRow] = field(default_factory=list)
    refused: list[OutboxRow] = field(default_factory=list)

    def publish(self, sequencer: Sequencer) -> None:
        self._send(sequencer.ready)
        while self.unconfirmed:
            assert sequencer.under_way == len(self.unconfirmed)
            place = self.draw(st.integers(0, len(self.unconfirmed) - 1))
            settled = self.unconfirmed.pop(place)
            accepted = not (self.refuses and self.draw(st.booleans()))
            (self.confirmed if accepted else self.refused).append(settled)
            self._send(sequencer.settle(settled, accepted))
        assert sequencer.under_way == 0

    def _send(self, freed: list[OutboxRow]) -> None:
        for item in freed:
            assert not any(set(item.order_keys) & set(other.order_keys) for other in self.unconfirmed)
            self.sent.append(item)
            self.unconfirmed.append(item)


batches = st.lists(st.sets(st.sampled_from("abcde"), max_size=3), max_size=25).map(
    lambda keys: [row(number, *sorted(each)) for number, each in enumerate(keys, 1)]
)


@pytest.mark.parametrize("refuses", [False, True], ids=["confirming", "refusing"])
def test_nothing_is_sent_twice_and_rows_with_a_common_key_keep_their_order(refuses: bool) -> None:
    @settings(max_examples=50, deadline=None)
    @given(batches, st.data())
    def holds(batch: list[OutboxRow], data: Any) -> None:
        broker = Broker(data.draw, refuses)
        broker.publish(Sequencer(batch))
        assert len(set(ids(broker.sent))) == len(broker.sent)
        for key in "abcde":
            with_key = [item.id for item in broker.sent if key in item.order_keys]
            assert with_key == sorted(with_key)

    holds()


@settings(max_examples=50, deadline=None)
@given(batches, st.data())
def test_everything_is_sent_when_everything_is_confirmed(batch: list[OutboxRow], data: Any) -> None:
    sequencer, broker = Sequencer(batch), Broker(data.draw, refuses=False)
    broker.publish(sequencer)
    assert sorted(ids(broker.sent)) == ids(batch)
    assert sorted(sequencer.confirmed) == ids(batch)
    assert sequencer.refused == []


@settings(max_examples=50, deadline=None)
@given(batches, st.data())
def test_a_refusal_blocks_exactly_what_shares_its_keys(batch: list[OutboxRow], data: Any) -> None:
    """Directly, or through rows that are blocked themselves."""
    sequencer, broker = Sequencer(batch), Broker(data.draw, refuses=True)
    broker.publish(sequencer)
    refused, blocked, stopped = set(ids(broker.refused)), set[int](), set[str]()
    for item in batch:
        if item.id in refused or stopped & set(item.order_keys):
            stopped |= set(item.order_keys)
            blocked |= {item.id} - refused
    assert set(ids(batch)) - set(ids(broker.sent)) == blocked
    assert sorted(sequencer.refused) == sorted(refused)
    assert sorted(sequencer.confirmed) == sorted(ids(broker.confirmed))


def test_rows_that_share_a_key_wait_for_its_holder_and_not_for_each_other() -> None:
    """Dependents of one task are told together, after its end."""
    ended, first, second = row(1, "task"), row(2, "first", "~task"), row(3, "second", "~task")
    sequencer = Sequencer([ended, first, second])
    assert sequencer.ready == [ended]
    assert sequencer.settle(ended, True) == [first, second]


def test_the_next_holder_of_a_key_waits_for_all_that_share_it() -> None:
    """A group is told resolved after the ends of all its tasks, in whatever order they are confirmed."""
    one, other = row(1, "one", "~group"), row(2, "other", "~group")
    resolved, later = row(3, "group"), row(4, "one", "~group")
    sequencer = Sequencer([one, other, resolved, later])
    assert sequencer.ready == [one, other]
    assert sequencer.settle(other, True) == []
    assert sequencer.settle(one, True) == [resolved]
    assert sequencer.settle(resolved, True) == [later]


def test_a_refused_end_of_a_task_holds_back_the_message_of_its_group() -> None:
    one, other, resolved = row(1, "one", "~group"), row(2, "other", "~group"), row(3, "group")
    sequencer = Sequencer([one, other, resolved])
    assert sequencer.settle(one, False) == []
    assert sequencer.settle(other, True) == []
    assert sequencer.refused == [1]
    assert sequencer.under_way == 0

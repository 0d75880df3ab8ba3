"""Natural batching: one transaction at a time, shared by all calls that arrive while another is under way."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from queue_service.core.errors import QueueError, ResourceNotFound
from queue_service.operations.batching import MANY, Batcher, Overloaded
from queue_service.store.database import StoreUnavailable

Outcome = int | QueueError


class Transactions:
    """Doubles every item; each transaction waits until the test lets it go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.under_way = 0
        self.most_at_once = 0
        self.open = asyncio.Event()
        self.failures: dict[int, Exception] = {}
        """What a transaction with this item raises."""
        self.refusals: dict[int, QueueError] = {}
        """What this item is answered with."""
        self._begun = asyncio.Condition()

    async def run(self, items: Sequence[int]) -> list[Outcome]:
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            async with self._begun:
                self.batches.append(list(items))
                self._begun.notify_all()
            await self.open.wait()
            for item in items:
                if item in self.failures:
                    raise self.failures[item]
            return [self.refusals.get(item, item * 2) for item in items]
        finally:
            self.under_way -= 1

    async def begun(self, count: int) -> None:
        async with self._begun:
            await self._begun.wait_for(lambda: len(self.batches) >= count)


@pytest.fixture
def transactions() -> Transactions:
    return Transactions()


def submitted(batcher: Batcher[int, int], *items: int, weight: int = 1) -> list["asyncio.Task[int]"]:
    return [asyncio.create_task(batcher.submit(item, weight=weight)) for item in items]


async def results(calls: Sequence["asyncio.Task[int]"]) -> list[object]:
    """What every call came to; an exception by its text."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    return [str(item) if isinstance(item, Exception) else item for item in found]


async def with_first_under_way(transactions: Transactions, batcher: Batcher[int, int]) -> "asyncio.Task[int]":
    (first,) = submitted(batcher, 0)
    await transactions.begun(1)
    return first


async def test_a_lone_call_starts_at_once(transactions: Transactions) -> None:
    transactions.open.set()
    assert await Batcher(transactions.run).submit(4) == 8
    assert transactions.batches == [[4]]


async def test_calls_that_arrive_meanwhile_go_together_in_their_order(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run)
    first = await with_first_under_way(transactions, batcher)
    rest = submitted(batcher, 3, 1, 2)
    await asyncio.sleep(0)
    transactions.open.set()
    assert await results([first, *rest]) == [0, 6, 2, 4]
    assert transactions.batches == [[0], [3, 1, 2]]


async def test_one_transaction_of_a_kind_is_under_way_at_a_time(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run, max_items=5)
    transactions.open.set()
    assert await results(submitted(batcher, *range(50))) == [item * 2 for item in range(50)]
    assert transactions.most_at_once == 1
    assert list(itertools.chain(*transactions.batches)) == list(range(50))


async def test_a_batch_has_no_more_items_than_allowed(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run, max_items=2)
    first = await with_first_under_way(transactions, batcher)
    rest = submitted(batcher, 1, 2, 3)
    await asyncio.sleep(0)
    transactions.open.set()
    await results([first, *rest])
    assert transactions.batches == [[0], [1, 2], [3]]


async def test_a_batch_weighs_no_more_than_allowed_but_for_one_heavy_item(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run, max_weight=10)
    first = await with_first_under_way(transactions, batcher)
    rest = [
        *submitted(batcher, 1, 2, weight=5),
        *submitted(batcher, 3, weight=1),
        *submitted(batcher, 4, weight=99),
        *submitted(batcher, 5, weight=1),
    ]
    await asyncio.sleep(0)
    transactions.open.set()
    await results([first, *rest])
    assert transactions.batches == [[0], [1, 2], [3], [4], [5]]


async def test_after_an_idle_time_the_next_call_starts_at_once(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run)
    transactions.open.set()
    for item in (1, 2):
        assert await batcher.submit(item) == item * 2
    assert transactions.batches == [[1], [2]]


# Cancellation


async def test_a_caller_that_leaves_the_line_is_left_out(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run)
    first = await with_first_under_way(transactions, batcher)
    one, two, three = submitted(batcher, 1, 2, 3)
    await asyncio.sleep(0)
    two.cancel()
    await asyncio.sleep(0)
    transactions.open.set()
    assert await results([first, one, three]) == [0, 2, 6]
    assert transactions.batches == [[0], [1, 3]]


async def test_a_line_that_everybody_left_runs_nothing(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run)
    first = await with_first_under_way(transactions, batcher)
    for call in (left := submitted(batcher, 1, 2)):
        await asyncio.sleep(0)
        call.cancel()
    await asyncio.wait(left)
    transactions.open.set()
    assert await first == 0
    await batcher.close()
    assert transactions.batches == [[0]]
    assert await batcher.submit(5) == 10


async def test_a_transaction_goes_on_without_a_caller_that_leaves(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run)
    first = await with_first_under_way(transactions, batcher)
    rest = submitted(batcher, 1)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    transactions.open.set()
    assert await results(rest) == [2]
    assert transactions.batches == [[0], [1]]


# Failures


async def test_a_refused_item_does_not_fail_its_neighbours(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run)
    transactions.refusals[2] = ResourceNotFound("no such thing")
    transactions.open.set()
    assert await results(submitted(batcher, 1, 2, 3)) == [2, "no such thing", 6]
    assert transactions.batches == [[1, 2, 3]]


async def test_a_batch_that_fails_is_tried_item_by_item(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run)
    transactions.failures[2] = ZeroDivisionError("a fault of ours")
    transactions.open.set()
    assert await results(submitted(batcher, 1, 2, 3)) == [2, "a fault of ours", 6]
    assert transactions.batches == [[1, 2, 3], [1], [2], [3]]


async def test_a_caller_that_left_is_not_tried_again(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run)
    transactions.failures[2] = ZeroDivisionError("a fault of ours")
    one, two, three = submitted(batcher, 1, 2, 3)
    await transactions.begun(1)
    three.cancel()
    await asyncio.wait([three])
    transactions.open.set()
    assert await results([one, two]) == [2, "a fault of ours"]
    await batcher.close()
    assert transactions.batches == [[1, 2, 3], [1], [2]]


async def test_an_unavailable_store_fails_the_whole_batch_without_more_tries(
    transactions: Transactions,
) -> None:
    batcher = Batcher(transactions.run)
    transactions.failures[2] = StoreUnavailable("gone")
    transactions.open.set()
    assert await results(submitted(batcher, 1, 2, 3)) == ["gone"] * 3
    assert transactions.batches == [[1, 2, 3]]
    assert await batcher.submit(4) == 8


async def test_a_line_that_is_too_long_is_refused_at_once(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run, max_waiting=2)
    first = await with_first_under_way(transactions, batcher)
    rest = submitted(batcher, 1, 2)
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="2 calls of this kind wait already"):
        await batcher.submit(3)
    transactions.open.set()
    assert await results([first, *rest]) == [0, 2, 4]
    assert await batcher.submit(3) == 6


async def test_closing_waits_until_the_line_is_worked_off(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run, max_items=1)
    await batcher.close()
    calls = submitted(batcher, 1, 2, 3)
    await transactions.begun(1)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    assert not closing.done()
    transactions.open.set()
    await closing
    assert [call.done() for call in calls] == [True] * 3


async def test_a_second_lane_takes_what_waits_when_that_is_much(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run, lanes=2)
    first = await with_first_under_way(transactions, batcher)
    few = submitted(batcher, *range(1, MANY))
    await asyncio.sleep(0)
    assert transactions.batches == [[0]]
    rest = submitted(batcher, *range(MANY, 2 * MANY + 1))
    await transactions.begun(2)
    assert transactions.batches == [[0], list(range(1, 2 * MANY + 1))]
    transactions.open.set()
    assert await results([first, *few, *rest]) == [2 * item for item in range(2 * MANY + 1)]
    assert transactions.most_at_once == 2


async def test_with_one_lane_no_transaction_begins_beside_another(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run)
    first = await with_first_under_way(transactions, batcher)
    rest = submitted(batcher, *range(1, 4 * MANY))
    transactions.open.set()
    await results([first, *rest])
    assert transactions.most_at_once == 1


async def test_the_close_waits_for_every_lane(transactions: Transactions) -> None:
    batcher = Batcher(transactions.run, lanes=2)
    first = await with_first_under_way(transactions, batcher)
    rest = submitted(batcher, *range(1, 2 * MANY))
    await transactions.begun(2)
    transactions.open.set()
    await batcher.close()
    assert transactions.under_way == 0
    assert sorted(item for batch in transactions.batches for item in batch) == list(range(2 * MANY))
    await results([first, *rest])

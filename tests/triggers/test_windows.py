"""Contiguous ranges never overlap and never leave a hole (``seed-systems.md`` TR-5, F.12)."""

from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from queue_service.features.triggers import windows
from queue_service.features.triggers.windows import Coverage, Range
from schemas.triggers import Window

START = datetime(2024, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def window(**members: object) -> Window:
    return Window.model_validate({"size": "1h", **members})


def hours(*pairs: tuple[int, int]) -> list[Range]:
    return [Range(START + first * HOUR, START + last * HOUR) for first, last in pairs]


def covered(coverage: Coverage, ranges: list[Range], *task_ids: str) -> Coverage:
    for range_, task_id in zip(ranges, task_ids, strict=True):
        coverage = windows.begun(coverage, range_, task_id)
    return coverage


def test_without_a_start_the_range_ends_at_the_tick_less_the_offset() -> None:
    assert windows.range_at(window(size="2h", offset="1h"), START + 5 * HOUR) == hours((2, 4))[0]


def test_a_tick_covers_one_whole_range_that_is_over_and_as_many_as_catch_up_allows() -> None:
    coverage = Coverage(START)
    assert windows.due_ranges(coverage, window(), START + HOUR - timedelta(milliseconds=1)) == []
    assert windows.due_ranges(coverage, window(), START + HOUR) == hours((0, 1))
    assert windows.due_ranges(coverage, window(), START + 5 * HOUR) == hours((0, 1))
    assert windows.due_ranges(coverage, window(catchUp=3), START + 5 * HOUR) == hours((0, 1), (1, 2), (2, 3))
    assert windows.due_ranges(coverage, window(catchUp=9, offset="3h"), START + 5 * HOUR) == hours(
        (0, 1), (1, 2)
    )


def test_the_watermark_moves_when_the_task_completed_and_not_over_one_that_has_not() -> None:
    coverage = covered(Coverage(START), hours((0, 1), (1, 2)), "a", "b")
    assert coverage.mark == START
    coverage = windows.ended(coverage, "b", completed=True)
    assert coverage.mark == START
    coverage = windows.ended(coverage, "a", completed=True)
    assert coverage == Coverage(START + 2 * HOUR)


def test_a_failed_range_comes_again_before_later_ones_until_it_may_not() -> None:
    coverage = covered(Coverage(START), hours((0, 1)), "a")
    coverage = windows.ended(coverage, "a", completed=False)
    assert windows.exhausted(coverage, 1) is None
    assert windows.due_ranges(coverage, window(), START + 9 * HOUR) == hours((0, 1))
    coverage = windows.ended(windows.begun(coverage, hours((0, 1))[0], "b"), "b", completed=False)
    assert windows.exhausted(coverage, 1) == hours((0, 1))[0]
    assert windows.exhausted(windows.forgiven(coverage), 1) is None


def test_the_end_of_an_earlier_try_changes_nothing() -> None:
    coverage = windows.ended(covered(Coverage(START), hours((0, 1)), "a"), "a", completed=False)
    coverage = windows.begun(coverage, hours((0, 1))[0], "b")
    assert windows.ended(coverage, "a", completed=True) == coverage


class Ranges(RuleBasedStateMachine):
    """A trigger whose tasks complete, fail and are late, and whose window is edited, over months."""

    @initialize(offset=st.integers(0, 3))
    def begin(self, offset: int) -> None:
        self.coverage = Coverage(START)
        self.now = START
        self.window = window(offset=f"{offset}h")
        self.retries = 2
        self.first_tries: list[Range] = []
        self.tries: dict[Range, int] = {}
        self.running: dict[str, Range] = {}
        self.failed: list[Range] = []
        self.completed: set[Range] = set()
        self.ids = map(str, count())

    @rule(later=st.integers(0, 600), catch_up=st.integers(1, 5))
    def tick(self, later: int, catch_up: int) -> None:
        self.now += later * timedelta(minutes=1)
        if windows.exhausted(self.coverage, self.retries):
            return
        window_ = self.window.model_copy(update={"catch_up": catch_up})
        for range_ in windows.due_ranges(self.coverage, window_, self.now):
            assert range_.end + window_.offset <= self.now
            if range_ in self.failed:
                self.failed.remove(range_)
            else:
                assert not self.failed, "a later range came before one that had failed"
                assert range_.start == (self.first_tries[-1].end if self.first_tries else START)
                self.first_tries.append(range_)
            self.tries[range_] = self.tries.get(range_, 0) + 1
            task_id = next(self.ids)
            self.running[task_id] = range_
            self.coverage = windows.begun(self.coverage, range_, task_id)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), completed=st.booleans())
    def end(self, data: st.DataObject, completed: bool) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.running)))
        range_ = self.running.pop(task_id)
        self.coverage = windows.ended(self.coverage, task_id, completed=completed)
        if completed:
            self.completed.add(range_)
        else:
            self.failed.append(range_)

    @rule(size=st.integers(1, 50))
    def edit(self, size: int) -> None:
        self.window = window(size=f"{size * 10}m", offset=self.window.offset)

    @rule()
    def resume(self) -> None:
        if windows.exhausted(self.coverage, self.retries):
            self.coverage = windows.forgiven(self.coverage)
            for range_ in self.failed:
                self.tries[range_] = 0

    @invariant()
    def the_mark_is_the_end_of_what_is_completed_without_a_gap(self) -> None:
        mark = START
        for range_ in self.first_tries:
            if range_ not in self.completed:
                break
            mark = range_.end
        assert self.coverage.mark == mark

    @invariant()
    def nothing_is_tried_too_often(self) -> None:
        assert all(tries <= self.retries + 1 for tries in self.tries.values())


TestRanges = Ranges.TestCase
TestRanges.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.integers(1, 50), st.integers(0, 100))
def test_any_number_of_ticks_covers_everything_that_is_over(catch_up: int, ticks: int) -> None:
    coverage, now = Coverage(START), START
    for number in range(ticks):
        now += catch_up * HOUR
        for range_ in windows.due_ranges(coverage, window(catchUp=catch_up), now):
            task_id = f"{number} {range_.start}"
            coverage = windows.ended(windows.begun(coverage, range_, task_id), task_id, completed=True)
    assert coverage == Coverage(START + ticks * catch_up * HOUR)

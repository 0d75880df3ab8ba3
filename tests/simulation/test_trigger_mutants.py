"""The checker knows triggers: each of these faults of the service is found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from queue_service.features.triggers import clock, fires, rules, ticks, windows
from queue_service.features.triggers.firing import Rendered, TriggerFiring
from queue_service.features.triggers.rules import Step, Trigger
from queue_service.features.triggers.windows import Coverage, Range
from schemas.ids import slugid
from tests.simulation.plan import triggers_alone
from tests.simulation.run import simulate

FIRST_SEED: Final = 3000
LIVES: Final = 100
"""At most so many until a mutant is found."""

Patch = pytest.MonkeyPatch


def fire_a_tick_twice(patch: Patch) -> None:
    tick = rules.tick

    def mutant(trigger: Trigger, now: Any, new_id: Any) -> Step:
        step = tick(trigger, now, new_id)
        again = [replace(firing, task_id=slugid()) for firing in step.firings]
        return Step(step.trigger, (*step.firings, *again))

    patch.setattr(rules, "tick", mutant)
    patch.setattr(Rendered, "occasion", property(lambda self: self.firing.task_id))


def forget_what_has_fired(patch: Patch) -> None:
    """Nothing but the record of its firing keeps a tick from firing again: it comes due again."""
    due_ticks = ticks.due_ticks

    def mutant(schedule: Any, next_tick: Any, now: Any, misfire: Any) -> Any:
        found, following = due_ticks(schedule, next_tick, now, misfire)
        return found, found[-1] if found else following

    patch.setattr(rules, "due_ticks", mutant)
    patch.setattr(Rendered, "occasion", property(lambda self: self.firing.task_id))


def lose_a_tick(patch: Patch) -> None:
    """The next tick is committed, as if the tasks were to follow in a transaction of their own."""

    async def mutant(self: Any, tx: Any) -> Any:
        due = await clock.store.pick_due(tx, tx.now + ticks.TOGETHER, clock.BATCH)
        steps = [(trigger, rules.tick(trigger, tx.now, slugid)) for trigger in due]
        await clock.store.save(tx, [(trigger, step.trigger) for trigger, step in steps])
        return len(due), [], []

    patch.setattr(clock.Clock, "_fire_due", mutant)


def forget_what_was_missed(patch: Patch) -> None:
    """As if all triggers skipped what they were late for."""
    due_ticks = ticks.due_ticks
    patch.setattr(
        rules, "due_ticks", lambda schedule, next_tick, now, _: due_ticks(schedule, next_tick, now, "skip")
    )


def fire_all_that_was_missed(patch: Patch) -> None:
    due_ticks = ticks.due_ticks
    patch.setattr(
        rules, "due_ticks", lambda schedule, next_tick, now, _: due_ticks(schedule, next_tick, now, "all")
    )


def drift(patch: Patch) -> None:
    """The next tick is counted from now."""
    patch.setattr(ticks.Every, "after", lambda self, moment: moment + self.duration)


def fire_when_somebody_looks(patch: Patch) -> None:
    async def mutant(self: Any) -> None:
        return None

    patch.setattr(clock.Clock, "_next_due", mutant)


def fire_while_paused(patch: Patch) -> None:
    tick, due = rules.tick, Trigger.due

    def mutant(trigger: Trigger, now: Any, new_id: Any) -> Step:
        if trigger.state != "paused":
            return tick(trigger, now, new_id)
        step = tick(replace(trigger, state="active"), now, new_id)
        return replace(step, trigger=replace(step.trigger, state="paused"))

    def next_look(trigger: Trigger) -> Any:
        return trigger.next_tick if trigger.state == "paused" else due.__get__(trigger)

    patch.setattr(rules, "tick", mutant)
    patch.setattr(Trigger, "due", property(next_look))


def overlap(patch: Patch) -> None:
    """Ticks do not wait for the tasks before them."""
    tick = rules.tick
    patch.setattr(rules, "tick", lambda trigger, *rest: tick(replace(trigger, unfinished=()), *rest))


def forget_the_tick_that_waits(patch: Patch) -> None:
    tick = rules.tick

    def mutant(*given: Any) -> Step:
        step = tick(*given)
        return replace(step, trigger=replace(step.trigger, waiting=None))

    patch.setattr(rules, "tick", mutant)


def leave_a_gap(patch: Patch) -> None:
    """New ranges begin a second after the last one, as if their ends were inclusive."""
    due_ranges = windows.due_ranges
    second = timedelta(seconds=1)

    def mutant(coverage: Coverage, *rest: Any) -> list[Range]:
        known = {covered.range for covered in coverage.ranges}
        due = due_ranges(coverage, *rest)
        return [one if one in known else Range(one.start + second, one.end) for one in due]

    def begun(coverage: Coverage, range_: Range, task_id: str) -> Coverage:
        if any(covered.range == range_ for covered in coverage.ranges):
            return known_begun(coverage, range_, task_id)
        return replace(coverage, ranges=(*coverage.ranges, windows.Covered(range_, task_id)))

    known_begun = windows.begun
    patch.setattr(windows, "due_ranges", mutant)
    patch.setattr(windows, "begun", begun)


def move_the_watermark_when_a_task_fails(patch: Patch) -> None:
    ended = windows.ended
    patch.setattr(
        windows, "ended", lambda coverage, task_id, completed: ended(coverage, task_id, completed=True)
    )


def move_the_watermark_when_a_task_is_created(patch: Patch) -> None:
    begun = windows.begun

    def mutant(coverage: Coverage, range_: Range, task_id: str) -> Coverage:
        return windows.ended(begun(coverage, range_, task_id), task_id, completed=True)

    patch.setattr(windows, "begun", mutant)


def skip_ranges_that_failed(patch: Patch) -> None:
    due_ranges = windows.due_ranges

    def mutant(coverage: Coverage, *rest: Any) -> list[Range]:
        failed = {covered.range for covered in coverage.ranges if covered.state == "failed"}
        return [one for one in due_ranges(coverage, *rest) if one not in failed]

    patch.setattr(windows, "due_ranges", mutant)


def try_a_range_for_ever(patch: Patch) -> None:
    patch.setattr(windows, "exhausted", lambda coverage, retries: None)


def leave_triggers_to_wait_for_ended_tasks(patch: Patch) -> None:
    async def mutant(connection: Any, task_ids: Any) -> list[Any]:
        return []

    patch.setattr(fires, "of_tasks", mutant)


def say_nothing_of_the_blocked(patch: Patch) -> None:
    patch.setattr("queue_service.features.triggers.changes._told", lambda before, after: [])


def tell_the_task_another_tick(patch: Patch) -> None:
    """A tick that is fired late is told as if it were now."""
    render = TriggerFiring.render

    async def mutant(self: Any, trigger: Trigger, firing: Any, *rest: Any) -> Rendered:
        now = self._database.clock.now()
        late = replace(firing, scheduled_for=now if firing.scheduled_for else None)
        return replace(await render(self, trigger, late, *rest), firing=firing)

    patch.setattr(TriggerFiring, "render", mutant)


MUTANTS: Final[tuple[Callable[[Patch], None], ...]] = (
    fire_a_tick_twice,
    forget_what_has_fired,
    lose_a_tick,
    forget_what_was_missed,
    fire_all_that_was_missed,
    drift,
    fire_when_somebody_looks,
    fire_while_paused,
    overlap,
    forget_the_tick_that_waits,
    leave_a_gap,
    move_the_watermark_when_a_task_fails,
    move_the_watermark_when_a_task_is_created,
    skip_ranges_that_failed,
    try_a_range_for_ever,
    leave_triggers_to_wait_for_ended_tasks,
    say_nothing_of_the_blocked,
    tell_the_task_another_tick,
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_broken_service_is_caught(mutate: Callable[[Patch], None]) -> None:
    with Patch.context() as patch:
        mutate(patch)
        run = simulate(range(FIRST_SEED, FIRST_SEED + LIVES), shrunk=False, plans=triggers_alone)
    assert run.failures, f"{LIVES} lives, and nothing was found"
    healthy = simulate([FIRST_SEED + run.lives - 1], plans=triggers_alone)
    assert not healthy.failures, "it was not the mutation that was found"

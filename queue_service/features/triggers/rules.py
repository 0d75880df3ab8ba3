"""A trigger as a value, and what ticks, ends of tasks and its owner do to it (``seed-systems.md`` D.5)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from queue_service.core.definition import equal_json
from queue_service.core.errors import InputError, RequestConflict, ResourceNotFound
from queue_service.features.firing import cron, json_schema
from queue_service.features.triggers import filters, windows
from queue_service.features.triggers.ticks import Schedule, due_ticks, schedule_of
from queue_service.features.triggers.windows import Coverage, Range
from schemas.times import MILLISECOND, format_time
from schemas.triggers import CreateTriggerRequest, FiredBy, Interval, TriggerState

MAX_FIRINGS: Final = 100
"""Of one trigger in one pass; the rest follows in the next."""

Key = tuple[str, str]
"""Group and id."""
NewId = Callable[[], str]


@dataclass(frozen=True)
class Trigger:
    """A trigger as it is stored."""

    group_id: str
    trigger_id: str
    definition: CreateTriggerRequest
    created: datetime
    offset: timedelta = timedelta(0)
    """What was drawn once (TR-4)."""
    state: TriggerState = "active"
    next_tick: datetime | None = None
    """The first tick of the schedule that was not looked at; of a workset, when to pop next."""
    waiting: datetime | None = None
    """A tick that fires as soon as it may: at once, or when the tasks before it have ended.

    Of a workset, when to extend leases.
    """
    unfinished: tuple[str, ...] = ()
    """The tasks that the next tick waits for, if ticks must not overlap; those that work on batches."""
    coverage: Coverage | None = None
    """Of contiguous ranges."""
    fires: int = 0
    counted: int = 0
    """Firings that count for the limit."""
    version: int = 0

    @property
    def key(self) -> Key:
        return self.group_id, self.trigger_id

    @property
    def role(self) -> str:
        """Whose scopes its tasks may have."""
        return f"trigger-id:{self.group_id}/{self.trigger_id}"

    @property
    def watermark_name(self) -> str:
        """The key under which its watermark is kept (TR-5)."""
        window = self.definition.window
        named = window.start.name if window is not None and window.start is not None else None
        return named or f"watermark/{self.group_id}/{self.trigger_id}"

    @property
    def schedule(self) -> Schedule | None:
        timed = self.definition.timed
        return None if timed is None else schedule_of(timed, self.created, self.offset)

    @property
    def due(self) -> datetime | None:
        """When it must be looked at; None for never."""
        if self.state != "active":
            return self.waiting if self.unfinished and self.definition.pop_batch is not None else None
        held_up = self.unfinished and self.definition.pop_batch is None
        waiting = None if held_up else self.waiting
        return min((moment for moment in (self.next_tick, waiting) if moment is not None), default=None)

    @property
    def blocked_because(self) -> str | None:
        """Why it is blocked, if it is."""
        if self.coverage is None or self.state != "blocked":
            return None
        failed = windows.exhausted(self.coverage, self.definition.retry.retries)
        return None if failed is None else _failed_text(failed)


@dataclass(frozen=True, slots=True)
class Firing:
    """A task to create, and why."""

    task_id: str
    fired_by: FiredBy
    scheduled_for: datetime | None = None
    """The nominal time of its tick."""
    window: Range | None = None
    again: bool = False
    """Whether its range was covered before, by a task that failed."""


@dataclass(frozen=True, slots=True)
class Step:
    """A trigger after something has happened, and what is to be fired."""

    trigger: Trigger
    firings: tuple[Firing, ...] = field(default=())


def trigger_not_found(key: Key) -> ResourceNotFound:
    group_id, trigger_id = key
    return ResourceNotFound(f"There is no trigger `{trigger_id}` in the group `{group_id}`.")


# ---- defining ----------------------------------------------------------------------------------------


def check_definition(definition: CreateTriggerRequest) -> None:
    """Raise InputError for what is wrong with a definition although it has the right shape."""
    if definition.cron is not None:
        cron.check(definition.cron.cron, "/cron/cron")
        _check_zone(definition.cron.timezone)
    if definition.message is not None:
        filters.check(definition.message)
    _check_window(definition)
    if (problem := json_schema.problem(definition.payload_schema)) is not None:
        place, reason = problem
        raise InputError(f"`/payloadSchema{place}`: this is no JSON Schema: {reason}")


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InputError(
            f"`/cron/timezone`: there is no time zone `{name}`. Expected a name such as Europe/Berlin."
        ) from None


def _check_window(definition: CreateTriggerRequest) -> None:
    """Contiguous ranges must be covered as fast as time goes by."""
    timed, window = definition.timed, definition.window
    if window is None or window.start is None:
        return
    if isinstance(timed, Interval) and timed.duration > window.size * window.catch_up:
        raise InputError(
            "`/interval/window/size`: these ranges cannot be contiguous: a tick comes each "
            f"{timed.duration.total_seconds():g} s and covers {window.size.total_seconds():g} s at most "
            f"{window.catch_up} times. Expected a larger `size`, or a larger `catchUp`."
        )


def refuse_different(stored: CreateTriggerRequest, wanted: CreateTriggerRequest) -> None:
    """Pass when both say the same. Raises RequestConflict (R-6)."""
    if not equal_json(stored.to_wire(), wanted.to_wire()):
        raise RequestConflict("The trigger exists already, and with another definition. Use `updateTrigger`.")


def drawn(definition: CreateTriggerRequest, share: float) -> timedelta:
    """The offset of all ticks, for a number drawn from [0, 1)."""
    timed = definition.timed
    if timed is None or timed.random_offset is None:
        return timedelta(0)
    return timed.random_offset * share // MILLISECOND * MILLISECOND


def created(
    key: Key, definition: CreateTriggerRequest, now: datetime, offset: timedelta, mark: datetime | None
) -> Trigger:
    """A new trigger. ``mark``: the watermark that is kept under its name."""
    trigger = Trigger(*key, definition, now, offset, coverage=_begin(definition, mark, now))
    return _scheduled(trigger, now, enabled=True)


def edited(
    trigger: Trigger,
    definition: CreateTriggerRequest,
    now: datetime,
    offset: timedelta,
    mark: datetime | None,
) -> Trigger:
    """With another definition, in force before its next tick (TR-12).

    What was drawn stays unless the range to draw from is another, ranges go on unless they begin elsewhere,
    and the next tick stays unless the schedule is another.
    """
    before = trigger.definition
    after = replace(trigger, definition=definition)
    if _random_offset(before) != _random_offset(definition):
        after = replace(after, offset=offset)
    if _start(before) != _start(definition):
        after = replace(after, coverage=_begin(definition, mark, now))
    limit = None if definition.message is None else definition.message.limit
    if trigger.state == "exhausted" and (limit is None or trigger.counted < limit):
        after = replace(after, state="active")
    if definition.overlap == "allow":
        after = replace(after, unfinished=())
    same = (before.interval, before.cron, before.pop_batch) == (
        definition.interval,
        definition.cron,
        definition.pop_batch,
    )
    return after if same else _scheduled(replace(after, waiting=None), now, enabled=False)


def paused(trigger: Trigger) -> Trigger:
    """Nothing fires it any more but its owner. Raises RequestConflict for one that has ended."""
    if trigger.state not in ("active", "paused"):
        raise RequestConflict(f"The trigger is {trigger.state} and fires nothing that could be paused.")
    return replace(trigger, state="paused")


def resumed(trigger: Trigger, now: datetime) -> Trigger:
    """It fires again; of what it missed meanwhile as much as its misfire rule says (TR-12).

    A blocked one tries what has failed as often again. Raises RequestConflict for an exhausted one.
    """
    if trigger.state == "exhausted":
        raise RequestConflict("The trigger has fired as often as its `limit` allows: update it with another.")
    if trigger.state == "active":
        return trigger
    coverage = None if trigger.coverage is None else windows.forgiven(trigger.coverage)
    after = replace(trigger, state="active", coverage=coverage)
    if trigger.definition.pop_batch is not None:
        return after if trigger.schedule is not None else replace(after, next_tick=now)
    return replace(after, waiting=now) if _immediate(after) else after


def _begin(definition: CreateTriggerRequest, mark: datetime | None, now: datetime) -> Coverage | None:
    window = definition.window
    if window is None or window.start is None:
        return None
    return Coverage(mark or window.start.start_time or now)


def _scheduled(trigger: Trigger, now: datetime, *, enabled: bool) -> Trigger:
    schedule = trigger.schedule
    if trigger.definition.pop_batch is not None and (schedule is None or (enabled and _immediate(trigger))):
        return replace(trigger, next_tick=now)
    next_tick = None if schedule is None else schedule.after(now)
    waiting = now if enabled and _immediate(trigger) else trigger.waiting
    return replace(trigger, next_tick=next_tick, waiting=waiting)


def _immediate(trigger: Trigger) -> bool:
    timed = trigger.definition.timed
    return timed is not None and timed.immediate


def _random_offset(definition: CreateTriggerRequest) -> timedelta | None:
    return None if definition.timed is None else definition.timed.random_offset


def _start(definition: CreateTriggerRequest) -> object:
    return None if definition.window is None else definition.window.start


# ---- firing ------------------------------------------------------------------------------------------


def tick(trigger: Trigger, now: datetime, new_id: NewId) -> Step:
    """Fire what the clock has brought."""
    schedule, definition = trigger.schedule, trigger.definition
    if trigger.state != "active" or schedule is None:
        return Step(trigger)
    ticks, following = due_ticks(schedule, trigger.next_tick, now, definition.misfire)
    if trigger.waiting is not None:
        ticks.insert(0, trigger.waiting)
    trigger = replace(trigger, next_tick=following, waiting=None)
    firings: list[Firing] = []
    for moment in ticks:
        if len(firings) >= MAX_FIRINGS:
            trigger = replace(trigger, next_tick=moment)
            break
        if trigger.unfinished and definition.overlap != "allow":
            trigger = replace(trigger, waiting=moment if definition.overlap == "queue-one" else None)
            continue
        step = _fired(trigger, moment, "interval" if definition.interval else "cron", new_id)
        trigger = step.trigger
        firings.extend(step.firings)
    return Step(trigger, tuple(firings))


def by_hand(trigger: Trigger, now: datetime, new_id: NewId) -> Step:
    """Fire once because somebody wants it, whatever the state and the schedule (TR-10).

    Raises RequestConflict when the trigger covers contiguous ranges and none is over yet.
    """
    step = _fired(trigger, now, "manual", new_id, most=1)
    if not step.firings:
        raise RequestConflict("The next range of the trigger is not over yet: there is nothing to cover.")
    return step


def by_message(trigger: Trigger, task_id: str) -> Step:
    """Fire because of a message; nothing unless the trigger is active."""
    if trigger.state != "active":
        return Step(trigger)
    return Step(trigger, (Firing(task_id, "message"),))


def counted(trigger: Trigger) -> Trigger:
    """A message has fired it; it is exhausted when that was the last of its limit (TR-7)."""
    message = trigger.definition.message
    limit = None if message is None else message.limit
    count = trigger.counted + 1
    state = "exhausted" if limit is not None and count >= limit else trigger.state
    return replace(trigger, counted=count, state=state)


def task_ended(trigger: Trigger, task_id: str, *, completed: bool) -> Trigger:
    """The task of a firing has ended, or there is none: declined counts as completed, refused as failed."""
    unfinished = tuple(one for one in trigger.unfinished if one != task_id)
    trigger = replace(trigger, unfinished=unfinished)
    if trigger.coverage is None:
        return trigger
    coverage = windows.ended(trigger.coverage, task_id, completed=completed)
    trigger = replace(trigger, coverage=coverage)
    if trigger.state == "active" and windows.exhausted(coverage, trigger.definition.retry.retries):
        return replace(trigger, state="blocked")
    return trigger


def renamed(trigger: Trigger, task_id: str, existing: str) -> Trigger:
    """The task is a duplicate of this one, which counts in its place."""
    unfinished = tuple(existing if one == task_id else one for one in trigger.unfinished)
    coverage = trigger.coverage
    if coverage is not None:
        coverage = windows.renamed(coverage, task_id, existing)
    return replace(trigger, unfinished=unfinished, coverage=coverage)


def _fired(
    trigger: Trigger, moment: datetime, fired_by: FiredBy, new_id: NewId, *, most: int | None = None
) -> Step:
    window, coverage = trigger.definition.window, trigger.coverage
    scheduled_for = None if fired_by == "manual" else moment
    if window is None:
        firings = [Firing(new_id(), fired_by, scheduled_for)]
    elif coverage is None:
        firings = [Firing(new_id(), fired_by, scheduled_for, windows.range_at(window, moment))]
    else:
        known = {covered.range for covered in coverage.ranges}
        due = windows.due_ranges(coverage, window, moment)[:most]
        firings = [Firing(new_id(), fired_by, scheduled_for, one, again=one in known) for one in due]
        for firing in firings:
            assert firing.window is not None
            coverage = windows.begun(coverage, firing.window, firing.task_id)
    if coverage is not trigger.coverage:
        trigger = replace(trigger, coverage=coverage)
    if trigger.definition.overlap != "allow":
        unfinished = (*trigger.unfinished, *(firing.task_id for firing in firings))
        trigger = replace(trigger, unfinished=unfinished)
    return Step(trigger, tuple(firings))


def _failed_text(range_: Range) -> str:
    return (
        f"The range from {format_time(range_.start)} to {format_time(range_.end)} has failed as often as "
        "`retry.retries` allows."
    )

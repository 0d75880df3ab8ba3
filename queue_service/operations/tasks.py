"""Creating tasks, and every change of one task that a caller asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from queue_service.core import definition as definitions
from queue_service.core import dependencies, transitions
from queue_service.core.dependencies import Dependency
from queue_service.core.errors import QueueError, RequestConflict, task_not_found
from queue_service.core.extras import PLAIN
from queue_service.core.groups import TaskGroup, admit
from queue_service.core.task import Change, Task
from queue_service.core.uniqueness import UniqueKey
from queue_service.operations import uniqueness
from queue_service.operations.ledger import Ledger
from queue_service.store import dependencies as edges
from queue_service.store import groups, tasks
from queue_service.store.database import Tx
from queue_service.store.dependencies import Edge
from schemas.task import TaskDefinition
from schemas.times import format_time

Rule = Callable[[Task, datetime], Change]
"""A transition with its arguments bound: the task as it stands and the time give the change."""


def allow(task: Task) -> None:
    """The authorization that lets everything pass."""


@dataclass(frozen=True, slots=True)
class Creation:
    """A task to create, its definition complete and checked."""

    task_id: str
    definition: TaskDefinition
    traceparent: str | None = None
    """The trace in which it is created."""
    witness: str = ""
    """The feature that is told of every change of it, if there is one."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a creation: the task, and whether it is new. Of a duplicate it is the existing task."""

    task: Task
    created: bool


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A rule to apply to one task, after ``authorize`` had its say about the task (it raises)."""

    task_id: str
    rule: Rule
    authorize: Callable[[Task], None] = allow


async def change(tx: Tx, calls: Sequence[TaskCall]) -> list[Task | QueueError]:
    """Apply each call to its task, in this order; the task afterwards, or why not."""
    found = await tasks.lock(tx, [call.task_id for call in calls])
    keys = await uniqueness.keys_of(tx, found.values())
    ledger = Ledger(found)
    outcomes: list[Task | QueueError] = []
    for call in calls:
        try:
            task = ledger.get(call.task_id)
            if task is None:
                raise task_not_found(call.task_id)
            call.authorize(task)
            change = call.rule(task, tx.now)
            keys.check(change, tx)
            outcomes.append(ledger.apply(change))
        except QueueError as error:
            outcomes.append(error)
    await ledger.write(tx)
    return outcomes


async def create(
    tx: Tx, creations: Sequence[Creation], *, group_expiry_margin: timedelta
) -> list[Task | QueueError]:
    """As :func:`make`, for callers that need not know whether a task is new."""
    outcomes = await make(tx, creations, group_expiry_margin=group_expiry_margin)
    return [outcome if isinstance(outcome, QueueError) else outcome.task for outcome in outcomes]


async def make(
    tx: Tx, creations: Sequence[Creation], *, group_expiry_margin: timedelta
) -> list[Made | QueueError]:
    """Create tasks, each in its group and behind its dependencies (``queue-behaviour.md`` 3.1, 7 to 11).

    A repeat with an equal definition is answered with the task as it stands, and told again. A task may
    depend on tasks that come before it in the list. A unique task that has an equal one is not created: the
    outcome is the one that exists (``seed-systems.md`` U-7).
    """
    wanted_keys = [uniqueness.key_of(creation.definition, tx) for creation in creations]
    keys, duplicates = await uniqueness.duplicates(tx, creations, wanted_keys)
    joining = [creation for place, creation in enumerate(creations) if place not in duplicates]
    wanted = _wanted_groups(joining, group_expiry_margin)
    joined = await groups.ensure(tx, wanted, margin=group_expiry_margin)
    stored = await tasks.lock(tx, [creation.task_id for creation in creations])
    defined = await tasks.definitions(tx.connection, list(stored))
    known = await _known_dependencies(tx, creations, stored)

    ledger = Ledger({})
    current = dict(stored)
    created: list[tuple[Change, TaskDefinition]] = []
    waits: list[tuple[Edge, bool, datetime]] = []
    outcomes: list[Made | QueueError] = []
    for place, (creation, key) in enumerate(zip(creations, wanted_keys, strict=True)):
        task_id, definition = creation.task_id, creation.definition
        existing = duplicates.get(place)
        if existing is None and task_id not in current:
            existing = keys.holder(definition.project_id, key)  # an equal one came before it in the list
        if existing is not None:
            outcomes.append(Made(existing, created=False))
            continue
        try:
            admit(joined[definition.task_group_id], definition.scheduler_id)
            is_new = task_id not in current
            if not is_new:
                change = _repeat(current[task_id], defined[task_id], definition)
            else:
                change, awaited = _create(creation, key, known, tx.now)
                created.append((change, definition))
                keys.take(change.after, key)
                waits.extend(awaited)
                current[task_id], defined[task_id] = change.after, definition
                known[task_id] = Dependency(task_id, change.after.state, change.after.expires)
            ledger.tell(change, caused_by=definition.dependencies if change.after.runs else ())
            outcomes.append(Made(change.after, is_new))
        except QueueError as error:
            outcomes.append(error)
    await tasks.create(tx, created)
    await edges.insert_edges(tx, waits)
    await ledger.write(tx)
    return outcomes


def _wanted_groups(creations: Sequence[Creation], margin: timedelta) -> list[TaskGroup]:
    """One record per group: the first task decides the scheduler, the longest-lived of it the expiry."""
    wanted: dict[str, TaskGroup] = {}
    for creation in creations:
        definition = creation.definition
        mine = TaskGroup(
            definition.task_group_id,
            definition.scheduler_id,
            _later(definitions.latest_expiry(definition), margin),
        )
        first = wanted.setdefault(mine.task_group_id, mine)
        if first.scheduler_id == mine.scheduler_id and first.expires < mine.expires:
            wanted[mine.task_group_id] = replace(first, expires=mine.expires)
    return list(wanted.values())


def _later(moment: datetime, margin: timedelta) -> datetime:
    try:
        return moment + margin
    except OverflowError:
        return moment


async def _known_dependencies(
    tx: Tx, creations: Sequence[Creation], stored: dict[str, Task]
) -> dict[str, Dependency]:
    """State of everything the new tasks wait for; it cannot change before this transaction ends."""
    wanted = {
        task_id for creation in creations for task_id in creation.definition.dependencies
    } - stored.keys()
    known = await tasks.lock_states(tx, sorted(wanted))
    known.update(
        {task.task_id: Dependency(task.task_id, task.state, task.expires) for task in stored.values()}
    )
    return known


def _create(
    creation: Creation, key: UniqueKey | None, known: dict[str, Dependency], now: datetime
) -> tuple[Change, list[tuple[Edge, bool, datetime]]]:
    definition = creation.definition
    itself = Dependency(creation.task_id, "unscheduled", definition.expires)
    unmet = dependencies.unmet(
        definition.requires,
        definition.dependencies,
        {**known, creation.task_id: itself} if definition.dependencies else known,
        definition.deadline,
    )
    unscheduled = definitions.unscheduled_task(creation.task_id, definition, creation.traceparent)
    task = uniqueness.with_key(unscheduled, key)
    if creation.witness:
        task = replace(task, extras=replace(task.extras or PLAIN, witness=creation.witness))
    change = transitions.create(task, now, unmet_dependencies=bool(unmet))
    expires = definitions.latest_expiry(definition)
    awaited = [
        (Edge(required, creation.task_id, definition.requires), required not in unmet, expires)
        for required in definition.dependencies
    ]
    return change, awaited


def _repeat(task: Task, stored: TaskDefinition, sent: TaskDefinition) -> Change:
    """The stored *current* priority takes part in the comparison (``queue-behaviour.md`` 3.2)."""
    if not definitions.equal(_with_priority(stored, task), sent):
        raise RequestConflict(
            f"Task `{task.task_id}` already exists with another definition "
            f"(created {format_time(stored.created)}, taskGroupId `{stored.task_group_id}`)."
        )
    return transitions.repeat_create(task)


def _with_priority(definition: TaskDefinition, task: Task) -> TaskDefinition:
    if definition.priority == task.priority:
        return definition
    return definition.model_copy(update={"priority": task.priority})


def shown(definition: TaskDefinition, task: Task) -> TaskDefinition:
    """The definition as it is shown: priority and ``expires`` are the task's current ones."""
    if definition.priority == task.priority and definition.expires == task.expires:
        return definition
    return definition.model_copy(update={"priority": task.priority, "expires": task.expires})

"""Firing triggers: tasks, the records of firings and the next ticks are one transaction (R-4, TR-13).

So a tick creates its task exactly once, however many processes look and whenever one is killed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from queue_service.core.errors import QueueError
from queue_service.core.task import Task
from queue_service.features.firing.sandbox import TemplateFailed
from queue_service.features.firing.task_maker import Grants, TaskMaker
from queue_service.features.firing.template import request_of
from queue_service.features.triggers import changes, fires, inputs, rules
from queue_service.features.triggers.fires import Fire, Outcome
from queue_service.features.triggers.rules import Firing, Key, Trigger
from queue_service.features.triggers.transient import with_retries
from queue_service.operations import tasks
from queue_service.operations.tasks import Creation, Made
from queue_service.store.database import Database, Tx
from schemas.times import format_time, to_ms

logger = structlog.get_logger(__name__)

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """What a firing has beyond its tick: the message, the payload or the batch that brought it about."""

    name: str | None = None
    """Fires the trigger only once."""
    payload: JsonObject = field(default_factory=dict)
    facts: JsonObject = field(default_factory=dict)
    """Further members of ``extra.trigger``."""
    lease_id: str | None = None
    depth: int | None = None
    """Of a firing by a message: how many triggers have fired one another up to its task (TR-9)."""


NO_CAUSE = Cause()


@dataclass(frozen=True, slots=True)
class Rendered:
    """A firing with the body of its task; without one the template declines, or failed."""

    firing: Firing
    cause: Cause
    body: JsonObject | None = None
    error: QueueError | TemplateFailed | None = None

    @property
    def occasion(self) -> str:
        """What fires a trigger only once: a tick, with its range; a message; a call."""
        firing = self.firing
        if self.cause.name is not None:
            return self.cause.name
        if firing.scheduled_for is None:
            return f"call {firing.task_id}"
        tick = str(to_ms(firing.scheduled_for))
        return tick if firing.window is None else f"{tick}/{to_ms(firing.window.start)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A trigger as it was locked and as it is after its step, with the firings of that."""

    before: Trigger
    after: Trigger
    rendered: tuple[Rendered, ...]


class TriggerFiring:
    """Fires triggers, as hooks are fired."""

    def __init__(self, database: Database, maker: TaskMaker) -> None:
        self._database = database
        self._maker = maker

    async def render(self, trigger: Trigger, firing: Firing, cause: Cause = NO_CAUSE) -> Rendered:
        """The body of a firing's task. Outside of transactions, unless the trigger is simple.

        Raises StoreUnavailable.
        """
        facts = _facts(trigger, firing, cause)
        if (wanted := trigger.definition.input) is not None:
            try:
                found = await with_retries(
                    partial(inputs.read, self._database, wanted), trigger.definition.retry
                )
            except QueueError as error:
                return Rendered(firing, cause, error=error)
            if found is None:
                return Rendered(firing, cause)
            facts["input"] = found
        window = {"window": facts["window"]} if "window" in facts else {}
        variables = {
            "trigger": facts,
            "firedBy": firing.fired_by,
            "taskId": firing.task_id,
            "now": format_time(self._database.clock.now()),
            "payload": cause.payload,
            **window,
        }
        try:
            rendered = await self._maker.render(trigger.definition.task, variables)
        except TemplateFailed as error:
            return Rendered(firing, cause, error=error)
        return Rendered(
            firing, cause, None if rendered is None else _with_facts(rendered, facts, cause.depth)
        )

    async def carry_out(self, tx: Tx, plans: Sequence[Plan]) -> list[list[Fire]]:
        """Create the tasks, write down the firings and save the triggers, which the caller has locked."""
        known = await fires.known(
            tx.connection, [(plan.before.key, one.occasion) for plan in plans for one in plan.rendered]
        )
        made = await self._make(tx, plans, known)
        results = [_applied(plan, made, known, tx) for plan in plans]
        await fires.record(tx, [fire for _, recorded in results for fire in recorded])
        await changes.write(
            tx, [(plan.before, after) for plan, (after, _) in zip(plans, results, strict=True)]
        )
        return [recorded for _, recorded in results]

    async def _make(
        self, tx: Tx, plans: Sequence[Plan], known: set[tuple[Key, str]]
    ) -> dict[str, Made | QueueError | TemplateFailed]:
        """What became of each task that was to be created, by its id."""
        outcomes: dict[str, Made | QueueError | TemplateFailed] = {}
        creations: list[Creation] = []
        grants = await self._maker.grants(tx.connection)
        for plan in plans:
            for one in plan.rendered:
                if (plan.before.key, one.occasion) in known or (one.body is None and one.error is None):
                    continue
                try:
                    creations.append(self._creation(plan.before, one, grants, tx.now))
                except (QueueError, TemplateFailed) as error:
                    outcomes[one.firing.task_id] = error
        if creations:
            margin = self._maker.limits.group_expiry_margin
            made = await tasks.make(tx, creations, group_expiry_margin=margin)
            outcomes |= {creation.task_id: outcome for creation, outcome in zip(creations, made, strict=True)}
        return outcomes

    def _creation(self, trigger: Trigger, rendered: Rendered, grants: Grants, now: datetime) -> Creation:
        if rendered.error is not None or rendered.body is None:
            raise rendered.error or TemplateFailed("the template rendered to nothing")
        task_id = rendered.firing.task_id
        request = request_of(rendered.body, task_id, now)
        return self._maker.creation(task_id, request, "trigger", trigger.role, grants(trigger.role))


def told(trigger: Trigger, recorded: Sequence[Fire]) -> None:
    """Say in the log what became of firings, once they are committed."""
    for fire in recorded:
        about = {"trigger": "/".join(trigger.key), "fired_by": fire.firing.fired_by}
        if fire.error is not None:
            logger.warning("a trigger created no task", reason=fire.error[:1000], **about)
        else:
            logger.info("a trigger created a task", task_id=fire.firing.task_id, **about)


def _facts(trigger: Trigger, firing: Firing, cause: Cause) -> JsonObject:
    """What the task has as ``extra.trigger``, and its template as ``trigger`` (R-3, TR-5, TR-8)."""
    facts: JsonObject = {
        "group": trigger.group_id,
        "id": trigger.trigger_id,
        "firedBy": firing.fired_by,
    }
    if firing.scheduled_for is not None:
        facts |= {"periodic": True, "scheduledFor": format_time(firing.scheduled_for)}
    if firing.window is not None:
        window = firing.window
        facts["window"] = {"from": format_time(window.start), "to": format_time(window.end)}
    if cause.payload:
        facts["payload"] = cause.payload
    return facts | cause.facts


def _with_facts(body: JsonObject, facts: JsonObject, depth: int | None) -> JsonObject:
    extra = body.get("extra", {})
    if not isinstance(extra, dict):
        return body
    ours = {"trigger": facts} if depth is None else {"trigger": facts, "triggerDepth": depth}
    return {**body, "extra": {**extra, **ours}}


def _applied(
    plan: Plan,
    made: dict[str, Made | QueueError | TemplateFailed],
    known: set[tuple[Key, str]],
    tx: Tx,
) -> tuple[Trigger, list[Fire]]:
    """The trigger after its firings, and their records; a firing that declines has none."""
    trigger = plan.after
    recorded: list[Fire] = []
    for one in plan.rendered:
        task_id = one.firing.task_id
        outcome = made.get(task_id)
        if outcome is None:
            declined = (trigger.key, one.occasion) not in known
            trigger = rules.task_ended(trigger, task_id, completed=declined)
            continue
        if isinstance(outcome, Made):
            trigger, fire = _created(trigger, one, outcome, tx)
        else:
            trigger, fire = _failed(trigger, one, outcome, tx)
        recorded.append(fire)
    return trigger, recorded


def _created(trigger: Trigger, one: Rendered, made: Made, tx: Tx) -> tuple[Trigger, Fire]:
    task, firing = made.task, one.firing
    outcome: Outcome = "created"
    if task.task_id != firing.task_id:
        trigger = rules.renamed(trigger, firing.task_id, task.task_id)
        firing, outcome = replace(firing, task_id=task.task_id), "duplicate"
        trigger = _if_over(trigger, task)
    if firing.fired_by == "message":
        trigger = rules.counted(trigger)
    trigger = replace(trigger, fires=trigger.fires + 1)
    return trigger, _record(trigger, one, firing, outcome, None, tx)


def _failed(
    trigger: Trigger, one: Rendered, error: QueueError | TemplateFailed, tx: Tx
) -> tuple[Trigger, Fire]:
    trigger = rules.task_ended(trigger, one.firing.task_id, completed=False)
    trigger = replace(trigger, fires=trigger.fires + 1)
    return trigger, _record(trigger, one, one.firing, "error", str(error), tx)


def _if_over(trigger: Trigger, task: Task) -> Trigger:
    """Nobody will tell of the end of a task that has ended already."""
    if not task.resolved:
        return trigger
    return rules.task_ended(trigger, task.task_id, completed=task.state == "completed")


def _record(
    trigger: Trigger, one: Rendered, firing: Firing, outcome: Outcome, error: str | None, tx: Tx
) -> Fire:
    return Fire(trigger.key, trigger.fires, one.occasion, firing, tx.now, outcome, error, one.cause.lease_id)

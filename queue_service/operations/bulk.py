"""Creating many tasks in one transaction, all or none (``seed-systems.md`` B-1 to B-5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from queue_service.core.errors import InputValidationError, QueueError, RequestConflict
from queue_service.operations import tasks
from queue_service.operations.tasks import Creation, Made
from queue_service.store.database import Tx

MAX_LISTED: Final = 50
"""Refused items that a refusal tells of."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """Tasks to create together; ``fast`` refuses duplicates and repeats."""

    creations: Sequence[Creation]
    fast: bool = False


async def create(tx: Tx, bulk: Bulk, *, group_expiry_margin: timedelta) -> list[Made]:
    """Create all tasks. Raises the refusal of the first that cannot be, which tells of all that cannot."""
    outcomes = await tasks.make(tx, bulk.creations, group_expiry_margin=group_expiry_margin)
    made: list[Made] = []
    refused: dict[int, QueueError] = {}
    for place, (creation, outcome) in enumerate(zip(bulk.creations, outcomes, strict=True)):
        if isinstance(outcome, QueueError):
            refused[place] = outcome
        elif bulk.fast and not outcome.created:
            refused[place] = _not_new(creation, outcome)
        else:
            made.append(outcome)
    if refused:
        raise refusal(refused, len(bulk.creations))
    return made


def refusal(refused: Mapping[int, QueueError], size: int) -> QueueError:
    """Why a bulk of this size was refused: of the first refused item's kind, with the places of all."""
    listed = list(refused.items())[:MAX_LISTED]
    lines = [f" * `tasks[{place}]`: {error.message}".replace("\n", "\n   ") for place, error in listed]
    if len(refused) > MAX_LISTED:
        lines.append(f" * and {len(refused) - MAX_LISTED} more")
    out_of_shape = any(isinstance(error, InputValidationError) for error in refused.values())
    kind = InputValidationError if out_of_shape else type(next(iter(refused.values())))
    head = f"{len(refused)} of {size} tasks are refused, so none was created:"
    return kind("\n".join([head, "", *lines]))


def _not_new(creation: Creation, outcome: Made) -> RequestConflict:
    if outcome.task.task_id == creation.task_id:
        return RequestConflict(f"Task `{creation.task_id}` exists already.")
    return RequestConflict(f"It is a duplicate of task `{outcome.task.task_id}`.")

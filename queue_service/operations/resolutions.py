"""After a task has ended: let its dependents go, and tell when its group is resolved.

Works off the list of resolutions that the store keeps with every ended task, so a crash forgets nothing. What
else follows from an end is told to followers, in the same transaction.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import get_args

from queue_service.core import transitions
from queue_service.core.dependencies import satisfied
from queue_service.operations.ledger import Ledger
from queue_service.store import dependencies, groups, tasks
from queue_service.store.database import Tx
from queue_service.store.dependencies import Edge, Resolution
from queue_service.store.outbox import Outgoing
from schemas.messages import TaskGroupResolvedMessage
from schemas.task import Requires

EDGES = 1000
"""How many dependents are let go in one transaction."""

Follower = Callable[[Tx, Sequence[Resolution]], Awaitable[None]]
"""Does what follows from these ends. It may be told of an end twice, and must not fail for one task."""


async def work_off(tx: Tx, limit: int, followers: Sequence[Follower] = ()) -> int:
    """Work off up to ``limit`` resolutions; how many were looked at."""
    ended = await dependencies.next_resolutions(tx, limit)
    if not ended:
        return 0
    edges = await dependencies.waiting_for(tx.connection, _satisfying(ended), EDGES)
    ledger = Ledger(await tasks.lock(tx, [edge.dependent_task_id for edge in edges]))
    await dependencies.satisfy(tx, edges)
    await _let_go(tx, ledger, edges)
    if len(edges) < EDGES:
        await _tell_resolved_groups(tx, ledger, ended)
        for follow in followers:
            await follow(tx, ended)
        await dependencies.delete_resolutions(tx, [entry.id for entry in ended])
    await ledger.write(tx)
    return len(ended)


def _satisfying(ended: Sequence[Resolution]) -> set[tuple[str, Requires]]:
    """Which requirement about which task is met now."""
    return {
        (entry.task_id, requires)
        for entry in ended
        for requires in get_args(Requires)
        if satisfied(requires, entry.state)
    }


async def _let_go(tx: Tx, ledger: Ledger, edges: Sequence[Edge]) -> None:
    """Schedule dependents that wait for nothing more; none is told before all that it waited for."""
    freed = sorted(await dependencies.free(tx, sorted({edge.dependent_task_id for edge in edges})))
    defined = await tasks.definitions(tx.connection, freed)
    for dependent_id in freed:
        dependent = ledger.get(dependent_id)
        if dependent is not None:
            change = transitions.dependencies_met(dependent, tx.now)
            ledger.apply(change, caused_by=defined[dependent_id].dependencies)


async def _tell_resolved_groups(tx: Tx, ledger: Ledger, ended: Sequence[Resolution]) -> None:
    group_ids = {entry.task_group_id for entry in ended if entry.task_group_id is not None}
    if not group_ids:
        return
    for group in await groups.resolved(tx.connection, sorted(group_ids)):
        message = TaskGroupResolvedMessage.trusted(
            task_group_id=group.task_group_id,
            scheduler_id=group.scheduler_id,
            expires=group.expires,
            sealed=group.sealed,
        )
        ledger.add(Outgoing(message, (), (group.task_group_id,)))

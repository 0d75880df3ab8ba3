"""Creating and finishing artifacts. A message commits with the artifact, in order with those of its task."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from queue_service.core import artifacts as rules
from queue_service.core.artifacts import Artifact
from queue_service.core.errors import QueueError
from queue_service.core.task import Task
from queue_service.store import artifacts, objects, outbox, tasks
from queue_service.store.artifacts import Key, key_of
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing


@dataclass(frozen=True, slots=True)
class Created:
    """An artifact as it is now, and the task it belongs to."""

    artifact: Artifact
    task: Task


@dataclass(frozen=True, slots=True)
class Finish:
    """An object artifact whose upload its worker says is finished."""

    task_id: str
    run_id: int
    name: str
    upload_id: str

    @property
    def key(self) -> Key:
        return self.task_id, self.run_id, self.name


async def create(tx: Tx, wanted: Sequence[Artifact], *, drift: timedelta) -> list[Created | QueueError]:
    """Create each artifact, or apply it to the stored one; a repeat is told again (8.1)."""
    locked = await tasks.lock(tx, [artifact.task_id for artifact in wanted])
    stored = await artifacts.lock(tx, map(key_of, wanted))
    changed: dict[Key, Artifact] = {}
    outgoing: list[Outgoing] = []
    outcomes: list[Created | QueueError] = []
    for artifact in wanted:
        key = key_of(artifact)
        task = locked.get(artifact.task_id)
        try:
            after = rules.create(artifact, task, changed.get(key, stored.get(key)), tx.now, drift=drift)
        except QueueError as error:
            outcomes.append(error)
            continue
        assert task is not None
        changed[key] = after
        outgoing.extend(_told(task, after))
        outcomes.append(Created(after, task))
    await artifacts.save(tx, list(changed.values()))
    await outbox.record(tx, outgoing)
    return outcomes


async def finish(tx: Tx, calls: Sequence[Finish]) -> list[Artifact | QueueError]:
    """Show each artifact to readers once its object is complete; a repeat is told again (8.2)."""
    locked = await tasks.lock(tx, [call.task_id for call in calls])
    stored = await artifacts.lock(tx, (call.key for call in calls))
    uploaded = await objects.get(tx.connection, [rules.object_name(artifact) for artifact in stored.values()])
    finished: dict[Key, Artifact] = {}
    outgoing: list[Outgoing] = []
    outcomes: list[Artifact | QueueError] = []
    for call in calls:
        task = locked.get(call.task_id)
        artifact = finished.get(call.key, stored.get(call.key)) if task is not None else None
        found = uploaded.get(rules.object_name(artifact)) if artifact is not None else None
        complete = found is not None and found.finished and found.upload_id == call.upload_id
        try:
            after = rules.finish(artifact, name=call.name, upload_id=call.upload_id, complete=complete)
        except QueueError as error:
            outcomes.append(error)
            continue
        assert task is not None
        if after is not artifact:
            finished[call.key] = after
        outgoing.extend(_told(task, after))
        outcomes.append(after)
    await artifacts.mark_present(tx, list(finished))
    await outbox.record(tx, outgoing)
    return outcomes


def _told(task: Task, artifact: Artifact) -> list[Outgoing]:
    message = rules.announcement(task, artifact)
    return [] if message is None else [Outgoing(message, task.routes, (task.task_id,), task.traceparent)]

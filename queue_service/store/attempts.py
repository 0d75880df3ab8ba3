"""Errors of attempts, and outputs: kept beside the tasks, which no transition reads again."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import Integer, Text, bindparam, insert, select, true
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.core.task import Change
from queue_service.store.database import Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection
from queue_service.store.tables import attempt_errors, task_outputs
from schemas.attempts import AttemptError

_errors = Rows("given", task_id=Text, run_id=Integer, error=Text)
INSERT_ERRORS: Final = insert(attempt_errors).from_select(
    ["task_id", "run_id", "error"], select(_errors.c.task_id, _errors.c.run_id, _errors.c.error)
)
_outputs = Rows("given", task_id=Text, output=Text)
_written = upsert(task_outputs).from_select(
    ["task_id", "output"],
    select(_outputs.c.task_id, _outputs.c.output).where(true()).order_by(_outputs.c.task_id),
)
WRITE_OUTPUTS: Final = _written.on_conflict_do_update(
    index_elements=["task_id"], set_={"output": _written.excluded.output}
)
_task_id = bindparam("of_task", type_=Text)
SELECT_ERRORS: Final = (
    select(attempt_errors.c.error)
    .where(attempt_errors.c.task_id == _task_id)
    .order_by(attempt_errors.c.run_id)
)
SELECT_OUTPUT: Final = select(task_outputs.c.output).where(task_outputs.c.task_id == _task_id)


async def record(tx: Tx, changes: Sequence[Change]) -> None:
    """Keep the errors and outputs of these changes, if they have any. A run has one error at most."""
    errors = [
        {
            "task_id": change.after.task_id,
            "run_id": change.error.run_id,
            "error": change.error.to_json().decode(),
        }
        for change in changes
        if change.error is not None
    ]
    if errors:
        await tx.connection.execute(INSERT_ERRORS, _errors.parameters(errors))
    await write_outputs(
        tx, ((change.after.task_id, change.output) for change in changes if change.output is not None)
    )


async def write_outputs(tx: Tx, outputs: Iterable[tuple[str, str]]) -> None:
    """Keep outputs, as JSON texts by task id; the last one of a task counts."""
    rows = [{"task_id": task_id, "output": output} for task_id, output in dict(outputs).items()]
    if rows:
        await tx.connection.execute(WRITE_OUTPUTS, _outputs.parameters(rows))


async def errors_of(connection: Connection, task_id: str) -> list[AttemptError]:
    """The reported errors of a task, the oldest first."""
    rows = await connection.execute(SELECT_ERRORS, {"of_task": task_id})
    return [AttemptError.from_json(error) for error in rows.scalars()]


async def output_of(connection: Connection, task_id: str) -> Any:
    """The output of a task; None when there is none."""
    output = (await connection.execute(SELECT_OUTPUT, {"of_task": task_id})).scalar()
    return None if output is None else from_json(output)

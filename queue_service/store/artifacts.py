"""Artifact rows. Whoever creates one holds the lock of its task's row."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, assert_never, cast

from pydantic_core import from_json, to_json
from sqlalchemy import BigInteger, Integer, Select, SmallInteger, Text, bindparam, select, true, update
from sqlalchemy import delete as deletion
from sqlalchemy import tuple_ as row_of
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.core.artifacts import (
    S3,
    Artifact,
    Content,
    ErrorReport,
    Link,
    ObjectUpload,
    Reference,
)
from queue_service.store.database import Concurrent, Tx
from queue_service.store.rows import Rows
from queue_service.store.statements import Connection, Row
from queue_service.store.tables import artifacts
from queue_service.store.types import Milliseconds
from schemas.artifacts import StorageType
from schemas.times import from_ms, to_ms

Key = tuple[str, int, str]
"""Task, run and name."""

# ---- statements --------------------------------------------------------------------------------------

_keys = Rows("keys", task_id=Text, run_id=Integer, name=Text)
_KEY_COLUMNS: Final = (artifacts.c.task_id, artifacts.c.run_id, artifacts.c.name)

SELECT_ARTIFACTS: Final = (
    select(artifacts)
    .select_from(
        _keys.join(
            artifacts,
            (artifacts.c.task_id == _keys.c.task_id)
            & (artifacts.c.run_id == _keys.c.run_id)
            & (artifacts.c.name == _keys.c.name),
        )
    )
    .order_by(*_KEY_COLUMNS)
)
LOCK_ARTIFACTS: Final = SELECT_ARTIFACTS.with_for_update(of=artifacts)
LIST_ARTIFACTS: Final = (
    select(artifacts)
    .where(
        artifacts.c.task_id == bindparam("task_id", type_=Text),
        artifacts.c.run_id == bindparam("run_id", type_=Integer),
        artifacts.c.name > bindparam("after", type_=Text),
    )
    .order_by(artifacts.c.name)
    .limit(bindparam("wanted", type_=Integer))
)

_COLUMN_TYPES: Final[dict[str, Any]] = {
    "task_id": Text,
    "run_id": Integer,
    "name": Text,
    "storage_type": Text,
    "details": Text,
    "content_type": Text,
    "content_length": BigInteger,
    "expires": BigInteger,
    "present": SmallInteger,
}
_given = Rows("given", **_COLUMN_TYPES)
_insert = upsert(artifacts).from_select(
    list(_COLUMN_TYPES),
    select(*(_given.c[name] for name in _COLUMN_TYPES))
    .where(true())
    .order_by(_given.c.task_id, _given.c.run_id, _given.c.name),
)
SAVE_ARTIFACTS: Final = _insert.on_conflict_do_update(
    index_elements=["task_id", "run_id", "name"],
    set_={name: _insert.excluded[name] for name in ("storage_type", "details", "expires")},
)
MARK_PRESENT: Final = (
    update(artifacts)
    .values(present=1)
    .where(*(column == _keys.c[column.name] for column in _KEY_COLUMNS), artifacts.c.present == 0)
    .returning(artifacts.c.task_id)
)
EXPIRED_ARTIFACTS: Final = (
    select(artifacts)
    .where(artifacts.c.expires < bindparam("before", type_=Milliseconds))
    .order_by(artifacts.c.expires)
    .limit(bindparam("wanted", type_=Integer))
    .with_for_update(skip_locked=True)
)
DELETE_ARTIFACTS: Final = deletion(artifacts).where(
    row_of(*_KEY_COLUMNS).in_(select(_keys.c.task_id, _keys.c.run_id, _keys.c.name))
)


# ---- functions ---------------------------------------------------------------------------------------


async def get(connection: Connection, keys: Iterable[Key]) -> dict[Key, Artifact]:
    """The artifacts that exist, by key; without a lock."""
    return await _artifacts(connection, SELECT_ARTIFACTS, keys)


async def lock(tx: Tx, keys: Iterable[Key]) -> dict[Key, Artifact]:
    """The artifacts that exist, by key, locked until the end of the transaction (in key order)."""
    return await _artifacts(tx.connection, LOCK_ARTIFACTS, keys)


async def page(connection: Connection, task_id: str, run_id: int, after: str, wanted: int) -> list[Artifact]:
    """Artifacts of the run whose names come after ``after``, in their order, unfinished ones included."""
    rows = await connection.execute(
        LIST_ARTIFACTS, {"task_id": task_id, "run_id": run_id, "after": after, "wanted": wanted}
    )
    return [_artifact(row) for row in rows]


async def save(tx: Tx, changed: Sequence[Artifact]) -> None:
    """Insert new artifacts; give stored ones their content and expiry, the rest of them stays."""
    if not changed:
        return
    rows = [
        {
            "task_id": artifact.task_id,
            "run_id": artifact.run_id,
            "name": artifact.name,
            "storage_type": artifact.storage_type,
            "details": to_json(_details(artifact.content)).decode(),
            "content_type": artifact.content_type,
            "content_length": artifact.content_length,
            "expires": to_ms(artifact.expires),
            "present": int(artifact.present),
        }
        for artifact in changed
    ]
    await tx.connection.execute(SAVE_ARTIFACTS, _given.parameters(rows))


async def mark_present(tx: Tx, keys: Sequence[Key]) -> None:
    """Show locked artifacts to readers. Raises Concurrent when one was shown, or gone, already."""
    if keys:
        marked = await tx.connection.execute(MARK_PRESENT, _parameters(keys))
        if len(marked.all()) != len(keys):
            raise Concurrent("an artifact changed between reading and writing it")


async def expired(tx: Tx, before: datetime, limit: int) -> list[Artifact]:
    """Artifacts that expired before this time, locked; those in use elsewhere are left out."""
    rows = await tx.connection.execute(EXPIRED_ARTIFACTS, {"before": before, "wanted": limit})
    return [_artifact(row) for row in rows]


async def delete(tx: Tx, keys: Sequence[Key]) -> None:
    """Forget artifacts."""
    if keys:
        await tx.connection.execute(DELETE_ARTIFACTS, _parameters(keys))


def key_of(artifact: Artifact) -> Key:
    return artifact.task_id, artifact.run_id, artifact.name


async def _artifacts(
    connection: Connection, statement: Select[Any], keys: Iterable[Key]
) -> dict[Key, Artifact]:
    wanted = list(dict.fromkeys(keys))
    if not wanted:
        return {}
    found = [_artifact(row) for row in await connection.execute(statement, _parameters(wanted))]
    return {key_of(artifact): artifact for artifact in found}


def _parameters(keys: Iterable[Key]) -> dict[str, str]:
    return _keys.parameters(
        {"task_id": task_id, "run_id": run_id, "name": name} for task_id, run_id, name in keys
    )


def _artifact(row: Row) -> Artifact:
    return Artifact(
        task_id=row.task_id,
        run_id=row.run_id,
        name=row.name,
        content=_content(cast("StorageType", row.storage_type), from_json(row.details)),
        content_type=row.content_type,
        expires=row.expires,
        content_length=row.content_length,
        present=bool(row.present),
    )


def _details(content: Content) -> dict[str, Any]:
    match content:
        case S3(key, upload_until):
            return {"key": key, "uploadUntil": to_ms(upload_until)}
        case ObjectUpload(upload_id):
            return {"uploadId": upload_id}
        case Reference(url):
            return {"url": url}
        case Link(artifact):
            return {"artifact": artifact}
        case ErrorReport(reason, message):
            return {"reason": reason, "message": message}
        case _:
            assert_never(content)


def _content(storage_type: StorageType, details: dict[str, Any]) -> Content:
    match storage_type:
        case "s3":
            return S3(details["key"], from_ms(details["uploadUntil"]))
        case "object":
            return ObjectUpload(details["uploadId"])
        case "reference":
            return Reference(details["url"])
        case "link":
            return Link(details["artifact"])
        case "error":
            return ErrorReport(details["reason"], details["message"])
        case _:
            assert_never(storage_type)

"""Role rows. Whoever changes them holds the lock of ``store.access``."""

from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import Integer, Row, Text, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from queue_service.core.access import Role
from queue_service.store.database import Concurrent, Tx
from queue_service.store.statements import Connection
from queue_service.store.tables import roles

_id = bindparam("of_role", type_=Text)

SELECT: Final = select(roles).where(roles.c.role_id == _id)
ALL: Final = select(roles).order_by(roles.c.role_id)
PAGE: Final = ALL.where(roles.c.role_id > bindparam("after", type_=Text)).limit(
    bindparam("wanted", type_=Integer)
)
ALL_SCOPES: Final = select(roles.c.role_id, roles.c.scopes).order_by(roles.c.role_id)
_MUTABLE: Final = ("scopes", "description", "last_modified")
_COLUMNS: Final = ("role_id", "created", *_MUTABLE)
INSERT: Final = (
    upsert(roles)
    .values({name: bindparam(name, type_=roles.c[name].type) for name in _COLUMNS})
    .on_conflict_do_nothing()
    .returning(roles.c.role_id)
)
SAVE: Final = (
    update(roles)
    .where(roles.c.role_id == _id)
    .values({name: bindparam(name, type_=roles.c[name].type) for name in _MUTABLE})
    .returning(roles.c.role_id)
)
DELETE: Final = delete(roles).where(roles.c.role_id == _id).returning(roles.c.role_id)


async def get(connection: Connection, role_id: str) -> Role | None:
    """The role with this id."""
    row = (await connection.execute(SELECT, {"of_role": role_id})).first()
    return None if row is None else _role(row)


async def every(connection: Connection) -> list[Role]:
    """All roles, in order of their ids."""
    return [_role(row) for row in await connection.execute(ALL)]


async def page(connection: Connection, after: str, wanted: int) -> list[Role]:
    """Roles whose id comes after ``after``, in order of their ids."""
    return [_role(row) for row in await connection.execute(PAGE, {"after": after, "wanted": wanted})]


async def scopes_by_id(connection: Connection) -> dict[str, tuple[str, ...]]:
    """The scopes of every role."""
    return {row.role_id: tuple(from_json(row.scopes)) for row in await connection.execute(ALL_SCOPES)}


async def insert(tx: Tx, role: Role) -> None:
    """Write a new role. Raises Concurrent when it is there already."""
    if (await tx.connection.execute(INSERT, _values(role, _COLUMNS))).first() is None:
        raise Concurrent("another transaction created the same role")


async def save(tx: Tx, role: Role) -> None:
    """Write a role that was changed. Raises Concurrent when it is gone."""
    values = {"of_role": role.role_id, **_values(role, _MUTABLE)}
    if (await tx.connection.execute(SAVE, values)).first() is None:
        raise Concurrent("a role vanished between reading and writing it")


async def remove(tx: Tx, role_id: str) -> bool:
    """Delete a role; whether there was one."""
    return (await tx.connection.execute(DELETE, {"of_role": role_id})).first() is not None


def _role(row: Row[Any]) -> Role:
    return Role(
        role_id=row.role_id,
        scopes=tuple(from_json(row.scopes)),
        description=row.description,
        created=row.created,
        last_modified=row.last_modified,
    )


def _values(role: Role, columns: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "role_id": role.role_id,
        "scopes": to_json(role.scopes).decode(),
        "description": role.description,
        "created": role.created,
        "last_modified": role.last_modified,
    }
    return {name: values[name] for name in columns}

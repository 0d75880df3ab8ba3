"""Changes of roles: each one alone at a time, with its message (``auth.md`` 4.2).

Whether the roles as they would be are in order, ``check`` says: it is given the scopes of all roles, and
raises.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from queue_service.core.access import Role, refuse_different_role, role_not_found
from queue_service.store import access, outbox, roles
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing
from schemas.messages import RoleCreatedMessage, RoleDeletedMessage, RoleMessage, RoleUpdatedMessage

ScopesById = Mapping[str, tuple[str, ...]]
Check = Callable[[ScopesById], None]


async def create(tx: Tx, wanted: Role, check: Check) -> Role:
    """The new role, or the stored one when it is equal. Raises RequestConflict, and what ``check`` raises."""
    await access.lock(tx)
    every = await roles.scopes_by_id(tx.connection)
    stored = await roles.get(tx.connection, wanted.role_id)
    if stored is not None:
        refuse_different_role(stored, wanted)
        return stored
    check({**every, wanted.role_id: wanted.scopes})
    await roles.insert(tx, wanted)
    await _tell(tx, RoleCreatedMessage(role_id=wanted.role_id))
    return wanted


async def update(
    tx: Tx, role_id: str, scopes: tuple[str, ...], description: str, authorize: Check, check: Check
) -> Role:
    """The role with other scopes and description. Raises ResourceNotFound.

    ``authorize`` is given the scopes of all roles as they are; it raises.
    """
    await access.lock(tx)
    every = await roles.scopes_by_id(tx.connection)
    stored = await roles.get(tx.connection, role_id)
    if stored is None:
        raise role_not_found(role_id)
    authorize(every)
    check({**every, role_id: scopes})
    changed = replace(stored, scopes=scopes, description=description, last_modified=tx.now)
    await roles.save(tx, changed)
    await _tell(tx, RoleUpdatedMessage(role_id=role_id))
    return changed


async def delete(tx: Tx, role_id: str) -> None:
    """Delete a role, if there is one."""
    await access.lock(tx)
    if await roles.remove(tx, role_id):
        await _tell(tx, RoleDeletedMessage(role_id=role_id))


async def _tell(tx: Tx, message: RoleMessage) -> None:
    await access.changed(tx)
    await outbox.record(tx, [Outgoing(message, (), (f"role {message.role_id}",))])

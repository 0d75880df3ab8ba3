"""What must be there before anybody can be let in: made once, at the first start."""

from dataclasses import dataclass
from typing import Final

from queue_service.core.access import Client, Role
from queue_service.store import access, clients, roles
from queue_service.store.access import AccessState
from queue_service.store.database import Concurrent, Tx

ANONYMOUS: Final = "anonymous"
ANONYMOUS_SCOPES: Final = (
    "auth:current-scopes",
    "auth:expand-scopes",
    "queue:get-artifact:public/*",
    "queue:get-task:*",
    "queue:list-artifacts:*",
    "queue:list-dependent-tasks:*",
    "queue:list-task-group:*",
    "queue:status:*",
)
"""What everybody may do unless the operator says otherwise (``auth.md`` 3.5)."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The state after a start; ``root`` is the stored root client, and ``made_root`` whether it is new."""

    state: AccessState
    root: Client | None
    made_root: bool


async def begin(tx: Tx, root: Client | None) -> Begun:
    """Make the role of anonymous callers at the first start, and this root client if there is none yet."""
    first = await access.begin(tx)
    await access.lock(tx)
    if first:
        await roles.insert(tx, _anonymous(tx))
    stored = None if root is None else await clients.get(tx.connection, root.client_id)
    made_root = root is not None and stored is None
    if root is not None and stored is None:
        await clients.insert(tx, root)
        stored = root
    if first or made_root:
        await access.changed(tx)
    state = await access.state(tx.connection)
    if state is None:
        raise Concurrent("the first start was taken back")
    return Begun(state, stored, made_root)


def _anonymous(tx: Tx) -> Role:
    description = "Everybody has these scopes, also without credentials. Made at the first start."
    return Role(ANONYMOUS, tuple(sorted(ANONYMOUS_SCOPES)), description, tx.now, tx.now)

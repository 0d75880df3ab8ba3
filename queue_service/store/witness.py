"""What a feature is told of the tasks that it follows, within the transaction that changes them.

Only tasks that name a witness cost anything; all others never meet this.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from queue_service.core.task import Change, Task
from schemas.task import JsonObject

if TYPE_CHECKING:
    from queue_service.store.database import Tx


class Witness(Protocol):
    """Writes what it wants to keep of changes; the tasks are locked and written already."""

    async def changed(self, tx: "Tx", changes: Sequence[Change]) -> None:
        """Changes of tasks that name this witness, in their order; those of new tasks among them."""
        ...

    async def handed_out(self, tx: "Tx", tasks: Sequence[Task]) -> Mapping[str, JsonObject]:
        """What workers are to be told that have claimed these tasks now, by task id."""
        ...

"""The exchanges of hooks (``hooks-and-triggers.md`` 7)."""

from typing import Final

from events.declaration import RESERVED, Exchange
from schemas import hooks

_HOOKS: Final = "exchange/taskcluster-hooks/v1/"

HOOK_EXCHANGES: Final[tuple[Exchange, ...]] = (
    Exchange(
        _HOOKS, "hook-created", hooks.HookCreatedMessage, (RESERVED,), "Hook created", "There is a new hook."
    ),
    Exchange(
        _HOOKS,
        "hook-updated",
        hooks.HookUpdatedMessage,
        (RESERVED,),
        "Hook updated",
        "A hook has another definition.",
    ),
    Exchange(
        _HOOKS, "hook-deleted", hooks.HookDeletedMessage, (RESERVED,), "Hook deleted", "A hook is no more."
    ),
)

"""Changing hooks: each change with its message, in one transaction (``hooks-and-triggers.md`` 2)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from queue_service.features.hooks import store
from queue_service.features.hooks.hook import Hook, Key, hook_not_found, refuse_different, updated
from queue_service.store import outbox
from queue_service.store.database import Tx
from queue_service.store.outbox import Outgoing
from queue_service.store.signals import TopicStirred
from schemas.hooks import (
    CreateHookRequest,
    HookCreatedMessage,
    HookDeletedMessage,
    HookMessage,
    HookUpdatedMessage,
)

NewId = Callable[[], str]
"""Makes a slugid."""
TOPIC: Final = "hooks"
"""Of the signal that hooks have changed."""


async def create(tx: Tx, key: Key, definition: CreateHookRequest, new_id: NewId) -> Hook:
    """The new hook, or the stored one when it says the same. Raises RequestConflict."""
    stored = (await store.lock(tx, [key])).get(key)
    if stored is not None:
        refuse_different(stored.definition, definition)
        return stored
    hook = Hook(*key, definition, trigger_token=new_id(), next_task_id="").scheduled(tx.now, new_id())
    await store.create(tx, hook)
    await _tell(tx, HookCreatedMessage, key)
    return hook


async def update(tx: Tx, key: Key, definition: CreateHookRequest, new_id: NewId) -> Hook:
    """Replace the definition; the trigger token stays. Raises ResourceNotFound."""
    stored = await _locked(tx, key)
    hook = replace(stored, definition=updated(stored.definition, definition)).scheduled(tx.now, new_id())
    await store.save(tx, [hook])
    await _tell(tx, HookUpdatedMessage, key)
    return hook


async def reset_token(tx: Tx, key: Key, new_id: NewId) -> Hook:
    """Give the hook another trigger token. Raises ResourceNotFound."""
    hook = replace(await _locked(tx, key), trigger_token=new_id())
    await store.save(tx, [hook])
    return hook


async def remove(tx: Tx, key: Key) -> None:
    """Delete the hook, if there is one, and what is known of its firings."""
    if await store.remove(tx, key):
        await _tell(tx, HookDeletedMessage, key)
    await store.forget_fires(tx, key)


async def _locked(tx: Tx, key: Key) -> Hook:
    hook = (await store.lock(tx, [key])).get(key)
    if hook is None:
        raise hook_not_found(key)
    return hook


async def _tell(tx: Tx, kind: type[HookMessage], key: Key) -> None:
    group_id, hook_id = key
    message = kind.trusted(hook_group_id=group_id, hook_id=hook_id)
    await outbox.record(tx, [Outgoing(message, (), (f"hook {group_id}/{hook_id}",))])
    tx.announce(TopicStirred(TOPIC))

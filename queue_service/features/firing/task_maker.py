"""The task of a firing: rendered from its template, and checked against the scopes of a role."""

from collections.abc import Callable
from typing import Any, Final

from pydantic_core import to_json

from queue_service.api.creation import creation_of
from queue_service.api.endpoints import QUEUE_ENDPOINTS
from queue_service.auth.expressions import described, missing, render, satisfied
from queue_service.auth.roles import ExpansionTooLarge, Roles
from queue_service.auth.scopes import ScopeSet
from queue_service.core.errors import InsufficientScopes
from queue_service.core.limits import Limits
from queue_service.features.firing.sandbox import Sandbox
from queue_service.operations.tasks import Creation
from queue_service.store import access, roles
from queue_service.store.database import Database
from queue_service.store.statements import Connection
from schemas.queue import CreateTaskRequest

EVERYBODY: Final = "assume:anonymous"
EVERYTHING: Final = ScopeSet.of(["*"])
_CREATE_TASK: Final = next(endpoint for endpoint in QUEUE_ENDPOINTS if endpoint.name == "createTask")

JsonObject = dict[str, Any]
Grants = Callable[[str], ScopeSet]
"""What tasks made in a role may have. Raises InsufficientScopes if that cannot be computed."""


class TaskMaker:
    """Makes tasks for hooks and triggers.

    ``unrestricted``: tasks may have any scopes, on a server that asks nobody for any.
    """

    def __init__(self, database: Database, limits: Limits, sandbox: Sandbox, *, unrestricted: bool) -> None:
        self._database = database
        self._sandbox = sandbox
        self._unrestricted = unrestricted
        self._roles = _KnownRoles()
        self.limits = limits

    async def render(self, template: JsonObject, variables: JsonObject) -> JsonObject | None:
        """What the template gives; None for nothing. Raises TemplateFailed."""
        if is_plain(template):
            return template or None
        return await self._sandbox.render(template, variables)

    async def grants(self, connection: Connection) -> Grants:
        """What all roles grant, as they are now."""
        if self._unrestricted:
            return lambda role: EVERYTHING
        known = await self._roles.read(connection)

        def granted(role: str) -> ScopeSet:
            try:
                return known.expand([f"assume:{role}", EVERYBODY])
            except ExpansionTooLarge as error:
                raise InsufficientScopes(str(error)) from None

        return granted

    def creation(
        self, task_id: str, request: CreateTaskRequest, owner: str, role: str, scopes: ScopeSet
    ) -> Creation:
        """The task, checked. ``owner``: what the text of a refusal calls who makes it.

        Raises InputError and InsufficientScopes.
        """

        def require(**parameters: Any) -> None:
            if scopes is EVERYTHING:
                return
            required = render(_CREATE_TASK.scopes, {**parameters, "taskId": task_id})
            if required is not None and not satisfied(required, scopes):
                raise InsufficientScopes(
                    f"The role `{role}` does not have sufficient scopes for the task of the {owner}. It is "
                    f"missing:\n\n{described(missing(required, scopes))}"
                )

        return creation_of(task_id, request, require, self._database.clock.now(), self.limits)


def is_plain(template: Any) -> bool:
    """Whether a template renders to itself, so that nothing needs to be computed."""
    return b"$" not in to_json(template) or _is_plain(template)


def _is_plain(template: Any) -> bool:
    match template:
        case str():
            return "${" not in template
        case dict():
            return all(not key.startswith("$") and _is_plain(key) for key in template) and all(
                map(_is_plain, template.values())
            )
        case list() | tuple():
            return all(map(_is_plain, template))
    return True


class _KnownRoles:
    """The roles as they are, read again only when one has changed."""

    def __init__(self) -> None:
        self._generation = -1
        self._roles = Roles({})

    async def read(self, connection: Connection) -> Roles:
        state = await access.state(connection)
        generation = 0 if state is None else state.generation
        if generation != self._generation:
            self._roles = Roles(await roles.scopes_by_id(connection))
            self._generation = generation
        return self._roles

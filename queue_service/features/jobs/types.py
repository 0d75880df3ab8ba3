"""The registry of types: registered, replaced, found again compiled, let go (T-1 to T-5)."""

import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from queue_service.core.definition import equal_json
from queue_service.core.errors import InputError, RequestConflict, ResourceNotFound
from queue_service.features.jobs import store, type_store
from queue_service.features.jobs.job import RUN_STEP
from queue_service.features.jobs.params import ParamsSchema
from queue_service.features.jobs.type_store import StoredType
from queue_service.store.database import Tx
from queue_service.store.statements import Connection
from schemas.backoff import longest_wait
from schemas.extensions import DEFAULT_POLICY
from schemas.jobs import JOB_TYPE_PATTERN, JobDefaults, JobStep, JobTypeDefinition

_NAME: Final = re.compile(JOB_TYPE_PATTERN)
DEADLINE: Final = timedelta(days=1)
"""From the start of a job, unless its type says otherwise."""
COMPILED: Final = 500
"""Types whose compiled schemas are kept."""


@dataclass(frozen=True, slots=True)
class RegisteredType:
    """A type with its parameters' schema, compiled."""

    stored: StoredType
    schema: ParamsSchema

    @property
    def name(self) -> str:
        return self.stored.type

    @property
    def definition(self) -> JobTypeDefinition:
        return self.stored.definition

    @property
    def secrets(self) -> frozenset[str]:
        """The parameters that nobody is shown."""
        return self.schema.secrets.union(self.definition.secret_params)

    def steps(self) -> tuple[JobStep, ...]:
        """The steps of a new job (T-6)."""
        declared = [(step.name, step.always) for step in self.definition.steps] or [(RUN_STEP, False)]
        return tuple(
            JobStep.trusted(name=name, state="PENDING", always=always or None) for name, always in declared
        )


class Types:
    """Finds the types of jobs; what a version says never changes, so that it is compiled once."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[tuple[str, int], RegisteredType] = OrderedDict()

    async def find(self, connection: Connection, name: str) -> RegisteredType | None:
        """The type that new jobs of this name get."""
        if _NAME.fullmatch(name) is None:
            return None
        known = await type_store.which(connection, name)
        return None if known is None else await self.version(connection, known.type, known.version)

    async def version(self, connection: Connection, type: str, version: int) -> RegisteredType | None:
        """A version of a type."""
        key = (type, version)
        found = self._compiled.get(key)
        if found is None:
            stored = await type_store.get(connection, type, version)
            if stored is None:
                return None
            found = self._compiled[key] = compiled(stored.type, stored)
        self._compiled.move_to_end(key)
        if len(self._compiled) > COMPILED:
            self._compiled.popitem(last=False)
        return found


def compiled(type: str, stored: StoredType) -> RegisteredType:
    """The type, ready for use. Raises InputError for a definition that contradicts itself."""
    schema = ParamsSchema(stored.definition.params_schema)
    named = [name for name in stored.definition.secret_params if name not in schema.properties]
    if named:
        raise InputError(f"`/secretParams`: `paramsSchema` names no property `{named[0]}`.")
    if type in stored.definition.aliases:
        raise InputError(f"`/aliases`: `{type}` is the type itself.")
    return RegisteredType(stored, schema)


async def register(tx: Tx, type: str, definition: JobTypeDefinition) -> StoredType:
    """Register a type, or replace it by a new version; the same definition again changes nothing (G-4, T-4).

    Raises InputError for a definition that cannot be used, RequestConflict for a name that another type has.
    """
    compiled(type, StoredType(type, 0, definition, tx.now))
    _check_deadline(definition.defaults or JobDefaults())
    taken = await type_store.lock_names(tx, (type, *definition.aliases))
    for name, known in taken.items():
        if known.type != type:
            raise RequestConflict(f"`{name}` is the name of the type `{known.type}` already.")
    if type in taken:
        present = await type_store.get(tx.connection, type, taken[type].version)
        if present is not None and equal_json(present.definition.to_wire(), definition.to_wire()):
            return present
    return await type_store.write(tx, type, definition)


def _check_deadline(defaults: JobDefaults) -> None:
    """Refuse a policy that cannot fit its deadline (C-13)."""
    attempts = defaults.max_attempts or 1
    wait = longest_wait(defaults.retry_policy or DEFAULT_POLICY, attempts)
    deadline = defaults.deadline or DEADLINE
    if wait > deadline:
        raise InputError(
            f"`/defaults/maxAttempts`: {attempts} attempts may have to wait {wait} in between, and the "
            f"deadline is {deadline}: expected fewer attempts, shorter delays or a later deadline."
        )


async def unregister(tx: Tx, type: str) -> None:
    """Let go of a type. Raises ResourceNotFound, RequestConflict while jobs of it have not ended (T-5)."""
    if type not in await type_store.lock_names(tx, [type]):
        raise type_not_found(type)
    if await store.has_unfinished(tx.connection, type):
        raise RequestConflict(f"Jobs of the type `{type}` have not ended yet.")
    await type_store.remove(tx, type)


def type_not_found(name: str) -> ResourceNotFound:
    return ResourceNotFound(f"There is no job type `{name}`.")

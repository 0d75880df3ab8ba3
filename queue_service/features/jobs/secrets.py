"""Secret parameters at rest: encrypted, each set for its job alone."""

from functools import cached_property
from typing import Any

from pydantic_core import from_json, to_json

from queue_service.core.access import SealedToken
from queue_service.core.errors import RequestConflict
from queue_service.secret_key import secret_of
from queue_service.settings import Settings
from queue_service.store.vault import Vault, WrongKey
from schemas.task import JsonObject


class Secrets:
    """Seals and opens with the key that protects access tokens; it is looked for when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _vault(self) -> Vault:
        return Vault(secret_of(self._settings))

    def seal(self, job_id: str, params: JsonObject) -> str | None:
        """The parameters, encrypted for this job; None when there are none. Raises NoSecretKey."""
        if not params:
            return None
        return self._vault.seal(_owner(job_id), to_json(params).decode()).text

    def open(self, job_id: str, sealed: str | None) -> JsonObject:
        """The parameters themselves. Raises RequestConflict when they were encrypted with another key."""
        if sealed is None:
            return {}
        try:
            opened: Any = from_json(self._vault.open(_owner(job_id), SealedToken(sealed, self._vault.key_id)))
        except WrongKey:
            raise RequestConflict(
                f"The secret parameters of job `{job_id}` were encrypted with another key: they are lost."
            ) from None
        return dict(opened)


def _owner(job_id: str) -> str:
    return f"job/{job_id}"

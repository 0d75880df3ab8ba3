"""A named lock around the attempts of a type: one at a time for each name, over all workers (KV-11)."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from schemas.limits import MEMBER
from taskbus.endings import JobSnoozed
from taskbus.errors import Conflict
from taskbus.kv import Kv, split
from taskbus.service import ServiceClient

AGAIN_SECONDS: Final = 10.0
"""When a job comes again whose lock another one holds."""


@dataclass(frozen=True, slots=True)
class LockTemplate:
    """``tenant:namespace/name``, the name with members of the arguments in braces."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for what is no template."""
        namespace, slash, name = text.rpartition("/")
        if not slash or not name or re.search("[{}]", MEMBER.sub("", name)) or "{" in namespace:
            raise ValueError(
                f"expected tenant:namespace/name, such as acme:locks/file-{{file_id}}, got {text!r}"
            )
        split(namespace)
        return cls(namespace, name)

    def of(self, args: Mapping[str, Any]) -> str:
        """The name of the lock for these arguments. Raises ValueError for a member that they do not have."""
        return MEMBER.sub(lambda member: str(_member(args, member[1])), self.name)


@asynccontextmanager
async def held(
    template: str | None, args: Mapping[str, Any], owner: str, client: ServiceClient | None
) -> AsyncIterator[int | None]:
    """Hold the lock while the body runs; gives its fencing token, which grows with each holder.

    It is renewed meanwhile, and released also after an error. Raises JobSnoozed when another one holds it.
    """
    if template is None or client is None:
        yield None
        return
    lock = LockTemplate.parse(template)
    async with AsyncExitStack() as stack:
        holding = Kv.beside(client).kv(lock.namespace).lock(lock.of(args), owner=owner)
        try:
            taken = await stack.enter_async_context(holding)
        except Conflict:
            raise JobSnoozed(AGAIN_SECONDS) from None
        yield taken.token


def _member(args: Mapping[str, Any], path: str) -> Any:
    value: Any = args
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise ValueError(f"lock: the job has no argument {path!r}")
        value = value[name]
    return value

"""Types of jobs: arguments as a pydantic model, and what is to be known of all jobs of the type."""

import re
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from taskbus.jobs.hooks import Hook
from taskbus.jobs.options import JobOptions

KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}[A-Za-z0-9]", re.ASCII)
"""What a job's type may be called (T-2)."""
_RESERVED: Final = ("kind", "aliases", "options", "hooks")


class Job(BaseModel):
    """A job to be done; its fields are the arguments::

        class SendInvoice(Job):
            customer: int
            options = JobOptions(queue="billing/mail", max_attempts=8)

    The type is called as the class, unless it gets a name: ``class SendInvoice(Job, kind="invoice")``.
    ``aliases`` are names under which jobs of this type were inserted before. ``hooks`` are called for jobs of
    this type only, after those of the bus or the worker.

    Raises TypeError for a class that cannot be a type of job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[JobOptions] = JobOptions()
    hooks: ClassVar[tuple[Hook, ...]] = ()

    def __init_subclass__(cls, *, kind: str = "", aliases: tuple[str, ...] = (), **rest: Any) -> None:
        super().__init_subclass__(**rest)

    @classmethod
    def __pydantic_init_subclass__(
        cls, *, kind: str = "", aliases: tuple[str, ...] = (), **rest: Any
    ) -> None:
        if reserved := [name for name in _RESERVED if name in cls.model_fields]:
            raise TypeError(f"{cls.__name__}.{reserved[0]}: this name has a meaning for every type of job")
        cls.kind, cls.aliases = kind or cls.__name__, aliases
        for name in (cls.kind, *aliases):
            if KIND.fullmatch(name) is None:
                raise TypeError(
                    f"{cls.__name__}: expected a kind of 2 to 64 letters, digits, '_', '.' or '-', "
                    f"got {name!r}"
                )

    @classmethod
    def of_args(cls, args: Any) -> Self:
        """The job with these arguments, JSON values. Raises pydantic.ValidationError."""
        return cls.model_validate_json(to_json(args))

    def payload(self) -> dict[str, Any]:
        """What the job's task has as its payload."""
        return {"kind": self.kind, "args": self.model_dump(mode="json")}

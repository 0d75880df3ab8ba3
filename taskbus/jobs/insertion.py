"""From a job to the task that stands for it, and what becomes of that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypedDict

from schemas.durations import parse_duration
from schemas.ids import slugid
from schemas.queue import CreateTaskRequest
from schemas.task import Priority, Requires
from schemas.times import parse_time
from taskbus.jobs.job import Job
from taskbus.jobs.options import Duration, JobOptions
from taskbus.tasks import DEFAULT_OWNER, DEFAULT_SOURCE


class InsertOptions(TypedDict, total=False):
    """What an insertion may say; the rest is said by the type's options."""

    task_id: str
    """Chosen by the caller, so that a repeat does no harm; a new one if left out."""
    run_at: datetime
    """Not before that (C-11)."""
    held: bool
    """Not before somebody schedules it (C-12)."""
    queue: str
    priority: Priority
    max_attempts: int
    deadline: Duration
    """From now, or from ``run_at``."""
    dependencies: Sequence[str]
    """Tasks that have to be done before."""
    requires: Requires
    task_group_id: str
    scheduler_id: str
    project_id: str
    routes: Sequence[str]
    """Further routing keys of its messages, without the prefix ``route.``"""
    scopes: Sequence[str]
    tags: Mapping[str, str]
    """Besides those of the type."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """A job that is to be inserted, with the id its task will have.

    Raises TypeError for an option that does not exist.
    """

    job: Job
    options: InsertOptions = field(default_factory=InsertOptions)
    task_id: str = field(init=False)

    def __post_init__(self) -> None:
        if unknown := self.options.keys() - InsertOptions.__annotations__.keys():
            known = ", ".join(InsertOptions.__annotations__)
            raise TypeError(f"{min(unknown)}: there is no such option of an insertion; there are {known}")
        object.__setattr__(self, "task_id", self.options.get("task_id") or slugid())

    @classmethod
    def of(cls, given: "Job | Insertion", options: InsertOptions) -> "Insertion":
        """The insertion of a job; of an insertion itself, which may come without further options only."""
        if isinstance(given, Insertion):
            if options:
                raise TypeError("an Insertion has its options already")
            return given
        return cls(given, options)


@dataclass(frozen=True, slots=True)
class InsertResult:
    """What became of an insertion.

    ``task_id`` is the job's; that of the job which is there already if this one was a duplicate.
    """

    task_id: str
    created: bool
    unique_skipped_as_duplicate: bool = False


def task_of(insertion: Insertion, now: datetime) -> CreateTaskRequest:
    """The task of a job. Raises ValueError (pydantic.ValidationError) that names the wrong members."""
    job = insertion.job
    return job_task(job.payload(), job.options, insertion.options, now)


def job_task(
    payload: Mapping[str, Any], options: JobOptions, given: InsertOptions, now: datetime
) -> CreateTaskRequest:
    """The task of a job with this payload. Raises as :func:`task_of`."""
    start = max(now, parse_time(given["run_at"])) if "run_at" in given else now
    deadline = start + parse_duration(given.get("deadline", options.deadline))
    members: dict[str, Any] = {
        **options.extensions,
        "taskQueueId": given.get("queue", options.queue),
        "priority": given.get("priority", options.level),
        "created": now,
        "deadline": deadline,
        "expires": deadline + parse_duration(options.expires),
        "payload": payload,
        "metadata": {
            "name": payload["kind"],
            "description": "",
            "owner": DEFAULT_OWNER,
            "source": DEFAULT_SOURCE,
        },
        "tags": {**options.tags, **given.get("tags", {})},
    }
    for name in _AS_GIVEN:
        if name in given:
            members[name] = given[name]
    if "max_attempts" in given:
        members["maxAttempts"] = given["max_attempts"]
    return CreateTaskRequest.model_validate(members)


_AS_GIVEN: Final = (
    "run_at",
    "held",
    "dependencies",
    "requires",
    "task_group_id",
    "scheduler_id",
    "project_id",
    "routes",
    "scopes",
)

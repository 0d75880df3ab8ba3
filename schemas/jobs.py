"""Typed jobs: their types, what submits and reports them, and what is shown and told of them.

Rules: ``seed-systems.md`` part B. Whatever the member ``params`` holds is judged by the type's own JSON
Schema.
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.attempts import AttemptError, Count
from schemas.base import INTEGRAL, Document, Request, Text
from schemas.durations import Duration
from schemas.extensions import MAX_ATTEMPTS, Flag, RetryPolicy
from schemas.ids import TENANT_PATTERN, TaskGroupId, TaskId, TaskQueueId
from schemas.limits import ConcurrencyLimit
from schemas.messages import Message
from schemas.task import (
    UNIQUE,
    UNIQUE_ITEMS,
    Dependencies,
    JsonObject,
    Priority,
    Retries,
    Routes,
    RunId,
    Tags,
)
from schemas.times import Time
from schemas.unique import Unique

JobState = Literal["PENDING", "RUNNING", "DONE", "ERROR", "CANCELLED"]
StepState = Literal["PENDING", "RUNNING", "DONE", "ERROR", "SKIPPED"]

JOB_TYPE_PATTERN: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,62}[A-Za-z0-9]"
ENV_ID_PATTERN: Final = r"[A-Za-z0-9_.:-]{1,64}"
STEP_PATTERN: Final = r"[\x20-\x7e]{1,64}"
MAX_STEPS: Final = 100
MAX_ALIASES: Final = 20
MAX_SECRETS: Final = 50
MAX_PARAMS: Final = 256 * 1024
"""Bytes of the parameters as JSON (JS-4)."""
MAX_CURSOR: Final = 64 * 1024

JobType = Annotated[str, StringConstraints(strict=True, pattern=f"^(?:{JOB_TYPE_PATTERN})$")]
EnvId = Annotated[str, StringConstraints(strict=True, pattern=f"^(?:{ENV_ID_PATTERN})$")]
LockName = Annotated[
    str,
    StringConstraints(strict=True, pattern=rf"^{TENANT_PATTERN}:[A-Za-z0-9._/-]+/[^/]+$", max_length=1000),
]
"""``tenant:namespace/name`` of a named lock, the name with members of the parameters in braces."""
StepName = Annotated[str, StringConstraints(strict=True, pattern=f"^(?:{STEP_PATTERN})$")]
Note = Annotated[str, StringConstraints(strict=True, max_length=1000)]
"""A line for people."""
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]
MAX_AMOUNT: Final = 1e15
Amount = Annotated[float, Field(strict=True, ge=0, le=MAX_AMOUNT)]
Total = Annotated[float, Field(strict=True, gt=0, le=MAX_AMOUNT)]

# ---- types -------------------------------------------------------------------------------------------


class StepDefinition(Request):
    """A step of a type. One that is ``always`` taken runs also after another has failed (T-7)."""

    name: StepName
    always: Flag = False


class JobDefaults(Request):
    """What a submission need not say.

    ``timeout``: of an attempt, -1 for none (H-1); ``deadline``: from the start of the job.
    """

    priority: Priority | None = None
    retries: Retries | None = None
    max_attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS), INTEGRAL] | None = None
    retry_policy: RetryPolicy | None = None
    timeout: Duration | Literal[-1] | None = None
    deadline: Duration | None = None


class JobRetention(Request):
    """How long a job is kept after its end, by how it ended."""

    done: Duration | None = None
    error: Duration | None = None
    cancelled: Duration | None = None


class JobTypeDefinition(Request):
    """A type of jobs: what its parameters are, what steps it has, who works on it (T-1)."""

    schema_name = "job-type-definition"

    description: Annotated[str, StringConstraints(strict=True, max_length=32768)] = ""
    params_schema: JsonObject = Field(default_factory=lambda: {"type": "object"})
    """JSON Schema 2020-12 of an object; properties that it does not name are refused unless it says so."""
    steps: Annotated[tuple[StepDefinition, ...], Field(max_length=MAX_STEPS)] = ()
    """None stand for one step `Run`."""
    task_queue_id: TaskQueueId
    defaults: JobDefaults | None = None
    step_order: Literal["sequential", "any"] = "sequential"
    resumable: Flag = False
    """Whether a new run goes on behind the steps that are done."""
    retention: JobRetention | None = None
    unique: Unique | None = None
    concurrency: ConcurrencyLimit | None = None
    lock: LockName | None = None
    """What an attempt's worker holds while it works; while another job has it, it snoozes (KV-11)."""
    secret_params: Annotated[
        tuple[Text, ...], Field(max_length=MAX_SECRETS, json_schema_extra=UNIQUE_ITEMS), UNIQUE
    ] = ()
    """Parameters that nobody is shown but the worker, beside those that the schema has as `writeOnly`."""
    aliases: Annotated[
        tuple[JobType, ...], Field(max_length=MAX_ALIASES, json_schema_extra=UNIQUE_ITEMS), UNIQUE
    ] = ()
    """Other names under which the type may be submitted (T-2)."""

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError("`steps` must not have the same name twice")
        return self


class JobTypeResponse(Document):
    """A type as it is registered."""

    schema_name = "job-type-response"

    type: Text
    version: Count
    """Counts the replacements, from 1."""
    registered: Time
    live_workers: Count
    """Workers that asked its task queue for work in the last minutes."""
    definition: JobTypeDefinition


class JobTypesResponse(Document):
    schema_name = "job-types-response"

    types: tuple[JobTypeResponse, ...]
    continuation_token: Text | None = None


class ListedType(Document):
    """A type of the catalogue."""

    type: Text
    definition: JobTypeDefinition


class JobCatalogueResponse(Document):
    """Types that are at hand, whether or not they are registered."""

    schema_name = "job-catalogue-response"

    types: tuple[ListedType, ...]


# ---- jobs --------------------------------------------------------------------------------------------


class SubmitJobRequest(Request):
    """A job to do (JS-1). What is left out is said by the type."""

    schema_name = "submit-job-request"

    type: Annotated[Text, Field(max_length=64)]
    params: JsonObject = Field(default_factory=dict)
    env_id: EnvId | None = None
    job_id: TaskId | None = None
    """Chosen by the caller, so that a repeat does no harm."""
    priority: Priority | None = None
    run_at: Time | None = None
    dependencies: Dependencies = ()
    task_group_id: TaskGroupId | None = None
    retries: Retries | None = None
    max_attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS), INTEGRAL] | None = None
    unique: Unique | None = None
    tags: Tags = Field(default_factory=dict)
    routes: Routes = ()


class JobStep(Document):
    """A step as it is kept and shown."""

    name: Text
    state: StepState
    always: Literal[True] | None = None
    started: Time | None = None
    finished: Time | None = None
    percent: float | None = None
    message: Text | None = None
    error: Text | None = None


class JobProgress(Document):
    """How far a job is: as its worker said, or the mean of its steps."""

    percent: float | None = None
    current: float | None = None
    total: float | None = None
    message: Text | None = None
    at: Time


class JobLinks(Document):
    """Where the task of the job and its stream are, below the root URL."""

    task: Text
    stream: Text


class JobResponse(Document):
    """A job (J-3). Lists leave out ``errors`` and ``output``."""

    schema_name = "job-response"

    job_id: TaskId
    type: Text
    type_version: Count
    state: JobState
    reason: Text | None = None
    """Why it ended in an error: the task's `reasonResolved`; of a cancellation what its caller said."""
    params: JsonObject
    """Without those that are secret."""
    env_id: Text | None = None
    priority: Priority
    attempt: Count
    """The attempt that is under way or comes next."""
    max_attempts: Count
    created: Time
    started: Time | None = None
    finished: Time | None = None
    progress: JobProgress
    steps: tuple[JobStep, ...]
    output: Any = None
    errors: tuple[AttemptError, ...] | None = None
    cancel_requested: Literal[True] | None = None
    links: JobLinks
    unique_skipped_as_duplicate: Literal[True] | None = None
    """An equal job exists, which is this one. The one that was asked for does not exist."""


class JobsResponse(Document):
    """The newest first."""

    schema_name = "jobs-response"

    jobs: tuple[JobResponse, ...]
    continuation_token: Text | None = None


class CancelJobRequest(Request):
    """``now`` ends the job whatever its worker does; ``graceful`` lets a run finish (B.6)."""

    schema_name = "cancel-job-request"

    mode: Literal["now", "graceful"] = "now"
    reason: Note | None = None


# ---- what workers tell -------------------------------------------------------------------------------


class StepReport(Request):
    """What became of a step (P-2). ``cursor``: where it got to, for the next run of a resumable job."""

    schema_name = "step-report"

    state: Literal["RUNNING", "DONE", "ERROR"]
    percent: Percent | None = None
    message: Note | None = None
    error: Text | None = None
    """16 KiB; longer ones lose their middle."""
    cursor: Any = None


class ProgressReport(Request):
    """How far the job, or one of its steps, is (P-4)."""

    schema_name = "progress-report"

    percent: Percent | None = None
    current: Amount | None = None
    total: Total | None = None
    message: Note | None = None
    step: StepName | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.current is None) != (self.total is None):
            raise ValueError("`current` and `total` are given together")
        if self.percent is None and self.current is None and self.message is None:
            raise ValueError("needs `percent`, `current` with `total`, or `message`")
        if self.percent is None and self.current is not None and self.current > (self.total or 0):
            raise ValueError("`current` must not be more than `total`")
        return self


class LogReport(Request):
    """A line for those who watch the job."""

    schema_name = "log-report"

    message: Note
    level: Literal["debug", "info", "warning", "error"] = "info"


class OutputReport(Request):
    """The result so far: any JSON of 256 KiB or less; the last one counts (P-8)."""

    schema_name = "output-report"

    output: Any


class JobRunResponse(Document):
    """What the worker of a run is to know."""

    schema_name = "job-run-response"

    job_id: TaskId
    run_id: RunId
    type: Text
    type_version: Count
    state: JobState
    params: JsonObject
    """All of them, the secret ones too."""
    steps: tuple[JobStep, ...]
    completed_steps: tuple[Text, ...]
    """Those that earlier runs of a resumable job have done (P-7)."""
    cursor: Any = None
    cancel_requested: Literal[True] | None = None


class ReportResponse(Document):
    """What a worker is told when it reports of a job."""

    schema_name = "job-report-response"

    state: JobState
    steps: tuple[JobStep, ...]
    cancel_requested: Literal[True] | None = None


# ---- messages ----------------------------------------------------------------------------------------


class JobMessage(Message):
    """A message about a job."""

    job_id: TaskId
    type: Text
    state: JobState
    env_id: Text | None = None
    task_group_id: TaskGroupId


class JobLine(Document):
    """A line that a job's worker told those who watch it."""

    level: Text
    message: Text
    at: Time


class JobUpdatedMessage(JobMessage):
    """A step of the job changed, or its worker told how far it is, or a line."""

    schema_name = "job-updated-message"

    step: JobStep | None = None
    progress: JobProgress | None = None
    log: JobLine | None = None


class JobResolvedMessage(JobMessage):
    """The job has ended."""

    schema_name = "job-resolved-message"

    reason: Text | None = None
    steps: tuple[JobStep, ...]

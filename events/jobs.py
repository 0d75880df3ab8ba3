"""The exchanges of typed jobs (``seed-systems.md`` B.8)."""

from typing import Final

from events.declaration import KIND, RESERVED, Exchange, Word
from schemas import jobs

_JOBS: Final = "exchange/taskbus-jobs/v1/"
_WORDS: Final = (
    KIND,
    Word("jobId", "Id of the job, which is its task's.", 22, source="job_id"),
    Word("type", "The type, its dots as underscores.", 64, source="type", dots_as="_"),
    Word("state", "`PENDING`, `RUNNING`, `DONE`, `ERROR` or `CANCELLED`.", 9, source="state"),
    Word(
        "envId",
        "The job's `envId`, its dots as underscores.",
        64,
        required=False,
        source="env_id",
        dots_as="_",
    ),
    Word("taskGroupId", "Group of the job's task.", 22, source="task_group_id"),
    RESERVED,
)

JOB_EXCHANGES: Final[tuple[Exchange, ...]] = (
    Exchange(
        _JOBS,
        "job-updated",
        jobs.JobUpdatedMessage,
        _WORDS,
        "Job updated",
        "A step of a job changed, each time; or its worker told how far the job is, once a second at most, "
        "or a line (`log`), of which the first in each second is told.",
    ),
    Exchange(
        _JOBS,
        "job-resolved",
        jobs.JobResolvedMessage,
        _WORDS,
        "Job resolved",
        "A job has ended: it is done, failed or was cancelled. The messages about its task tell the same "
        "without the steps. A job that is run again can be resolved again.",
    ),
)
"""What is told of typed jobs."""

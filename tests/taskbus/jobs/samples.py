"""A type of job, and claims of its jobs as a queue hands them out."""

from typing import Any

from schemas.queue import TaskClaimResponse
from taskbus.jobs import Job, JobOptions, Run
from taskbus.jobs.reporter import Reporter
from taskbus.runs import ClaimedRun
from tests.taskbus import samples
from tests.taskbus.manual_clock import ManualClock


class SendInvoice(Job):
    customer: int
    copies: int = 1
    options = JobOptions(queue="billing/mail", max_attempts=8)


def claimed(
    job: Job | dict[str, Any], *, task_id: str = samples.TASK_ID, max_attempts: int = 8, errors: int = 0
) -> TaskClaimResponse:
    """A claim of a job, or of a task with this payload."""
    claim = samples.claim(task_id, job.payload() if isinstance(job, Job) else job)
    claim["task"]["maxAttempts"] = max_attempts
    return TaskClaimResponse.model_validate(claim)


def claimed_run(job: Job | dict[str, Any], clock: ManualClock, **options: Any) -> ClaimedRun:
    return ClaimedRun(claimed(job, **options), clock)


def run_of(job: Job | dict[str, Any], clock: ManualClock, **options: Any) -> Run:
    run = claimed_run(job, clock, **options)
    return Run(run, Reporter(run, None, clock))

"""Jobs: work as a class with typed arguments and a function that does it. See ``docs/jobs.md``."""

from taskbus.endings import JobCancelled, JobSnoozed
from taskbus.jobs.bus import Taskbus
from taskbus.jobs.hooks import Hook, InsertMiddleware, Metric, WorkMiddleware
from taskbus.jobs.insertion import Insertion, InsertOptions, InsertResult
from taskbus.jobs.job import Job
from taskbus.jobs.options import (
    JobOptions,
    Limit,
    Rate,
    Retention,
    Step,
    Unique,
    delays,
    exponential,
    fixed,
    polynomial,
)
from taskbus.jobs.run import Run
from taskbus.jobs.typed import SubmitOptions
from taskbus.jobs.worker import Worker
from taskbus.run_step import RunStep

__all__ = [
    "Hook",
    "InsertMiddleware",
    "InsertOptions",
    "InsertResult",
    "Insertion",
    "Job",
    "JobCancelled",
    "JobOptions",
    "JobSnoozed",
    "Limit",
    "Metric",
    "Rate",
    "Retention",
    "Run",
    "RunStep",
    "Step",
    "SubmitOptions",
    "Taskbus",
    "Unique",
    "WorkMiddleware",
    "Worker",
    "delays",
    "exponential",
    "fixed",
    "polynomial",
]

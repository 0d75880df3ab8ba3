"""Jobs: work as a class with typed arguments and a function that does it. See ``docs/jobs.md``."""

from taskbus.jobs.bus import Taskbus
from taskbus.jobs.hooks import Hook, InsertMiddleware, Metric, WorkMiddleware
from taskbus.jobs.insertion import Insertion, InsertOptions, InsertResult
from taskbus.jobs.job import Job
from taskbus.jobs.options import (
    JobOptions,
    Limit,
    Rate,
    Retention,
    Unique,
    delays,
    exponential,
    fixed,
    polynomial,
)
from taskbus.jobs.run import JobCancelled, JobSnoozed, Run
from taskbus.jobs.worker import Worker

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
    "Taskbus",
    "Unique",
    "WorkMiddleware",
    "Worker",
    "delays",
    "exponential",
    "fixed",
    "polynomial",
]

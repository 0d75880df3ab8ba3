"""The handlers of jobs: submitted, shown, cancelled, and reported by the workers that have them."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from queue_service.api.endpoint import Answer, Call
from queue_service.api.paging import page_of
from queue_service.clock import Clock
from queue_service.core.attempts import refuse_former_holder
from queue_service.core.errors import InputError, QueueError
from queue_service.core.limits import Limits
from queue_service.core.task import Task
from queue_service.features.jobs import operations, store, views
from queue_service.features.jobs.job import cancel_requested, completed_steps, state_of
from queue_service.features.jobs.operations import (
    Cancellation,
    Output,
    Reported,
    RunReport,
    StepMove,
    Submitted,
    Told,
    job_not_found,
)
from queue_service.features.jobs.secrets import Secrets
from queue_service.features.jobs.store import Place
from queue_service.features.jobs.submission import Submission, submission_of, unknown_type
from queue_service.features.jobs.types import Types
from queue_service.features.jobs.views import Wanted
from queue_service.operations.batching import Batcher
from queue_service.store import tasks
from queue_service.store.database import Database, Tx
from schemas.ids import slugid
from schemas.jobs import (
    CancelJobRequest,
    JobResponse,
    JobRunResponse,
    JobsResponse,
    LogReport,
    OutputReport,
    ProgressReport,
    ReportResponse,
    StepReport,
    SubmitJobRequest,
)
from schemas.times import parse_time

PAGE: Final = 100


class JobsApi:
    """Handlers with what they need; calls of one kind that meet share a transaction."""

    def __init__(
        self, database: Database, clock: Clock, limits: Limits, types: Types, secrets: Secrets
    ) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._types = types
        self._secrets = secrets
        lanes = 1 if database.is_sqlite else 2
        self._submissions = Batcher[Submission, Submitted](self._submit, lanes=lanes)
        self._reports = Batcher[RunReport, Reported](self._report, lanes=lanes)
        self._cancellations = Batcher[Cancellation, Reported](self._cancel, lanes=lanes)

    async def close(self) -> None:
        """Finish the transactions under way."""
        for batcher in (self._submissions, self._reports, self._cancellations):
            await batcher.close()

    # ---- for those who want work done ------------------------------------------------------------------

    async def submit_job(self, call: Call[SubmitJobRequest]) -> Answer:
        request = call.body
        async with self._database.read() as connection:
            found = await self._types.find(connection, request.type)
        call.require(type=request.type if found is None else found.name, routes=request.routes)
        if found is None:
            raise unknown_type(request.type)
        job_id = request.job_id or slugid()
        submission = submission_of(request, found, job_id, self._clock.now(), self._limits)
        submitted = await self._submissions.submit(submission, weight=call.size)
        async with self._database.read() as connection:
            job = await views.show(connection, submitted.job.task_id)
        if submitted.job.task_id != job_id:
            job = job.model_copy(update={"unique_skipped_as_duplicate": True})
        return Answer(201 if submitted.created else 200, job)

    async def get_job(self, call: Call[None]) -> JobResponse:
        async with self._database.read() as connection:
            return await views.show(connection, call.params["jobId"])

    async def list_jobs(self, call: Call[None]) -> JobsResponse:
        query = call.query
        asked = page_of(query, usual=PAGE)
        try:
            created_after = parse_time(query["createdAfter"]) if "createdAfter" in query else None
        except ValueError as error:
            raise InputError(f"`createdAfter`: {error}") from None
        name, _, value = query.get("tag", "").partition("=")
        wanted = Wanted(
            type=query.get("type"),
            state=query.get("state"),  # type: ignore[arg-type]  # the pipeline has checked it
            env_id=query.get("envId"),
            tag=(name, value) if "tag" in query else None,
            created_after=created_after,
        )
        async with self._database.read() as connection:
            jobs, rest = await views.page(connection, wanted, _place(asked.after), asked.limit)
        token = None if rest is None else asked.token_after(f"{rest.created}/{rest.task_id}")
        return JobsResponse.trusted(jobs=tuple(jobs), continuation_token=token)

    async def cancel_job(self, call: Call[CancelJobRequest]) -> JobResponse:
        job_id, asked = call.params["jobId"], call.body
        await self._cancellations.submit(
            Cancellation(
                job_id,
                asked.mode == "graceful",
                asked.reason,
                lambda job: call.require(type=job.type),
            )
        )
        async with self._database.read() as connection:
            return await views.show(connection, job_id)

    # ---- for workers -----------------------------------------------------------------------------------

    async def job_run(self, call: Call[None]) -> JobRunResponse:
        job_id, run_id = call.params["jobId"], call.run_id()
        async with self._database.read() as connection:
            task = (await tasks.get(connection, [job_id])).get(job_id)
            job = (await store.get(connection, [job_id])).get(job_id)
            definition = (await tasks.definitions(connection, [job_id])).get(job_id)
        if task is None or job is None or definition is None:
            raise job_not_found(job_id)
        _holder(call)(task)
        operations.refuse_unless_running(task, run_id)
        return JobRunResponse.trusted(
            job_id=job_id,
            run_id=run_id,
            type=job.type,
            type_version=job.version,
            state=state_of(task),
            params={**views.params_of(definition), **self._secrets.open(job_id, job.secrets)},
            steps=job.steps,
            completed_steps=completed_steps(job),
            cursor=job.cursor,
            cancel_requested=cancel_requested(task) or None,
        )

    async def report_step(self, call: Call[StepReport]) -> ReportResponse:
        return await self._reported(call, StepMove.of(call.params["step"], call.body))

    async def report_progress(self, call: Call[ProgressReport]) -> ReportResponse:
        return await self._reported(call, call.body)

    async def report_log(self, call: Call[LogReport]) -> ReportResponse:
        return await self._reported(call, call.body)

    async def put_output(self, call: Call[OutputReport]) -> ReportResponse:
        return await self._reported(call, Output.of(call.body))

    async def _reported(self, call: Call[Any], told: Told) -> ReportResponse:
        report = RunReport(call.params["jobId"], call.run_id(), told, _holder(call))
        reported = await self._reports.submit(report, weight=call.size)
        return ReportResponse.trusted(
            state=state_of(reported.task),
            steps=reported.job.steps,
            cancel_requested=cancel_requested(reported.task) or None,
        )

    # ---- transactions ----------------------------------------------------------------------------------

    async def _submit(self, submissions: Sequence[Submission]) -> Sequence[Submitted | QueueError]:
        margin = self._limits.group_expiry_margin

        async def script(tx: Tx) -> list[Submitted | QueueError]:
            return await operations.submit(tx, submissions, self._secrets, group_expiry_margin=margin)

        return await self._database.write(script)

    async def _report(self, reports: Sequence[RunReport]) -> Sequence[Reported | QueueError]:
        return await self._database.write(lambda tx: operations.report(tx, reports))

    async def _cancel(self, wanted: Sequence[Cancellation]) -> Sequence[Reported | QueueError]:
        return await self._database.write(lambda tx: operations.cancel(tx, wanted))


def _holder(call: Call[Any]) -> Callable[[Task], None]:
    """The pipeline has looked at the caller's scopes; he may still hold a former claim of the run."""
    return lambda task: refuse_former_holder(task, call.permit.client_id)


def _place(after: str) -> Place | None:
    if not after:
        return None
    created, _, task_id = after.partition("/")
    if not created.isdecimal() or len(created) > 15 or not task_id:
        raise InputError("`continuationToken` is not one that this service has given out.")
    return Place(int(created), task_id)

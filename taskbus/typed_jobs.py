"""The jobs' HTTP API as methods: types, submissions, and what workers report. See ``docs/typed-jobs.md``."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any, Literal, Self

from pydantic_core import to_json

from schemas.jobs import (
    CancelJobRequest,
    JobCatalogueResponse,
    JobResponse,
    JobRunResponse,
    JobsResponse,
    JobState,
    JobTypeDefinition,
    JobTypeResponse,
    JobTypesResponse,
    LogReport,
    ProgressReport,
    ReportResponse,
    StepReport,
    SubmitJobRequest,
)
from schemas.times import format_time
from taskbus.service import ServiceClient, pages
from taskbus.streaming import EventStream, ServerEvent


class Jobs(ServiceClient):
    """A client of typed jobs::

    async with Jobs() as jobs:
        job = await jobs.submit({"type": "FILE_ETL", "params": {"fileId": "orders.csv"}})
    """

    service = "jobs"

    @classmethod
    def beside(cls, client: ServiceClient) -> Self:
        """A client with the connections and credentials of another one; open as long as that is."""
        return cls(credentials=client.credentials, transport=client._transport)

    # Types

    async def register_type(
        self, name: str, definition: JobTypeDefinition | Mapping[str, Any]
    ) -> JobTypeResponse:
        """Register a type, or a new version of it; the same definition again changes nothing.

        Raises InputError for a definition that cannot be used, Conflict for a name that another type has, and
        pydantic.ValidationError for one of another shape.
        """
        if not isinstance(definition, JobTypeDefinition):
            definition = JobTypeDefinition.model_validate(dict(definition))
        return await self._put(JobTypeResponse, "types", name, body=definition.to_json())

    async def job_type(self, name: str, *, version: int | None = None) -> JobTypeResponse:
        """A type by its name or alias, and how many workers are there for it. Raises NotFound."""
        return await self._get(JobTypeResponse, "types", name, query={"version": version})

    async def job_types(self) -> AsyncIterator[JobTypeResponse]:
        """All types, by name."""

        def fetch(token: str | None) -> Awaitable[JobTypesResponse]:
            return self._get(JobTypesResponse, "types", query={"continuationToken": token})

        async for page in pages(fetch):
            for one in page.types:
                yield one

    async def catalogue(self) -> dict[str, JobTypeDefinition]:
        """Types that are at hand, by name, whether or not they are registered."""
        found = await self._get(JobCatalogueResponse, "catalogue")
        return {one.type: one.definition for one in found.types}

    async def remove_type(self, name: str) -> None:
        """Delete a type. Raises NotFound, and Conflict while jobs of it have not ended."""
        await self._call("DELETE", "types", name)

    # Jobs

    async def submit(self, request: SubmitJobRequest | Mapping[str, Any]) -> JobResponse:
        """Submit a job. With a ``jobId`` of yours, a repeat does no harm.

        Raises InputValidationError for parameters that do not fit the type, InputError for an unknown type,
        Conflict for an id that has other content.
        """
        if not isinstance(request, SubmitJobRequest):
            request = SubmitJobRequest.model_validate(dict(request))
        return await self._post(JobResponse, "jobs", body=request.to_json())

    async def job(self, job_id: str) -> JobResponse:
        """How a job stands. Raises NotFound."""
        return await self._get(JobResponse, "jobs", job_id)

    async def jobs(
        self,
        *,
        type: str | None = None,
        state: JobState | None = None,
        env_id: str | None = None,
        tag: tuple[str, str] | None = None,
        created_after: datetime | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[JobResponse]:
        """Jobs, the newest first, without their errors and outputs."""
        query: dict[str, str | int | None] = {
            "type": type,
            "state": state,
            "envId": env_id,
            "tag": None if tag is None else "=".join(tag),
            "createdAfter": None if created_after is None else format_time(created_after),
            "limit": page_size,
        }

        def fetch(token: str | None) -> Awaitable[JobsResponse]:
            return self._get(JobsResponse, "jobs", query={**query, "continuationToken": token})

        async for page in pages(fetch):
            for job in page.jobs:
                yield job

    async def cancel(
        self, job_id: str, *, mode: Literal["now", "graceful"] = "now", reason: str | None = None
    ) -> JobResponse:
        """Cancel a job; ``graceful`` lets its worker finish. One that has ended stays as it is."""
        body = CancelJobRequest.trusted(mode=mode, reason=reason).to_json()
        return await self._post(JobResponse, "jobs", job_id, "cancel", body=body)

    async def watch(self, job_id: str, *, last_id: str | None = None) -> AsyncGenerator[ServerEvent, None]:
        """What becomes of a job until its ``end``: first a ``snapshot``, or the events after ``last_id``.

        A connection that is lost is made again; no change of a state or a step is missed or told twice. Where
        the server does not keep them any more, there is another ``snapshot``. Raises NotFound.
        """
        stream = EventStream(
            self._transport,
            (*self._base, "jobs", job_id, "stream"),
            sign=None if self._credentials is None else self._credentials.authorization,
            last_id=last_id,
        )
        async with aclosing(stream.events()) as received:
            async for event in received:
                yield event
                if event.kind == "end":
                    return

    # Calls of workers, with the credentials of a claim

    async def run(self, job_id: str, run_id: int) -> JobRunResponse:
        """What a worker needs: all parameters, completed steps, the cursor. Raises Conflict if it ended."""
        return await self._get(JobRunResponse, *_run(job_id, run_id))

    async def report_step(self, job_id: str, run_id: int, step: str, report: StepReport) -> ReportResponse:
        """Tell that a step begins or ends. Raises Conflict for a move that steps do not make."""
        path = (*_run(job_id, run_id), "steps", step)
        return await self._put(ReportResponse, *path, body=report.to_json())

    async def report_progress(self, job_id: str, run_id: int, report: ProgressReport) -> ReportResponse:
        """Tell how far the job is, or a step of it."""
        path = (*_run(job_id, run_id), "progress")
        return await self._post(ReportResponse, *path, body=report.to_json())

    async def report_log(self, job_id: str, run_id: int, report: LogReport) -> ReportResponse:
        """Tell those who watch the job a line."""
        return await self._post(ReportResponse, *_run(job_id, run_id), "log", body=report.to_json())

    async def put_output(self, job_id: str, run_id: int, output: Any) -> ReportResponse:
        """Keep the result so far. Raises InputTooLarge beyond 256 KiB of JSON."""
        body = to_json({"output": output}, inf_nan_mode="null")
        return await self._put(ReportResponse, *_run(job_id, run_id), "output", body=body)


def _run(job_id: str, run_id: int) -> tuple[str, str, str, str]:
    return "jobs", job_id, "runs", str(run_id)

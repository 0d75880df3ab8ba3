"""The tables of the jobs API's endpoints (``seed-systems.md`` B.3 to B.6)."""

from dataclasses import replace
from typing import Any, Final

from queue_service.api.endpoint import Endpoint
from queue_service.features.jobs.api import JobsApi
from queue_service.features.jobs.type_api import JobTypesApi
from schemas import jobs as shapes

_TYPES: Final = "Types"
_JOBS: Final = "Jobs"
_WORKERS: Final = "Worker Interface"
_PAGED: Final = ("continuationToken", "limit")
_TYPE: Final = "/types/<jobType>"
_JOB: Final = "/jobs/<jobId>"
_RUN: Final = f"{_JOB}/runs/<runId>"
_HOLDER: Final = "queue:resolve-task:<jobId>/<runId>"
"""What the credentials of the run's claim have, and nobody else (P-1)."""
_SUBMIT: Final[dict[str, Any]] = {
    "AllOf": ["jobs:create:<type>", {"each": "queue:route:<route>", "for": "route", "in": "routes"}]
}

TYPE_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="registerJobType",
        method="put",
        route=_TYPE,
        category=_TYPES,
        title="Register a type of jobs",
        description=(
            "Registers a type, or a new version of it: jobs keep the version that they were submitted with. "
            "The same definition again changes nothing. `paramsSchema` refuses properties that it does not "
            "name, unless it says otherwise. Whoever may register a type decides which workers its jobs go "
            "to."
        ),
        handler=JobTypesApi.put_type,
        scopes="jobs:register-type:<jobType>",
        input=shapes.JobTypeDefinition,
        output=shapes.JobTypeResponse,
        refuses=(409, 413),
        creates=True,
    ),
    Endpoint(
        name="listJobTypes",
        method="get",
        route="/types",
        category=_TYPES,
        title="List the types of jobs",
        description="All that can be submitted, by name.",
        handler=JobTypesApi.list_types,
        scopes="jobs:list-types",
        query=_PAGED,
        output=shapes.JobTypesResponse,
    ),
    Endpoint(
        name="jobType",
        method="get",
        route=_TYPE,
        category=_TYPES,
        title="Get a type of jobs",
        description=(
            "The type of this name or alias, with its parameters, its steps, and how many workers asked its "
            "task queue for work in the last five minutes. `version` gives an earlier one."
        ),
        handler=JobTypesApi.get_type,
        scopes="jobs:get-type:<jobType>",
        query=("version",),
        output=shapes.JobTypeResponse,
    ),
    Endpoint(
        name="jobCatalogue",
        method="get",
        route="/catalogue",
        category=_TYPES,
        title="List types that can be registered",
        description=(
            "Types that are at hand. The service has registered those of the task queue `taskbus/builtin`; "
            "register others as they stand here, or changed."
        ),
        handler=JobTypesApi.list_catalogue,
        scopes="jobs:list-types",
        output=shapes.JobCatalogueResponse,
    ),
    Endpoint(
        name="removeJobType",
        method="delete",
        route=_TYPE,
        category=_TYPES,
        title="Delete a type of jobs",
        description="Nothing of this type can be submitted any more. Refused while jobs of it are open.",
        handler=JobTypesApi.delete_type,
        scopes="jobs:register-type:<jobType>",
        refuses=(409,),
        says_done=True,
    ),
)
"""The handlers are methods of :class:`JobTypesApi`."""

JOB_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="submitJob",
        method="post",
        route="/jobs",
        category=_JOBS,
        title="Submit a job",
        description=(
            "Creates a job and its task, also at `/api/jobs`. 201, or 200 for one that was submitted before "
            "with this `jobId`, and for a unique one that has an equal. Parameters that do not fit the type "
            "are told all at once in `details.errors`. No worker has to be there. Whoever submits needs the "
            "scope for the type and those for the routes, no others."
        ),
        handler=JobsApi.submit_job,
        scopes=_SUBMIT,
        deferred=True,
        input=shapes.SubmitJobRequest,
        output=shapes.JobResponse,
        refuses=(409, 413),
        creates=True,
    ),
    Endpoint(
        name="listJobs",
        method="get",
        route="/jobs",
        category=_JOBS,
        title="List jobs",
        description=(
            "The newest first, without their errors and outputs. `tag` is `name=value`. A page looks at "
            "5,000 jobs at most, so that one may come with few jobs, or none, and a `continuationToken`."
        ),
        handler=JobsApi.list_jobs,
        scopes="jobs:list",
        query=(*_PAGED, "type", "state", "envId", "tag", "createdAfter"),
        output=shapes.JobsResponse,
    ),
    Endpoint(
        name="job",
        method="get",
        route=_JOB,
        category=_JOBS,
        title="Get a job",
        description="How it stands, with its steps, errors and output. Secret parameters are not shown.",
        handler=JobsApi.get_job,
        scopes="jobs:get:<jobId>",
        output=shapes.JobResponse,
    ),
    Endpoint(
        name="cancelJob",
        method="post",
        route=f"{_JOB}/cancel",
        category=_JOBS,
        title="Cancel a job",
        description=(
            "`now` resolves its task as exception/canceled at once. `graceful` lets a worker that has it "
            "finish: if the run completes, the job is done; whatever else becomes of the run is the "
            "cancellation. A job that has ended stays as it is."
        ),
        handler=JobsApi.cancel_job,
        scopes="jobs:cancel:<type>",
        deferred=True,
        may_take=shapes.CancelJobRequest,
        output=shapes.JobResponse,
        refuses=(409,),
    ),
    Endpoint(
        name="jobRun",
        method="get",
        route=_RUN,
        category=_WORKERS,
        title="Get what a worker needs",
        description=(
            "All parameters, the secret ones too; the steps that earlier runs have completed, and the cursor "
            "of the one that was under way. Only for who holds the run."
        ),
        handler=JobsApi.job_run,
        scopes=_HOLDER,
        output=shapes.JobRunResponse,
        refuses=(409,),
    ),
    Endpoint(
        name="reportStep",
        method="put",
        route=f"{_RUN}/steps/<step>",
        category=_WORKERS,
        title="Report a step",
        description=(
            "PENDING steps become RUNNING, then DONE or ERROR; or DONE at once. Where the order counts, all "
            "steps before must be done, and one runs at a time; steps that are `always` taken need only the "
            "latter. The present state may be told again, with another percent, message or cursor."
        ),
        handler=JobsApi.report_step,
        scopes=_HOLDER,
        input=shapes.StepReport,
        output=shapes.ReportResponse,
        refuses=(409, 413),
    ),
    Endpoint(
        name="reportProgress",
        method="post",
        route=f"{_RUN}/progress",
        category=_WORKERS,
        title="Report progress",
        description=(
            "How far the job, or one of its steps, is. The last report is what is shown; events tell one in "
            "250 ms, messages one in a second."
        ),
        handler=JobsApi.report_progress,
        scopes=_HOLDER,
        input=shapes.ProgressReport,
        output=shapes.ReportResponse,
        refuses=(409,),
    ),
    Endpoint(
        name="reportLog",
        method="post",
        route=f"{_RUN}/log",
        category=_WORKERS,
        title="Tell those who watch",
        description="A line for the job's stream. It is kept with the last thousand events of the job.",
        handler=JobsApi.report_log,
        scopes=_HOLDER,
        input=shapes.LogReport,
        output=shapes.ReportResponse,
        refuses=(409,),
    ),
    Endpoint(
        name="putOutput",
        method="put",
        route=f"{_RUN}/output",
        category=_WORKERS,
        title="Keep the result so far",
        description="Any JSON of 256 KiB or less; the last one counts, and is kept however the job ends.",
        handler=JobsApi.put_output,
        scopes=_HOLDER,
        input=shapes.OutputReport,
        output=shapes.ReportResponse,
        refuses=(409, 413),
    ),
)
"""The handlers are methods of :class:`JobsApi`."""

ALIASES: Final = tuple(
    replace(endpoint, route=endpoint.route.removeprefix("/jobs")) for endpoint in JOB_ENDPOINTS
)
"""The same below ``/api/jobs``."""

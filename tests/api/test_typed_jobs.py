"""Types and submissions of jobs over HTTP (``seed-systems.md`` J, T, JS)."""

from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import text

from queue_service.features.jobs.examples import EXAMPLES
from schemas.ids import slugid
from schemas.jobs import MAX_PARAMS
from tests.api.jobbed import FILE_ETL, FIXED, PARAMS, QUEUE, Json, RunningJobs
from tests.api.test_hostile_text import spoiled

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

JOB_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"


# ---- types -------------------------------------------------------------------------------------------


async def test_a_type_is_registered_and_shown(jobs: RunningJobs) -> None:
    reply = await jobs.call("PUT", "/types/FILE_ETL", FILE_ETL)
    assert reply.status == 201
    shown = await jobs.get("/types/FILE_ETL")
    assert (shown["version"], shown["liveWorkers"]) == (1, 0)
    assert [step["name"] for step in shown["definition"]["steps"]] == ["Extract", "Transform", "Load"]
    assert [one["type"] for one in (await jobs.get("/types"))["types"]] == ["FILE_ETL"]


async def test_the_same_definition_again_is_no_new_version_and_another_one_is(jobs: RunningJobs) -> None:
    await jobs.register()
    assert (await jobs.register())["version"] == 1
    assert (await jobs.register(description="Another."))["version"] == 2


async def test_a_job_keeps_the_version_that_it_was_submitted_with(jobs: RunningJobs) -> None:
    job_id = await jobs.submitted()
    await jobs.register(steps=[{"name": "Everything"}])
    assert ((await jobs.job(job_id))["typeVersion"], list(await jobs.steps(job_id))) == (
        1,
        ["Extract", "Transform", "Load"],
    )
    later = await jobs.submit()
    assert ((await jobs.job(later))["typeVersion"], list(await jobs.steps(later))) == (2, ["Everything"])
    assert (await jobs.get("/types/FILE_ETL?version=1"))["definition"]["description"] == FILE_ETL[
        "description"
    ]


async def test_a_type_without_steps_has_one(jobs: RunningJobs) -> None:
    job_id = await jobs.submitted(steps=[])
    assert await jobs.steps(job_id) == {"Run": "PENDING"}


async def test_a_type_is_submitted_by_its_alias_too(jobs: RunningJobs) -> None:
    await jobs.register(aliases=["LoadFile"])
    job_id = await jobs.submit(type="LoadFile")
    assert (await jobs.job(job_id))["type"] == "FILE_ETL"


async def test_an_alias_cannot_be_taken_from_another_type(jobs: RunningJobs) -> None:
    await jobs.register(aliases=["LoadFile"])
    reply = await jobs.call("PUT", "/types/OTHER", {**FILE_ETL, "aliases": ["LoadFile"]})
    assert (reply.status, reply.code) == (409, "RequestConflict")


async def test_a_type_goes_when_its_jobs_have_ended(jobs: RunningJobs) -> None:
    job_id = await jobs.running()
    assert (await jobs.call("DELETE", "/types/FILE_ETL")).status == 409
    await jobs.report(job_id, "completed")
    assert (await jobs.call("DELETE", "/types/FILE_ETL")).status == 200
    assert (await jobs.call("GET", "/types/FILE_ETL")).status == 404
    assert (await jobs.job(job_id))["type"] == "FILE_ETL"
    assert (await jobs.register())["version"] == 2


async def test_workers_of_a_type_are_counted(jobs: RunningJobs) -> None:
    await jobs.running()
    assert (await jobs.get("/types/FILE_ETL"))["liveWorkers"] == 1
    jobs.queue.clock.advance(minutes=10)
    assert (await jobs.get("/types/FILE_ETL"))["liveWorkers"] == 0


@on_sqlite
@pytest.mark.parametrize(
    ("definition", "place"),
    [
        ({"paramsSchema": {"type": "array"}}, "/paramsSchema/type"),
        ({"paramsSchema": {"properties": {"a": {"type": "text"}}}}, "/paramsSchema/properties/a/type"),
        ({"paramsSchema": {"properties": {"a": {"$ref": "https://example.com/a"}}}}, "/paramsSchema"),
        ({"paramsSchema": {"properties": {"a": {"pattern": "(?=a)("}}}}, "/paramsSchema"),
        ({"secretParams": ["password"]}, "/secretParams"),
        ({"aliases": ["FILE_ETL"]}, "/aliases"),
        ({"lock": "file-{fileId}"}, "/lock"),
        ({"steps": [{"name": "Load"}, {"name": "Load"}]}, "steps"),
        ({"stepOrder": "backwards"}, "/stepOrder"),
        ({"defaults": {"maxAttempts": 25}}, "the deadline is 1 day"),
        ({"defaults": {"maxAttempts": 5, "deadline": "5m"}}, "the deadline is 0:05:00"),
    ],
)
async def test_a_definition_that_cannot_be_used_is_refused(
    jobs: RunningJobs, definition: Json, place: str
) -> None:
    reply = await jobs.call("PUT", "/types/FILE_ETL", {**FILE_ETL, **definition})
    assert reply.status == 400
    assert place in reply.message
    assert (await jobs.call("GET", "/types/FILE_ETL")).status == 404


@on_sqlite
@pytest.mark.parametrize("name", ["A", "1st", "A_", "with space", "x" * 65])
async def test_a_name_that_is_none_is_refused(jobs: RunningJobs, name: str) -> None:
    reply = await jobs.call("PUT", f"/types/{name.replace(' ', '%20')}", FILE_ETL)
    assert (reply.status, reply.code) == (400, "InvalidRequestArguments")


# ---- submissions -------------------------------------------------------------------------------------


async def test_a_job_is_a_task(jobs: RunningJobs) -> None:
    await jobs.register(defaults={"maxAttempts": 3, "priority": "high", "timeout": 60})
    reply = await jobs.call("POST", "/jobs", {"type": "FILE_ETL", "params": PARAMS, "envId": "prod"})
    assert reply.status == 201
    job = reply.json()
    task = await jobs.queue.get(f"/task/{job['jobId']}")
    assert task["payload"] == {"kind": "FILE_ETL", "args": PARAMS, "timeout": 60}
    assert (task["taskQueueId"], task["priority"], task["tags"]) == (QUEUE, "high", {"envId": "prod"})
    assert (job["state"], job["attempt"], job["maxAttempts"], job["envId"]) == ("PENDING", 1, 3, "prod")
    assert job["links"] == {
        "task": f"/api/queue/v1/task/{job['jobId']}",
        "stream": f"/api/jobs/{job['jobId']}/stream",
    }
    assert job == await jobs.job(job["jobId"])


async def test_a_repeat_is_answered_with_the_job_as_it_stands(jobs: RunningJobs) -> None:
    await jobs.register()
    body = {"type": "FILE_ETL", "params": PARAMS, "jobId": JOB_ID}
    assert (await jobs.call("POST", "/jobs", body)).status == 201
    await jobs.claim()
    jobs.queue.clock.advance(minutes=1)
    repeated = await jobs.call("POST", "/jobs", body)
    assert (repeated.status, repeated.json()["state"]) == (200, "RUNNING")
    other = await jobs.call("POST", "/jobs", {**body, "params": {"fileId": "others.csv"}})
    assert (other.status, other.code) == (409, "RequestConflict")
    assert await jobs.told(JOB_ID) == ["state PENDING", "state RUNNING"]


async def test_the_id_of_a_plain_task_is_taken(jobs: RunningJobs) -> None:
    await jobs.register()
    await jobs.queue.create(task_id=JOB_ID)
    reply = await jobs.call("POST", "/jobs", {"type": "FILE_ETL", "params": PARAMS, "jobId": JOB_ID})
    assert (reply.status, reply.code) == (409, "RequestConflict")


async def test_an_unknown_type_is_refused_by_name(jobs: RunningJobs) -> None:
    reply = await jobs.call("POST", "/jobs", {"type": "NO_SUCH_TYPE"})
    assert (reply.status, reply.code) == (400, "InputError")
    assert reply.json()["details"] == {"code": "UnknownJobType", "type": "NO_SUCH_TYPE"}


async def test_all_violations_of_the_parameters_are_told_at_once(jobs: RunningJobs) -> None:
    await jobs.register()
    reply = await jobs.call("POST", "/jobs", {"type": "FILE_ETL", "params": {"rows": "x", "colour": 1}})
    assert (reply.status, reply.code) == (400, "InputValidationError")
    found = {(one["path"], one["rule"]) for one in reply.json()["details"]["errors"]}
    assert found == {
        ("/params/fileId", "required"),
        ("/params/rows", "type"),
        ("/params/colour", "additionalProperties"),
    }
    assert (await jobs.get("/jobs"))["jobs"] == []


async def test_no_more_than_fifty_violations_are_told(jobs: RunningJobs) -> None:
    await jobs.register(paramsSchema={"properties": {"ids": {"type": "array", "items": {"type": "integer"}}}})
    reply = await jobs.call("POST", "/jobs", {"type": "FILE_ETL", "params": {"ids": ["x"] * 200}})
    assert len(reply.json()["details"]["errors"]) == 50


@pytest.mark.parametrize(
    ("schema", "status"),
    [
        ({"properties": {"file": {"properties": {"id": {"type": "string"}}}}}, 400),
        ({"properties": {"file": {"type": "object"}}}, 201),
        ({"properties": {"file": {"properties": {"id": {}}, "additionalProperties": True}}}, 201),
        ({"allOf": [{"properties": {"file": {}}}]}, 201),
        ({"additionalProperties": True}, 201),
        ({"patternProperties": {"^file": {}}}, 201),
    ],
)
@on_sqlite
async def test_properties_are_refused_that_the_schema_does_not_name(
    jobs: RunningJobs, schema: Json, status: int
) -> None:
    await jobs.register(paramsSchema=schema)
    params = {"file": {"id": "a", "size": 1}}
    reply = await jobs.call("POST", "/jobs", {"type": "FILE_ETL", "params": params})
    assert reply.status == status, reply.body


async def test_parameters_have_a_largest_size(jobs: RunningJobs) -> None:
    await jobs.register()
    params = {"fileId": "x" * MAX_PARAMS}
    reply = await jobs.call("POST", "/jobs", {"type": "FILE_ETL", "params": params})
    assert (reply.status, reply.code) == (413, "InputTooLarge")


ENV: Final[Json] = {"type": "object", "properties": {"envId": {"type": "string"}}, "required": ["envId"]}


@pytest.mark.parametrize(
    ("members", "env_id"),
    [
        ({"envId": "prod"}, "prod"),
        ({"params": {"envId": "prod"}}, "prod"),
        ({"params": {"envId": "prod"}, "envId": "prod"}, "prod"),
    ],
)
@on_sqlite
async def test_the_environment_stands_in_the_tags(jobs: RunningJobs, members: Json, env_id: str) -> None:
    await jobs.register(paramsSchema=ENV)
    job_id = await jobs.submit(**{"params": {}, **members})
    task = await jobs.queue.get(f"/task/{job_id}")
    assert (task["tags"]["envId"], task["payload"]["args"]["envId"]) == (env_id, env_id)


async def test_two_environments_are_one_too_many(jobs: RunningJobs) -> None:
    await jobs.register(paramsSchema=ENV)
    body = {"type": "FILE_ETL", "params": {"envId": "prod"}, "envId": "test"}
    assert (await jobs.call("POST", "/jobs", body)).status == 400


async def test_secrets_are_shown_to_the_worker_alone(jobs: RunningJobs) -> None:
    await jobs.register(
        paramsSchema={
            "properties": {
                "fileId": {"type": "string"},
                "token": {"type": "string", "writeOnly": True},
                "password": {"type": "string"},
            }
        },
        secretParams=["password"],
    )
    params = {**PARAMS, "token": "t0k3n", "password": "hunter2"}
    body = {"type": "FILE_ETL", "params": params, "jobId": JOB_ID}
    reply = await jobs.call("POST", "/jobs", body)
    assert (reply.status, reply.json()["params"]) == (201, PARAMS)
    claimed = await jobs.claim()
    assert (claimed["task"]["payload"]["args"], claimed["job"]["hasSecrets"]) == (PARAMS, True)
    assert (await jobs.get(f"/jobs/{JOB_ID}/runs/0"))["params"] == params
    assert (await jobs.call("POST", "/jobs", body)).status == 200
    other = {**body, "params": {**params, "token": "other"}}
    assert (await jobs.call("POST", "/jobs", other)).status == 409
    async with jobs.queue.database.read() as connection:
        rows = (await connection.execute(text("SELECT * FROM jobs"))).all()
    assert "hunter2" not in str(rows)


async def test_an_equal_unique_job_is_answered_in_place_of_a_second(jobs: RunningJobs) -> None:
    await jobs.register(unique={"byArgs": True})
    first = await jobs.submit()
    reply = await jobs.call("POST", "/jobs", {"type": "FILE_ETL", "params": PARAMS})
    assert (reply.status, reply.json()["jobId"]) == (200, first)
    assert reply.json()["uniqueSkippedAsDuplicate"] is True


async def test_a_submission_says_more_than_its_type(jobs: RunningJobs) -> None:
    await jobs.register(concurrency={"limit": 1, "key": "{fileId}"})
    before = await jobs.queue.create()
    group = slugid()
    job_id = await jobs.submit(
        dependencies=[before],
        taskGroupId=group,
        retries=1,
        maxAttempts=4,
        tags={"team": "data"},
        routes=["etl.done"],
        runAt=(jobs.queue.clock.now() + timedelta(hours=1)).isoformat(),
    )
    task = await jobs.queue.get(f"/task/{job_id}")
    assert (task["taskGroupId"], task["retries"], task["maxAttempts"]) == (group, 1, 4)
    assert (task["tags"], task["routes"], task["dependencies"]) == ({"team": "data"}, ["etl.done"], [before])
    assert task["limits"] == {"concurrency": {"limit": 1, "key": "{fileId}"}}


async def test_submitting_needs_the_scope_for_the_type(jobs: RunningJobs) -> None:
    await jobs.register(aliases=["LoadFile"])
    jobs.queue.permit.asked.clear()
    await jobs.submit(type="LoadFile", routes=["etl.done"])
    assert jobs.queue.permit.asked == [{"AllOf": ["jobs:create:FILE_ETL", "queue:route:etl.done"]}]
    jobs.queue.permit.deny()
    assert (await jobs.call("POST", "/jobs", {"type": "FILE_ETL", "params": PARAMS})).status == 403
    assert (await jobs.call("POST", "/jobs", {"type": "NO_SUCH_TYPE"})).status == 403


async def test_jobs_are_found_below_the_short_path(jobs: RunningJobs) -> None:
    await jobs.register()
    reply = await jobs.alias("POST", "", {"type": "FILE_ETL", "params": PARAMS})
    assert reply.status == 201
    job_id = reply.json()["jobId"]
    assert (await jobs.alias("GET", f"/{job_id}")).json() == await jobs.job(job_id)
    assert [job["jobId"] for job in (await jobs.alias("GET", "")).json()["jobs"]] == [job_id]
    assert (await jobs.alias("POST", f"/{job_id}/cancel")).json()["state"] == "CANCELLED"


# ---- lists -------------------------------------------------------------------------------------------


async def test_lists_have_the_newest_first_and_heed_what_is_asked(jobs: RunningJobs) -> None:
    await jobs.register()
    await jobs.register("OTHER")
    made = []
    for members in ({}, {"envId": "prod"}, {"tags": {"team": "data"}}, {"type": "OTHER"}):
        jobs.queue.clock.advance(seconds=1)
        made.append(await jobs.submit(**members))
    since = jobs.queue.clock.now() - timedelta(seconds=2)
    await jobs.cancel(made[0])

    async def listed(query: str) -> list[str]:
        return [job["jobId"] for job in (await jobs.get(f"/jobs{query}"))["jobs"]]

    assert await listed("") == made[::-1]
    assert await listed("?type=FILE_ETL") == made[2::-1]
    assert await listed("?state=CANCELLED") == [made[0]]
    assert await listed("?envId=prod") == [made[1]]
    assert await listed("?tag=team%3Ddata") == [made[2]]
    assert await listed(f"?createdAfter={since.isoformat().replace('+00:00', 'Z')}") == [made[3], made[2]]
    page = await jobs.get("/jobs?limit=3")
    rest = await jobs.get(f"/jobs?limit=3&continuationToken={page['continuationToken']}")
    assert [job["jobId"] for job in page["jobs"] + rest["jobs"]] == made[::-1]
    assert "continuationToken" not in rest


async def test_what_has_expired_is_forgotten_with_its_events(jobs: RunningJobs) -> None:
    job_id = await jobs.running(defaults={"deadline": "1h"})
    await jobs.report(job_id, "completed")
    await jobs.queue.settle()
    jobs.queue.clock.advance(days=60)
    await jobs.queue.sweep()
    await jobs.queue.sweep()
    assert (await jobs.call("GET", f"/jobs/{job_id}")).status == 404
    assert await jobs.kept(job_id) == []


@on_sqlite
async def test_an_attempt_that_waits_is_counted_as_the_next(jobs: RunningJobs) -> None:
    job_id = await jobs.running(defaults={"maxAttempts": 2, "retryPolicy": FIXED})
    await jobs.report(job_id, "failed", {"error": "no such file"})
    job: Any = await jobs.job(job_id)
    assert (job["state"], job["attempt"], job["errors"][0]["error"]) == ("PENDING", 2, "no such file")


# ---- hostile text ------------------------------------------------------------------------------------

CALLS: Final = {
    "job-type-definition": ("PUT", "/types/T{number}"),
    "submit-job-request": ("POST", "/jobs"),
    "cancel-job-request": ("POST", "/jobs/{waiting}/cancel"),
    "step-report": ("PUT", "/jobs/{running}/runs/0/steps/Extract"),
    "progress-report": ("POST", "/jobs/{running}/runs/0/progress"),
    "log-report": ("POST", "/jobs/{running}/runs/0/log"),
    "output-report": ("PUT", "/jobs/{running}/runs/0/output"),
}


@pytest.mark.parametrize("shape", CALLS)
async def test_hostile_text_is_refused_or_kept(jobs: RunningJobs, shape: str) -> None:
    running = await jobs.running()
    method, target = CALLS[shape]
    for example in EXAMPLES[shape].values():
        for number, body in enumerate(spoiled(example)):
            waiting = await jobs.submit() if "{waiting}" in target else ""
            place = target.format(number=number + 10, waiting=waiting, running=running)
            reply = await jobs.call(method, place, body)
            assert reply.status < 500, f"{place} {body!r}: {reply.body.decode()}"
            if waiting and reply.status == 200 and "reason" in body:
                assert reply.json()["reason"] == body["reason"]
    await jobs.job(running)
    await jobs.kept(running)

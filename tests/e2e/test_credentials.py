"""Credentials from the first start on: who signs in, what he makes for others, and who is refused."""

import re
import shlex
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from schemas.ids import slugid
from taskbus import Auth, AuthenticationFailed, Credentials, InsufficientScopes, Queue, task_definition
from tests.e2e.programs import ROOT, Program, Programs, Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

QUEUE = "e2e/credentials"
HOUR = timedelta(hours=1)


@pytest.fixture
async def server(taskbus: Programs) -> Server:
    return await taskbus.serve()


@pytest.fixture
async def queue(server: Server) -> AsyncIterator[Queue]:
    async with Queue(server.root_url, credentials=ROOT) as queue:
        yield queue


@pytest.fixture
async def auth(server: Server) -> AsyncIterator[Auth]:
    async with Auth(server.root_url, credentials=ROOT) as auth:
        yield auth


def exported(program: Program) -> dict[str, str]:
    """The variables that a shell would take over from this output."""
    lines = [shlex.split(line) for line in program.lines if line.startswith("export ")]
    return dict(line[1].split("=", 1) for line in lines)


async def test_who_is_on_the_machine_signs_in_and_makes_clients_for_others(taskbus: Programs) -> None:
    unset = {"root_access_token": ""}
    server = await taskbus.serve(**unset)
    port = re.sub(r".*:", "", server.root_url)
    signin = await taskbus.run("signin", **{**unset, "port": port})
    assert await signin.exit() == 0
    variables = exported(signin)
    assert variables["TASKCLUSTER_ROOT_URL"] == server.root_url
    root = Credentials.from_env(variables)

    scopes = ("--scope", f"queue:claim-work:{QUEUE}", "--scope", "queue:worker-id:local/*")
    create = await taskbus.run(
        "client", "create", "worker/one", *scopes, credentials=root, root_url=server.root_url
    )
    assert await create.exit() == 0
    made = Credentials.from_env(exported(create))
    worker = await taskbus.worker(server.root_url, QUEUE, credentials=made or ROOT)

    async with Queue(server.root_url, credentials=root) as queue:
        task_id = slugid()
        command = {"command": "echo done"}
        await queue.create_task(task_id, task_definition(command, queue=QUEUE))
        await worker.line(task_id, "completed")
        with pytest.raises(InsufficientScopes, match="queue:create-task"):
            await queue.using(made).create_task(slugid(), task_definition(command, queue=QUEUE))


async def test_without_credentials_the_command_line_says_what_to_do(
    taskbus: Programs, server: Server
) -> None:
    create = await taskbus.run("task", "create", "--queue", QUEUE, "true", root_url=server.root_url)
    assert await create.exit() == 1
    assert "queue:create-task:project:none" in create.output
    assert 'eval "$(taskbus signin)"' in create.lines[-1]


async def test_temporary_credentials_do_what_they_were_made_for_and_no_more(queue: Queue, auth: Auth) -> None:
    task_id = slugid()
    await queue.create_task(task_id, task_definition({}, queue=QUEUE))
    for made in (
        ROOT.issue(["queue:cancel-task:*"], lifetime=HOUR),
        ROOT.issue(["queue:cancel-task:*"], lifetime=HOUR, name="e2e/named"),
        ROOT.restricted_to("queue:cancel-task:*"),
    ):
        assert (await queue.using(made).cancel_task(task_id)).state == "exception"
        with pytest.raises(InsufficientScopes):
            await queue.using(made).create_task(slugid(), task_definition({}, queue=QUEUE))
        assert "queue:cancel-task:*" in await auth.using(made).current_scopes()

    certificate = (ROOT.issue([], lifetime=HOUR).certificate or "").replace('"scopes":[]', '"scopes":["*"]')
    forged = Credentials(ROOT.client_id, ROOT.issue([], lifetime=HOUR).access_token, certificate)
    with pytest.raises(AuthenticationFailed):
        await queue.using(forged).status(task_id)


async def test_a_client_that_is_disabled_or_has_a_new_token_is_refused_at_once(
    queue: Queue, auth: Auth
) -> None:
    made = await auth.create_client("e2e/one", expires=datetime.now(UTC) + HOUR)
    own = auth.using(Credentials(made.client_id, made.access_token))
    assert "queue:status:*" in await own.current_scopes()  # everybody's

    await auth.disable_client(made.client_id)
    with pytest.raises(AuthenticationFailed):
        await own.current_scopes()
    await auth.enable_client(made.client_id)
    await own.current_scopes()
    await auth.reset_access_token(made.client_id)
    with pytest.raises(AuthenticationFailed):
        await own.current_scopes()


async def test_a_run_stores_artifacts_with_the_credentials_of_its_claim(queue: Queue) -> None:
    task_id = slugid()
    await queue.create_task(task_id, task_definition({}, queue=QUEUE))
    (claim,) = await queue.claim_work(QUEUE, worker_group="g", worker_id="w")
    run = queue.using(Credentials.of_claim(claim.credentials))
    name, content = "private/a b/c%2F.bin", bytes(range(256)) * 4000
    await run.upload_artifact(task_id, 0, name, content, expires=claim.task.expires)
    await run.report_completed(task_id, 0)

    async with queue.download_artifact(task_id, name) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == content
    with pytest.raises(InsufficientScopes):
        await queue.using(None).get_latest_artifact(task_id, name)
    with urllib.request.urlopen(queue.signed_artifact_url(task_id, name)) as reply:  # noqa: ASYNC210
        assert reply.read() == content

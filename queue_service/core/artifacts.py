"""Artifacts: who may create one and when, what a repeat may change, and what a reader sees.

Rules: ``queue-behaviour.md`` 8. The bytes lie in a blob store; an artifact knows the key.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar, Final, assert_never

from queue_service.core.errors import (
    InputError,
    QueueError,
    RequestConflict,
    ResourceExpired,
    ResourceNotFound,
    run_not_found,
    task_not_found,
)
from queue_service.core.task import Task
from schemas.artifacts import (
    MAX_NAME,
    ArtifactRequest,
    ErrorArtifactRequest,
    ErrorReason,
    LinkArtifactRequest,
    ObjectArtifactRequest,
    ReferenceArtifactRequest,
    S3ArtifactRequest,
    StorageType,
)
from schemas.messages import ArtifactCreatedMessage, ArtifactDescription
from schemas.task import Run
from schemas.times import format_time

AFTER_EXCEPTION: Final = timedelta(minutes=25)
"""How long after a run ended as exception its worker may still create artifacts."""
UPLOAD_URL: Final = timedelta(minutes=45)
DOWNLOAD_URL: Final = timedelta(minutes=30)
OBJECT_UPLOAD: Final = timedelta(hours=24)
"""How long the credentials for the upload of an object last at most."""
OBJECT_DOWNLOAD: Final = timedelta(hours=1)
MAX_LINKS: Final = 64
"""Links that are followed for one call: each is a look into the database."""
MAX_URL: Final = 8192
"""Characters of a reference: it becomes a header of the reply."""
MAX_LENGTH: Final = 2**53
"""Bytes that can be announced: beyond it not every reader of JSON has the number exactly."""
DEFAULT_CONTENT_TYPE: Final = "application/binary"

_PRINTABLE: Final = re.compile("[ -~]*")


@dataclass(frozen=True, slots=True)
class S3:
    """Bytes in the blob store, uploaded by one PUT; visible before that."""

    storage_type: ClassVar[StorageType] = "s3"
    key: str
    upload_until: datetime
    """When the last URL that was given out for an upload ends."""


@dataclass(frozen=True, slots=True)
class ObjectUpload:
    """Bytes in the object service, under the name of :func:`object_name`."""

    storage_type: ClassVar[StorageType] = "object"
    upload_id: str


@dataclass(frozen=True, slots=True)
class Reference:
    storage_type: ClassVar[StorageType] = "reference"
    url: str


@dataclass(frozen=True, slots=True)
class Link:
    storage_type: ClassVar[StorageType] = "link"
    artifact: str
    """Name in the same run; it need not exist."""


@dataclass(frozen=True, slots=True)
class ErrorReport:
    storage_type: ClassVar[StorageType] = "error"
    reason: ErrorReason
    message: str


Content = S3 | ObjectUpload | Reference | Link | ErrorReport


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact of a run. ``present``: whether readers see it."""

    task_id: str
    run_id: int
    name: str
    content: Content
    content_type: str
    expires: datetime
    content_length: int | None = None
    present: bool = True

    @property
    def storage_type(self) -> StorageType:
        return self.content.storage_type


# ---- creating -----------------------------------------------------------------------------------------


def proposed(
    task_id: str,
    run_id: int,
    name: str,
    request: ArtifactRequest,
    *,
    key: str,
    upload_id: str,
    upload_until: datetime,
) -> Artifact:
    """The artifact as asked for, with a fresh key and uploadId should it be new.

    Raises InputError for a name, a content type or a URL that could not travel.
    """
    _check_name("the name of an artifact", name)
    content: Content
    content_length = None
    match request:
        case S3ArtifactRequest():
            content, content_length = S3(key, upload_until), request.content_length
        case ObjectArtifactRequest():
            content, content_length = ObjectUpload(upload_id), request.content_length
        case ReferenceArtifactRequest():
            if len(request.url) > MAX_URL:
                raise InputError(f"`url` has {len(request.url)} characters; at most {MAX_URL} are allowed.")
            content = Reference(request.url)
        case LinkArtifactRequest():
            _check_name("`artifact`", request.artifact)
            content = Link(request.artifact)
        case ErrorArtifactRequest():
            content = ErrorReport(request.reason, request.message)
        case _:
            assert_never(request)
    content_type = None if isinstance(request, ErrorArtifactRequest) else request.content_type
    if content_type is not None and _PRINTABLE.fullmatch(content_type) is None:
        raise InputError("`contentType` must be printable ASCII: it is sent as a header.")
    if content_length is not None and content_length > MAX_LENGTH:
        raise InputError(f"`contentLength` is {content_length}; at most {MAX_LENGTH} bytes are possible.")
    return Artifact(
        task_id=task_id,
        run_id=run_id,
        name=name,
        content=content,
        content_type=DEFAULT_CONTENT_TYPE if content_type is None else content_type,
        expires=request.expires,
        content_length=content_length,
        present=not isinstance(content, ObjectUpload),
    )


def create(
    wanted: Artifact, task: Task | None, stored: Artifact | None, now: datetime, *, drift: timedelta
) -> Artifact:
    """The artifact after createArtifact: the wanted one, or what a repeat makes of the stored one (8.1).

    Raises InputError or RequestConflict.
    """
    if wanted.expires < now - drift:
        raise InputError(
            f"`expires` is {format_time(wanted.expires)} and must be in the future "
            f"(the server's time is {format_time(now)})."
        )
    if task is None:
        raise InputError(f"There is no task `{wanted.task_id}`.")
    if wanted.run_id >= len(task.runs):
        raise InputError(f"Task `{task.task_id}` has no run {wanted.run_id}.")
    run = task.runs[wanted.run_id]
    if run.worker_group is None or run.worker_id is None:
        raise InputError(f"Run {run.run_id} of task `{task.task_id}` was never claimed by a worker.")
    if wanted.expires > task.expires:
        raise InputError(
            f"`expires` is {format_time(wanted.expires)} and must not be after that of the task, "
            f"{format_time(task.expires)}."
        )
    _refuse_unless_open(task, run, now)
    return wanted if stored is None else _repeated(stored, wanted)


def _refuse_unless_open(task: Task, run: Run, now: datetime) -> None:
    """A run takes artifacts while it runs, and shortly after it ended as exception; repeats as well."""
    if run.state == "running":
        return
    if run.state == "exception" and run.resolved is not None and now - run.resolved < AFTER_EXCEPTION:
        return
    raise RequestConflict(
        f"Run {run.run_id} of task `{task.task_id}` takes no artifacts: it is {run.state}, and only a run "
        f"that is running, or was resolved as exception less than {AFTER_EXCEPTION} ago, does."
    )


def _repeated(stored: Artifact, wanted: Artifact) -> Artifact:
    """The same name again: allowed when nothing that a reader relies on changes."""
    if (
        (wanted.content_type != stored.content_type and not isinstance(wanted.content, Link))
        or wanted.expires < stored.expires
        or not _may_replace(stored.content, wanted.content)
    ):
        raise RequestConflict(
            f"Artifact `{stored.name}` of run {stored.run_id} of task `{stored.task_id}` already exists with "
            f"storageType `{stored.storage_type}`, contentType `{stored.content_type}`, "
            f"expires {format_time(stored.expires)}, and what is asked for now differs."
        )
    content = wanted.content
    if isinstance(stored.content, S3) and isinstance(content, S3):
        content = S3(stored.content.key, max(stored.content.upload_until, content.upload_until))
    return replace(stored, content=content, expires=wanted.expires)


def _may_replace(stored: Content, wanted: Content) -> bool:
    match stored, wanted:
        case (S3(), S3()) | (Reference(), Reference() | Link()):
            return True
        case (Link(), Link()) | (ErrorReport(), ErrorReport()):
            return stored == wanted
        case _:
            return False


def _check_name(what: str, name: str) -> None:
    if not name or len(name) > MAX_NAME or _PRINTABLE.fullmatch(name) is None:
        raise InputError(f"{what} must have 1 to {MAX_NAME} characters, all printable ASCII.")


# ---- finishing ----------------------------------------------------------------------------------------


def finish(artifact: Artifact | None, *, name: str, upload_id: str, complete: bool) -> Artifact:
    """The artifact after finishArtifact (8.2). ``complete``: whether the object service has all of it.

    Raises ResourceNotFound or InputError.
    """
    if artifact is None:
        raise artifact_not_found(name)
    if not isinstance(artifact.content, ObjectUpload):
        raise InputError(
            f"Artifact `{name}` has storageType `{artifact.storage_type}`; only `object` is finished."
        )
    if artifact.present:
        return artifact
    if artifact.content.upload_id != upload_id:
        raise InputError(f"`uploadId` is not that of artifact `{name}`.")
    if not complete:
        raise InputError(f"The upload of artifact `{name}` to the object service is not finished.")
    return replace(artifact, present=True)


def object_name(artifact: Artifact) -> str:
    """The name of the artifact's bytes in the object service."""
    return f"t/{artifact.task_id}/{artifact.run_id}/{artifact.name}"


def announcement(task: Task, artifact: Artifact) -> ArtifactCreatedMessage | None:
    """The message that readers can have the artifact; s3 artifacts are never announced (10)."""
    if isinstance(artifact.content, S3) or not artifact.present:
        return None
    worker_group, worker_id = worker_of(task, artifact.run_id)
    return ArtifactCreatedMessage.trusted(
        status=task.status(),
        run_id=artifact.run_id,
        worker_group=worker_group,
        worker_id=worker_id,
        artifact=ArtifactDescription.trusted(
            storage_type=artifact.storage_type,
            name=artifact.name,
            expires=artifact.expires,
            content_type=artifact.content_type,
        ),
    )


def worker_of(task: Task, run_id: int) -> tuple[str, str]:
    """Group and id of the worker that had the run, which it had to make artifacts of it."""
    run = task.runs[run_id]
    if run.worker_group is None or run.worker_id is None:
        raise ValueError(f"run {run_id} of task {task.task_id} was never claimed")
    return run.worker_group, run.worker_id


# ---- reading ------------------------------------------------------------------------------------------


def latest_run(task: Task | None, task_id: str) -> int:
    """The run with the highest id, whatever its state. Raises ResourceNotFound."""
    if task is None:
        raise task_not_found(task_id)
    if not task.runs:
        raise ResourceNotFound(f"Task `{task_id}` has no runs yet.")
    return len(task.runs) - 1


def check_run(task: Task | None, task_id: str, run_id: int) -> None:
    """Raise ResourceNotFound unless the task has the run."""
    if run_id > latest_run(task, task_id):
        raise run_not_found(task_id, run_id)


def present(artifact: Artifact | None, name: str) -> Artifact:
    """The artifact, if readers see it. Raises ResourceNotFound."""
    if artifact is None or not artifact.present:
        raise artifact_not_found(name)
    return artifact


def readable(artifact: Artifact | None, name: str, now: datetime) -> Artifact:
    """The artifact, if readers may have its content. Raises ResourceNotFound or ResourceExpired."""
    found = present(artifact, name)
    if found.expires < now:
        raise ResourceExpired(f"Artifact `{name}` expired at {format_time(found.expires)}.")
    return found


def next_name(artifact: Artifact, names: Sequence[str]) -> str | None:
    """Where a link leads after ``names``; None when the artifact is none. Raises InputError (8.5)."""
    if not isinstance(artifact.content, Link):
        return None
    target = artifact.content.artifact
    if target in names:
        raise InputError(f"The links of artifact `{names[0]}` lead in a circle, back to `{target}`.")
    if len(names) > MAX_LINKS:
        raise InputError(f"Artifact `{names[0]}` leads over more than {MAX_LINKS} links.")
    return target


def artifact_not_found(name: str) -> QueueError:
    return ResourceNotFound(f"There is no artifact `{name}` of this run.")

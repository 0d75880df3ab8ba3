"""Objects of the object service: begun, uploaded, finished, and from then on never changed.

Object names are chosen by their uploaders. The first call settles uploadId, project and expiry; whoever
does not know the uploadId cannot add to the upload.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from queue_service.core.errors import InputError, RequestConflict, ResourceExpired, ResourceNotFound
from schemas.objects import MAX_OBJECT_NAME
from schemas.times import format_time

UNFINISHED: Final = timedelta(days=1)
"""How long an upload may take, from its first call to its end."""


@dataclass(frozen=True, slots=True)
class Object:
    """An object, finished or being uploaded."""

    name: str
    project_id: str
    upload_id: str
    expires: datetime
    key: str
    """Of its bytes in the blob store."""
    upload_until: datetime
    """When the last URL that was given out for its upload ends."""
    kept_until: datetime
    """When record and bytes go: at ``expires``, or sooner while the upload is not finished."""
    hashes: Mapping[str, str]
    finished: bool = False


def begin(wanted: Object, stored: Object | None, now: datetime, *, drift: timedelta) -> Object:
    """The object after createUpload: the wanted one, or the stored one with a later upload.

    Raises InputError or RequestConflict.
    """
    if len(wanted.name) > MAX_OBJECT_NAME:
        raise InputError(f"The name of an object has at most {MAX_OBJECT_NAME} characters.")
    if wanted.expires < now - drift:
        raise InputError(
            f"`expires` is {format_time(wanted.expires)} and must be in the future "
            f"(the server's time is {format_time(now)})."
        )
    if stored is None:
        return replace(wanted, kept_until=min(wanted.expires, now + UNFINISHED))
    if stored.finished:
        raise RequestConflict(f"Object `{stored.name}` is finished and cannot be uploaded again.")
    _refuse_other_upload(stored, wanted.project_id, wanted.upload_id)
    if wanted.expires != stored.expires:
        raise RequestConflict(f"Object `{stored.name}` has another `expires`, which cannot be changed.")
    return replace(
        stored,
        upload_until=max(stored.upload_until, wanted.upload_until),
        hashes=_joined(stored, wanted.hashes),
    )


def finish(
    stored: Object | None,
    name: str,
    *,
    project_id: str,
    upload_id: str,
    hashes: Mapping[str, str],
    complete: bool,
) -> Object:
    """The object after finishUpload; a repeat changes nothing. ``complete``: whether all bytes are there.

    Raises ResourceNotFound, RequestConflict or InputError.
    """
    if stored is None:
        raise object_not_found(name)
    if stored.finished:
        if stored.project_id != project_id or not hashes.items() <= stored.hashes.items():
            raise RequestConflict(f"Object `{name}` is finished and cannot be changed.")
        return stored
    _refuse_other_upload(stored, project_id, upload_id)
    if not complete:
        raise InputError(f"The bytes of object `{name}` have not been uploaded completely.")
    return replace(stored, finished=True, kept_until=stored.expires, hashes=_joined(stored, hashes))


def readable(stored: Object | None, name: str, now: datetime) -> Object:
    """The object, if it can be downloaded. Raises ResourceNotFound or ResourceExpired."""
    if stored is None or not stored.finished:
        raise object_not_found(name)
    if stored.expires < now:
        raise ResourceExpired(f"Object `{name}` expired at {format_time(stored.expires)}.")
    return stored


def object_not_found(name: str) -> ResourceNotFound:
    return ResourceNotFound(f"There is no object `{name}`.")


def _refuse_other_upload(stored: Object, project_id: str, upload_id: str) -> None:
    if stored.upload_id != upload_id or stored.project_id != project_id:
        raise RequestConflict(f"Object `{stored.name}` is being uploaded with another uploadId or projectId.")


def _joined(stored: Object, hashes: Mapping[str, str]) -> dict[str, str]:
    for algorithm, digest in hashes.items():
        if stored.hashes.get(algorithm, digest) != digest:
            raise RequestConflict(f"Object `{stored.name}` already has another {algorithm} hash.")
    return {**stored.hashes, **hashes}

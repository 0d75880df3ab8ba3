"""Objects: begun, uploaded, finished, and never changed after that."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from queue_service.core import objects as rules
from queue_service.core.errors import QueueError
from queue_service.core.objects import Object
from tests.core.samples import EXPIRES, NOW

DRIFT: Final = timedelta(minutes=15)
WANTED: Final = Object(
    name="t/fN1SbArXTPSVFNUvaOlinQ/0/public/log",
    project_id="none",
    upload_id="dSlITZ4yQgmvxxAi4A8fHQ",
    expires=EXPIRES,
    key="private/key",
    upload_until=NOW + timedelta(minutes=45),
    kept_until=EXPIRES,
    hashes={},
)
OTHER_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"
A, B = "a" * 64, "b" * 64


def begin(wanted: Object = WANTED, stored: Object | None = None) -> Object:
    return rules.begin(wanted, stored, NOW, drift=DRIFT)


def finish(stored: Object | None, **members: Any) -> Object:
    facts: dict[str, Any] = {
        "project_id": "none",
        "upload_id": WANTED.upload_id,
        "hashes": {},
        "complete": True,
    }
    return rules.finish(stored, WANTED.name, **(facts | members))


def code_of(refusal: pytest.ExceptionInfo[QueueError]) -> str:
    return refusal.value.code


def test_an_upload_that_is_not_finished_is_kept_for_a_day() -> None:
    begun = begin()
    assert begun.kept_until == NOW + timedelta(days=1)
    assert finish(begun).kept_until == EXPIRES
    short = replace(WANTED, expires=NOW + timedelta(hours=1))
    assert begin(short).kept_until == NOW + timedelta(hours=1)


def test_the_first_call_settles_the_upload_and_a_repeat_may_add_hashes_and_time() -> None:
    begun = begin(replace(WANTED, hashes={"sha256": A}))
    later = NOW + timedelta(hours=1)
    again = begin(replace(WANTED, key="private/other", upload_until=later, hashes={"sha512": B * 2}), begun)
    assert again == replace(begun, upload_until=later, hashes={"sha256": A, "sha512": B * 2})


@pytest.mark.parametrize(
    "change",
    [
        {"upload_id": OTHER_ID},
        {"project_id": "other"},
        {"expires": EXPIRES + timedelta(milliseconds=1)},
        {"hashes": {"sha256": B}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_settled_cannot_be_changed(change: dict[str, Any]) -> None:
    begun = begin(replace(WANTED, hashes={"sha256": A}))
    with pytest.raises(QueueError) as refusal:
        begin(replace(WANTED, **change), begun)
    assert code_of(refusal) == "RequestConflict"


def test_a_finished_object_is_never_uploaded_again() -> None:
    with pytest.raises(QueueError) as refusal:
        begin(WANTED, finish(begin()))
    assert code_of(refusal) == "RequestConflict"


@pytest.mark.parametrize(
    "change",
    [{"name": "x" * 1101}, {"expires": NOW - DRIFT - timedelta(milliseconds=1)}],
    ids=["name", "expires"],
)
def test_a_long_name_and_a_past_expiry_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(QueueError) as refusal:
        begin(replace(WANTED, **change))
    assert code_of(refusal) == "InputError"


@pytest.mark.parametrize(
    ("stored", "members", "code"),
    [
        (None, {}, "ResourceNotFound"),
        (begin(), {"upload_id": OTHER_ID}, "RequestConflict"),
        (begin(), {"project_id": "other"}, "RequestConflict"),
        (begin(), {"complete": False}, "InputError"),
        (begin(replace(WANTED, hashes={"sha256": A})), {"hashes": {"sha256": B}}, "RequestConflict"),
    ],
    ids=["unknown", "uploadId", "projectId", "bytes missing", "other hash"],
)
def test_an_upload_is_finished_only_by_who_began_it_and_when_all_is_there(
    stored: Object | None, members: dict[str, Any], code: str
) -> None:
    with pytest.raises(QueueError) as refusal:
        finish(stored, **members)
    assert code_of(refusal) == code


def test_finishing_again_changes_nothing() -> None:
    finished = finish(begin(), hashes={"sha256": A})
    assert finished.hashes == {"sha256": A}
    assert finish(finished, upload_id=OTHER_ID, complete=False) is finished
    assert finish(finished, hashes={"sha256": A}) is finished
    for hashes in ({"sha256": B}, {"sha512": B * 2}):
        with pytest.raises(QueueError) as refusal:
            finish(finished, hashes=hashes)
        assert code_of(refusal) == "RequestConflict"


def test_an_object_is_readable_once_finished_and_until_it_expires() -> None:
    finished = finish(begin())
    assert rules.readable(finished, "name", EXPIRES) is finished
    for stored, now, code in (
        (None, NOW, "ResourceNotFound"),
        (begin(), NOW, "ResourceNotFound"),
        (finished, EXPIRES + timedelta(milliseconds=1), "ResourceExpired"),
    ):
        with pytest.raises(QueueError) as refusal:
            rules.readable(stored, "name", now)
        assert code_of(refusal) == code

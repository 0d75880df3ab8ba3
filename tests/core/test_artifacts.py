"""Artifacts: who may create one and when, what a repeat may change, and who sees it (8.1 to 8.5)."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_service.core import artifacts as rules
from queue_service.core.artifacts import S3, Artifact, ErrorReport, Link, ObjectUpload, Reference
from queue_service.core.errors import InputError, QueueError, RequestConflict
from queue_service.core.task import Task
from schemas.artifacts import ErrorReason, PostArtifactRequest
from schemas.times import format_time
from tests.core.samples import EXPIRES, NOW, TASK_ID, task

UPLOAD_ID: Final = "dSlITZ4yQgmvxxAi4A8fHQ"
DRIFT: Final = timedelta(minutes=15)
MILLISECOND: Final = timedelta(milliseconds=1)
RUNNING: Final = task("scheduled running")
DAY: Final = timedelta(days=1)

BODIES: Final[dict[str, dict[str, Any]]] = {
    "s3": {"storageType": "s3", "contentType": "text/plain"},
    "object": {"storageType": "object", "contentType": "text/plain"},
    "reference": {"storageType": "reference", "contentType": "text/plain", "url": "https://example.com/a"},
    "link": {"storageType": "link", "contentType": "text/plain", "artifact": "public/b"},
    "error": {"storageType": "error", "reason": "file-missing-on-worker", "message": "not there"},
}


def wanted(
    kind: str = "s3",
    *,
    name: str = "public/log",
    run_id: int = 0,
    expires: datetime = EXPIRES,
    key: str = "private/key",
    upload_id: str = UPLOAD_ID,
    **members: Any,
) -> Artifact:
    """What a createArtifact asks for; ``members`` of the body, None leaves one out."""
    body = BODIES[kind] | {"expires": format_time(expires)} | members
    request = PostArtifactRequest.model_validate({k: v for k, v in body.items() if v is not None}).root
    return rules.proposed(
        TASK_ID, run_id, name, request, key=key, upload_id=upload_id, upload_until=NOW + rules.UPLOAD_URL
    )


def create(
    artifact: Artifact, owner: Task | None = RUNNING, stored: Artifact | None = None, now: datetime = NOW
) -> Artifact:
    return rules.create(artifact, owner, stored, now, drift=DRIFT)


# ---- what can be asked for ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", " ", "~", "../../etc/passwd", "a//b/", "public/" + "x" * 1017])
def test_a_name_is_1_to_1024_printable_ascii_characters(name: str) -> None:
    assert create(wanted(name=name)).name == name


@pytest.mark.parametrize("name", ["", "x" * 1025, "a\n", "é", "a\x7f", "\x00"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="1 to 1024"):
        wanted(name=name)


@pytest.mark.parametrize("target", ["", "x" * 1025, "a\r\nb", "é"])
def test_a_link_leads_to_what_can_be_a_name(target: str) -> None:
    with pytest.raises(InputError, match="`artifact`"):
        wanted("link", artifact=target)


@pytest.mark.parametrize("content_type", ["text/plain\r\nx: y", "text/plain\x00", "text/plän"])
@pytest.mark.parametrize("kind", ["s3", "object", "reference", "link"])
def test_a_content_type_that_could_not_be_a_header_is_refused(kind: str, content_type: str) -> None:
    with pytest.raises(InputError, match="`contentType`"):
        wanted(kind, contentType=content_type)


def test_a_url_that_is_too_long_for_a_header_is_refused() -> None:
    with pytest.raises(InputError, match="`url`"):
        wanted("reference", url="https://example.com/" + "x" * rules.MAX_URL)


def test_a_length_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="`contentLength`"):
        wanted(contentLength=10**300)


@pytest.mark.parametrize(
    ("kind", "members", "content_type"),
    [
        ("link", {"contentType": None}, "application/binary"),
        ("error", {}, "application/binary"),
        ("link", {}, "text/plain"),
        ("s3", {"contentType": ""}, ""),
    ],
)
def test_the_content_type_defaults_where_it_may_be_left_out(
    kind: str, members: dict[str, Any], content_type: str
) -> None:
    assert wanted(kind, **members).content_type == content_type


@pytest.mark.parametrize("kind", BODIES)
def test_only_an_object_is_hidden_until_it_is_finished(kind: str) -> None:
    assert create(wanted(kind)).present == (kind != "object")


# ---- who may create, and when ---------------------------------------------------------------------------

PENDING: Final = task("scheduled pending")
COMPLETED: Final = task("scheduled completed")
NEVER_CLAIMED: Final = task("scheduled exception canceled")
EXPIRED_NOW: Final = NOW - DRIFT - MILLISECOND
AFTER_TASK: Final = EXPIRES + MILLISECOND


@pytest.mark.parametrize(
    ("artifact", "owner", "error", "text"),
    [
        (wanted(expires=EXPIRED_NOW), None, InputError, "must be in the future"),
        (wanted(expires=AFTER_TASK), None, InputError, "no task"),
        (wanted(expires=AFTER_TASK, run_id=1), RUNNING, InputError, "no run 1"),
        (wanted(expires=AFTER_TASK, run_id=10**9), RUNNING, InputError, "no run"),
        (wanted(expires=AFTER_TASK), PENDING, InputError, "never claimed"),
        (wanted(expires=AFTER_TASK), NEVER_CLAIMED, InputError, "never claimed"),
        (wanted(expires=AFTER_TASK), COMPLETED, InputError, "after that of the task"),
        (wanted(), COMPLETED, RequestConflict, "completed"),
        (wanted(), task("scheduled failed"), RequestConflict, "failed"),
    ],
)
def test_checks_come_in_the_order_of_the_wire(
    artifact: Artifact, owner: Task | None, error: type[QueueError], text: str
) -> None:
    with pytest.raises(error, match=text):
        create(artifact, owner, stored=wanted("error"))


def test_the_limits_of_the_times_are_allowed() -> None:
    assert create(wanted(expires=NOW - DRIFT))
    assert create(wanted(expires=EXPIRES))


@pytest.mark.parametrize("repeat", [False, True], ids=["first", "repeat"])
@pytest.mark.parametrize(
    ("ago", "allowed"),
    [
        (timedelta(0), True),
        (timedelta(minutes=25) - MILLISECOND, True),
        (timedelta(minutes=25), False),
        (DAY, False),
    ],
)
def test_a_run_takes_artifacts_for_25_minutes_after_an_exception(
    ago: timedelta, allowed: bool, repeat: bool
) -> None:
    owner = task("scheduled exception worker-shutdown held", "retry pending", last=None)
    ended = owner.runs[0].model_copy(update={"resolved": NOW - ago})
    owner = replace(owner, runs=(ended, owner.runs[1]))
    stored = wanted() if repeat else None
    if allowed:
        assert create(wanted(), owner, stored)
    else:
        with pytest.raises(RequestConflict, match="takes no artifacts"):
            create(wanted(), owner, stored)


# ---- repeats --------------------------------------------------------------------------------------------


def test_a_repeat_of_an_s3_artifact_keeps_its_key_and_prolongs_it() -> None:
    stored = wanted(expires=EXPIRES - DAY, contentLength=1)
    again = create(wanted(key="private/other", contentLength=2), stored=stored)
    assert again == replace(stored, expires=EXPIRES)
    assert again.content_length == 1


def test_the_end_of_the_last_upload_url_never_moves_back() -> None:
    stored = wanted()
    assert isinstance(stored.content, S3)
    late = replace(stored, content=replace(stored.content, upload_until=NOW + DAY))
    assert create(wanted(), stored=late).content == late.content


def test_a_reference_may_get_another_url_or_become_a_link() -> None:
    stored = wanted("reference")
    moved = create(wanted("reference", url="https://example.com/other"), stored=stored)
    assert moved.content == Reference("https://example.com/other")
    linked = create(wanted("link", contentType="text/html"), stored=stored)
    assert linked.content == Link("public/b")
    assert linked.content_type == "text/plain"


def test_a_refused_repeat_tells_what_is_stored() -> None:
    with pytest.raises(RequestConflict, match=f"`reference`.*`text/plain`.*{format_time(EXPIRES)}"):
        create(wanted("error"), stored=wanted("reference"))


@dataclass(frozen=True)
class Model:
    """A stored artifact as the table of 8.1 speaks of it."""

    kind: str
    content_type: str
    expires: datetime
    facts: Any

    def replaced_by(self, new: "Model") -> "Model | None":
        """What the table says about a repeat; None when it is refused."""
        if new.expires < self.expires:
            return None
        if new.kind != "link" and new.content_type != self.content_type:
            return None
        same = self.kind == new.kind
        allowed = {
            "s3": same,
            "object": False,
            "reference": new.kind in ("reference", "link"),
            "link": same and self.facts == new.facts,
            "error": same and self.facts == new.facts,
        }[self.kind]
        return Model(new.kind, self.content_type, new.expires, new.facts) if allowed else None


def model_of(artifact: Artifact) -> Model:
    match artifact.content:
        case S3() | ObjectUpload():
            facts: Any = None
        case Reference(url):
            facts = url
        case Link(target):
            facts = target
        case ErrorReport(reason, message):
            facts = (reason, message)
    return Model(artifact.storage_type, artifact.content_type, artifact.expires, facts)


_expiries = st.integers(0, 3).map(lambda days: EXPIRES - days * DAY)
_types = st.sampled_from(["text/plain", "text/html", "application/binary"])
_kinds = st.one_of(
    st.fixed_dictionaries({"kind": st.sampled_from(["s3", "object"]), "contentType": _types}),
    st.fixed_dictionaries(
        {
            "kind": st.just("reference"),
            "contentType": _types,
            "url": st.sampled_from(["https://a", "https://b"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("link"),
            "contentType": st.none() | _types,
            "artifact": st.sampled_from(["a", "b"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("error"),
            "reason": st.sampled_from(get_args(ErrorReason)[:2]),
            "message": st.sampled_from(["m", "n"]),
        }
    ),
)
_calls = st.lists(st.tuples(_kinds, _expiries), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None)
@given(_calls)
def test_any_sequence_of_calls_leaves_what_the_table_of_repeats_says(calls: list[Any]) -> None:
    stored: Artifact | None = None
    model: Model | None = None
    for number, (members, expires) in enumerate(calls):
        call = dict(members)
        new = wanted(call.pop("kind"), expires=expires, key=f"private/{number}", **call)
        expected = model_of(new) if model is None else model.replaced_by(model_of(new))
        try:
            stored = create(new, stored=stored)
        except RequestConflict:
            assert expected is None
        else:
            assert expected is not None
            model = expected
        assert stored is not None
        assert model_of(stored) == model
        if isinstance(stored.content, S3):
            assert stored.content.key == "private/0"  # the bytes stay where they are


# ---- finishing ------------------------------------------------------------------------------------------


def finish(artifact: Artifact | None, *, upload_id: str = UPLOAD_ID, complete: bool = True) -> Artifact:
    return rules.finish(artifact, name="public/log", upload_id=upload_id, complete=complete)


OBJECT: Final = wanted("object")
OTHER_ID: Final = "VXcJ7lLRTuKhEcZBHVS7Zw"


@pytest.mark.parametrize(
    ("artifact", "upload_id", "complete", "code", "text"),
    [
        (None, OTHER_ID, False, "ResourceNotFound", "no artifact"),
        (wanted(), OTHER_ID, False, "InputError", "storageType"),
        (OBJECT, OTHER_ID, False, "InputError", "uploadId"),
        (OBJECT, UPLOAD_ID, False, "InputError", "not finished"),
    ],
)
def test_finish_checks_in_the_order_of_the_wire(
    artifact: Artifact | None, upload_id: str, complete: bool, code: str, text: str
) -> None:
    with pytest.raises(QueueError, match=text) as refusal:
        finish(artifact, upload_id=upload_id, complete=complete)
    assert refusal.value.code == code


def test_finish_shows_the_artifact_and_a_repeat_changes_nothing() -> None:
    shown = finish(OBJECT)
    assert shown == replace(OBJECT, present=True)
    assert finish(shown, upload_id=OTHER_ID, complete=False) is shown


# ---- telling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reference", "link", "error"])
def test_an_artifact_that_is_there_is_announced(kind: str) -> None:
    message = rules.announcement(RUNNING, wanted(kind))
    assert message is not None
    assert message.to_wire() == {
        "version": 1,
        "status": RUNNING.status().to_wire(),
        "runId": 0,
        "workerGroup": "eu-1",
        "workerId": "w-1",
        "artifact": {
            "storageType": kind,
            "name": "public/log",
            "expires": format_time(EXPIRES),
            "contentType": "application/binary" if kind == "error" else "text/plain",
        },
    }


def test_s3_artifacts_and_unfinished_objects_are_never_announced() -> None:
    assert rules.announcement(RUNNING, wanted()) is None
    assert rules.announcement(RUNNING, OBJECT) is None
    assert rules.announcement(RUNNING, finish(replace(OBJECT, content_length=5))) is not None


# ---- reading --------------------------------------------------------------------------------------------


def test_an_artifact_is_readable_until_it_expires() -> None:
    artifact = wanted()
    assert rules.readable(artifact, "public/log", EXPIRES) is artifact
    for missing in (None, OBJECT):
        with pytest.raises(QueueError) as refusal:
            rules.readable(missing, "public/log", NOW)
        assert refusal.value.code == "ResourceNotFound"
    with pytest.raises(QueueError) as refusal:
        rules.readable(artifact, "public/log", EXPIRES + MILLISECOND)
    assert refusal.value.code == "ResourceExpired"


def test_links_are_followed_until_something_else_comes() -> None:
    assert rules.next_name(wanted("link", artifact="b"), ["a"]) == "b"
    assert rules.next_name(wanted(), ["a", "b"]) is None


@pytest.mark.parametrize("names", [["a"], ["b", "a"], ["a", "b", "c"]])
def test_a_circle_of_links_is_refused(names: list[str]) -> None:
    with pytest.raises(InputError, match="circle"):
        rules.next_name(wanted("link", artifact="a"), names)


def test_a_chain_of_links_has_an_end() -> None:
    names = [f"a{number}" for number in range(rules.MAX_LINKS)]
    assert rules.next_name(wanted("link", artifact="b"), names) == "b"
    with pytest.raises(InputError, match="64 links"):
        rules.next_name(wanted("link", artifact="b"), [*names, "more"])


@pytest.mark.parametrize(("owner", "run_id"), [(None, 0), (task(), 0), (RUNNING, 1), (RUNNING, 10**9)])
def test_a_run_that_does_not_exist_is_not_found(owner: Task | None, run_id: int) -> None:
    with pytest.raises(QueueError) as refusal:
        rules.check_run(owner, TASK_ID, run_id)
    assert refusal.value.code == "ResourceNotFound"


def test_the_latest_run_is_the_last_one_whatever_its_state() -> None:
    assert rules.latest_run(RUNNING, TASK_ID) == 0
    assert rules.latest_run(task("scheduled completed", "rerun pending"), TASK_ID) == 1

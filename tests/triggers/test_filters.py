"""Which messages fire a trigger: the table of types, filters as bindings and as tests (TR-6, D.6)."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import keys
from events.exchanges import find_exchange
from queue_service.core.errors import InputError
from queue_service.features.firing.queues import Bound
from queue_service.features.triggers import filters
from queue_service.features.triggers.message_types import MAPPED, NO_MESSAGE, PRODUCT
from schemas.triggers import MessageFilter

QUEUE = "exchange/taskcluster-queue/v1/"
TASK_ID = "fN1SbArXTPSVFNUvaOlinQ"
STATUS = {
    "taskId": TASK_ID,
    "provisionerId": "prov",
    "workerType": "linux",
    "taskQueueId": "prov/linux",
    "taskGroupId": "dSlITZ4yQgmvxxAi4A8fHQ",
    "runs": [{"runId": 0, "reasonResolved": "canceled"}],
}
KV_CHANGED = "exchange/taskbus-kv/v1/kv-changed"
USER = "exchange/taskbus-events/v1/user-message"


def wanted(**members: Any) -> MessageFilter:
    return MessageFilter.model_validate(members)


def test_the_table_has_every_type_once() -> None:
    tables = (MAPPED, NO_MESSAGE, PRODUCT)
    assert sum(map(len, tables)) == len(set().union(*tables)) == 155
    assert len(PRODUCT) == 65


@pytest.mark.parametrize("name", sorted(PRODUCT))
def test_a_product_specific_type_is_refused_and_the_refusal_says_so(name: str) -> None:
    with pytest.raises(InputError, match=f"`/message/filterType/1`.*`{name}` are specific to the product"):
        filters.check(wanted(filterType=["job-finished", name]))


@pytest.mark.parametrize("name", sorted(NO_MESSAGE))
def test_a_type_that_is_no_message_here_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"`/message/filterType/0`: `{name}` is no message here"):
        filters.check(wanted(filterType=[name]))


@pytest.mark.parametrize("name", sorted(MAPPED))
def test_a_mapped_type_binds_its_exchanges_or_says_that_nobody_publishes_it(name: str) -> None:
    published = {kind.exchange for kind in MAPPED[name]} & filters._BY_NAME.keys()
    if not published:
        with pytest.raises(InputError, match="publishes no messages"):
            filters.check(wanted(filterType=[name]))
        return
    filters.check(wanted(filterType=[name]))
    bound = {one.exchange.rpartition("/")[2] for one in filters.bindings(wanted(filterType=[name]))}
    assert bound == published


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"filterType": ["job-finnished"]}, "no type of messages `job-finnished`"),
        ({"filterTag": ["a"], "filterKind": "system"}, "`/message/filterTag`: only user messages"),
        ({"filterKind": "user", "filterType": ["job-finished"]}, "no message can pass"),
        ({"filterWorker": "a/b/c"}, "`/message/filterWorker`"),
        ({"filterSource": ["worker"], "filterType": ["variable"]}, "no message can pass"),
    ],
)
def test_filters_that_nothing_can_pass_are_refused(members: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        filters.check(wanted(**members))


@pytest.mark.parametrize(
    ("members", "bound"),
    [
        ({"filterType": ["run-job-failure"]}, {Bound(QUEUE + "task-failed", "*.*.*.*.*.*.*.*.*.#")}),
        (
            {"filterType": ["task-completed"], "filterJob": TASK_ID},
            {
                Bound(QUEUE + "task-completed", f"*.{TASK_ID}.*.*.*.*.*.*.*.#"),
                Bound(QUEUE + "task-completed", f"*.*.*.*.*.*.*.*.{TASK_ID}.#"),
            },
        ),
        (
            {"filterType": ["task-completed"], "filterJob": "prov/linux"},
            {Bound(QUEUE + "task-completed", "*.*.*.*.*.prov.linux.*.*.#")},
        ),
        (
            {"filterType": ["task-running"], "filterWorker": "w-1"},
            {Bound(QUEUE + "task-running", "*.*.*.*.w-1.*.*.*.*.#")},
        ),
        (
            {"filterTag": ["deploy", "ship"], "filterSource": ["job"]},
            {Bound(USER, "*.*.job.deploy.*"), Bound(USER, "*.*.job.ship.*")},
        ),
        (
            {"bindings": [{"exchange": "exchange/other", "routingKeyPattern": "a.#"}]},
            {Bound("exchange/other", "a.#")},
        ),
    ],
)
def test_filters_are_bindings(members: dict[str, Any], bound: set[Bound]) -> None:
    assert filters.bindings(wanted(**members)) == bound


TASK = {"status": STATUS, "runId": 0, "workerId": "w-1"}
UPDATED = "exchange/taskbus-jobs/v1/job-updated"
ATTACHED = "exchange/taskbus-work/v1/worker-attached"
USER_BODY = {"tag": "deploy", "source": "server", "level": "alert", "jobId": TASK_ID}


@pytest.mark.parametrize(
    ("members", "exchange", "body", "passes"),
    [
        ({}, QUEUE + "task-completed", TASK, True),
        ({"filterKind": "user"}, QUEUE + "task-completed", TASK, False),
        ({"filterKind": "user"}, USER, USER_BODY, True),
        ({"filterKind": "system"}, USER, USER_BODY, False),
        ({"filterType": ["job-killed"]}, QUEUE + "task-exception", TASK, True),
        ({"filterType": ["job-timed-out"]}, QUEUE + "task-exception", TASK, False),
        ({"filterType": ["job-timed-out", "job-killed"]}, QUEUE + "task-exception", TASK, True),
        ({"filterType": ["job-finished"]}, QUEUE + "task-exception", TASK, False),
        ({"filterType": ["job-logs"]}, UPDATED, {"log": {"message": "on and on"}}, True),
        ({"filterType": ["job-logs"]}, UPDATED, {"step": {"name": "Run"}}, False),
        ({"filterType": ["job-metrics"]}, UPDATED, {"progress": {"percent": 1}}, True),
        ({"filterType": ["job-metrics"]}, UPDATED, {"log": {"message": "on and on"}}, False),
        ({"filterType": ["job-checkpoint-update"]}, UPDATED, {"log": {"message": "on and on"}}, False),
        ({"filterType": ["job-checkpoint-update"]}, UPDATED, {"progress": {"percent": 1}}, True),
        ({"filterType": ["worker-first-seen"]}, ATTACHED, {"workerId": "w-1", "firstSeen": True}, True),
        ({"filterType": ["worker-first-seen"]}, ATTACHED, {"workerId": "w-1"}, False),
        ({"filterType": ["variable-deleted"]}, KV_CHANGED, {"op": "expire"}, True),
        ({"filterType": ["variable"]}, KV_CHANGED, {"op": "expire"}, False),
        ({"filterType": ["user-alert"]}, USER, USER_BODY, True),
        ({"filterType": ["user-notification"]}, USER, USER_BODY, False),
        ({"filterTag": ["deploy"]}, USER, USER_BODY, True),
        ({"filterTag": ["ship"]}, USER, USER_BODY, False),
        ({"filterTag": ["deploy"]}, QUEUE + "task-completed", {**TASK, "tag": "deploy"}, False),
        ({"filterSource": ["job"]}, QUEUE + "task-completed", TASK, True),
        ({"filterSource": ["worker"]}, QUEUE + "task-completed", TASK, False),
        ({"filterSource": ["server"]}, USER, USER_BODY, True),
        ({"filterSource": ["job"]}, USER, USER_BODY, False),
        ({"filterWorker": "w-1"}, QUEUE + "task-completed", TASK, True),
        ({"filterWorker": "w-2"}, QUEUE + "task-completed", TASK, False),
        ({"filterJob": TASK_ID}, QUEUE + "task-completed", TASK, True),
        ({"filterJob": "prov/linux"}, QUEUE + "task-completed", TASK, True),
        ({"filterJob": STATUS["taskGroupId"]}, QUEUE + "task-completed", TASK, True),
        ({"filterJob": TASK_ID}, USER, USER_BODY, True),
        ({"filterJob": "prov/other"}, QUEUE + "task-completed", TASK, False),
        ({"filterJob": TASK_ID, "filterKind": "user"}, QUEUE + "task-completed", TASK, False),
    ],
)
def test_a_message_fires_if_it_passes_all_filters(
    members: dict[str, Any], exchange: str, body: dict[str, Any], passes: bool
) -> None:
    assert filters.passes(wanted(**members), exchange, body) is passes


@given(
    names=st.lists(
        st.sampled_from(["job-finished", "job-killed", "worker-connected", "variable", "user-alert"])
    ),
    kind=st.sampled_from([None, "system", "user"]),
    source=st.sampled_from([None, ["job"], ["server", "worker"]]),
)
def test_what_passes_is_bound(names: list[str], kind: str | None, source: list[str] | None) -> None:
    given_ = {"filterType": sorted(set(names)) or None, "filterKind": kind, "filterSource": source}
    asked = wanted(**{name: value for name, value in given_.items() if value is not None})
    bound = filters.bindings(asked)
    for exchange, body in (
        (QUEUE + "task-completed", TASK),
        (QUEUE + "task-exception", TASK),
        (USER, USER_BODY),
    ):
        if filters.passes(asked, exchange, body):
            declared = find_exchange(exchange)
            assert declared is not None
            key = (
                "primary.user.server.deploy." + TASK_ID
                if exchange == USER
                else "primary." + ".".join("x" * 9)
            )
            assert any(one.exchange == exchange and keys.matches(one.pattern, key) for one in bound), (
                asked,
                bound,
            )


def test_the_documentation_of_types_is_complete() -> None:
    page = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text(encoding="utf-8")
    assert not [name for name in (*MAPPED, *NO_MESSAGE, *PRODUCT) if f"`{name}`" not in page]

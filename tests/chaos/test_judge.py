"""The judge of fault tests finds what it is for: each planted violation is named, and a whole life passes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from schemas.ids import slugid
from schemas.queue import CreateTaskRequest
from schemas.task import TaskStatus
from schemas.times import format_time
from taskbus import task_definition
from tests.chaos.judge import Judge
from tests.chaos.record import UNANSWERED, Record, Said
from tests.e2e.history import Heard

CLAIM_TIMEOUT: Final = 3.0
TASK: Final = slugid()
BEGAN: Final = datetime(2026, 3, 1, tzinfo=UTC)

Wire = dict[str, Any]


def at(seconds: float) -> str:
    return format_time(BEGAN + timedelta(seconds=seconds))


def pending(**members: Any) -> Wire:
    return {"runId": 0, "state": "pending", "reasonCreated": "scheduled", "scheduled": at(0), **members}


def running(**members: Any) -> Wire:
    held = {"workerGroup": "g", "workerId": "w", "started": at(1), "takenUntil": at(4)}
    return {**pending(**held), "state": "running", **members}


def completed(**members: Any) -> Wire:
    ended = {"state": "completed", "reasonResolved": "completed", "resolved": at(2)}
    return {**running(**ended), **members}


def expired() -> Wire:
    return running(state="exception", reasonResolved="claim-expired", resolved=at(5))


def status(*runs: Wire, retries_left: int = 5) -> Wire:
    return {
        "taskId": TASK,
        "provisionerId": "p",
        "workerType": "w",
        "taskQueueId": "p/w",
        "schedulerId": "s",
        "projectId": "none",
        "taskGroupId": TASK,
        "deadline": at(600),
        "expires": at(6000),
        "retriesLeft": retries_left,
        "state": runs[-1]["state"] if runs else "unscheduled",
        "priority": "lowest",
        "runs": list(runs),
    }


def definition() -> CreateTaskRequest:
    return task_definition({}, queue="p/w", created=BEGAN, deadline="10m", expires="100m", scheduler_id="s")


def answered(call: str, shown: Wire | None, by: str = "w", code: int = 200) -> Said:
    answer = None if shown is None else {"status": shown}
    return Said(0.0, by, call, code, answer)


def handed_out(shown: Wire, by: str = "w", run_id: int = 0) -> Said:
    claim = {"status": shown, "runId": run_id, "workerId": by}
    return Said(0.0, by, "POST claim-work/p%2Fw", 200, {"tasks": [claim]})


def violations(final: Wire, *said: Said) -> list[str]:
    statuses = [TaskStatus.model_validate(final)]
    return Judge({TASK: definition()}, statuses, Record(list(said)), CLAIM_TIMEOUT).calls()


REPORT: Final = f"POST task/{TASK}/runs/0/completed"
DONE: Final = status(completed())
LIFE: Final = (
    answered(f"PUT task/{TASK}", status(pending()), by="creator"),
    handed_out(status(running())),
    answered(REPORT, DONE),
)


def test_a_whole_life_passes() -> None:
    assert violations(DONE, *LIFE) == []


def test_a_life_with_an_expired_claim_and_a_renewed_one_passes() -> None:
    second = completed(
        runId=1, reasonCreated="retry", scheduled=at(5), started=at(6), takenUntil=at(11), resolved=at(10)
    )
    assert violations(status(expired(), second, retries_left=4), handed_out(status(running()))) == []


@pytest.mark.parametrize(
    ("final", "said", "words"),
    [
        pytest.param(status(running()), LIFE[:2], "never ended", id="a task that never ends"),
        pytest.param(
            status(completed(workerId="v")), LIFE, "answered and forgotten", id="a claim that is forgotten"
        ),
        pytest.param(
            status(completed(state="failed", reasonResolved="failed")),
            LIFE,
            "answered and forgotten",
            id="a report that is forgotten",
        ),
        pytest.param(
            DONE, (*LIFE, handed_out(status(running(workerId="v")), by="v")), "was handed out to w and to v",
            id="a run handed out twice",
        ),
        pytest.param(
            DONE, (*LIFE, answered(REPORT.replace("completed", "failed"), DONE)), "was answered with",
            id="a run that is resolved twice",
        ),
        pytest.param(
            DONE, (*LIFE, answered(REPORT, None, code=500)), "was answered 500", id="an unexpected answer"
        ),
        pytest.param(
            status(completed(), retries_left=4), (), "the model at", id="a retry that is lost"
        ),
        pytest.param(
            status(expired() | {"resolved": at(3)}, pending(runId=1, reasonCreated="retry", scheduled=at(3))),
            (), "refused by the model", id="a claim that ends too early",
        ),
    ],
)  # fmt: skip
def test_a_violation_is_named(final: Wire, said: tuple[Said, ...], words: str) -> None:
    assert any(words in violation for violation in violations(final, *said))


def test_a_created_task_that_does_not_exist_is_named() -> None:
    judge = Judge({TASK: definition()}, [], Record(list(LIFE[:1])), CLAIM_TIMEOUT)
    assert any("was created and does not exist" in text for text in judge.calls())


def story(*messages: tuple[str, Wire]) -> list[Heard]:
    heard = []
    for number, (exchange, shown) in enumerate(messages):
        body = {"status": shown, "version": 1}
        heard.append(Heard(exchange, f"id-{number}", body if not shown["runs"] else {**body, "runId": 0}))
    ended = {"taskGroupId": TASK, "schedulerId": "s", "expires": at(6000)}
    return [*heard, Heard("task-group-resolved", "id-group", ended)]


TOLD: Final = (
    ("task-defined", status()),
    ("task-pending", status(pending())),
    ("task-running", status(running())),
    ("task-completed", DONE),
)


def heard_wrong(heard: list[Heard], *said: Said) -> list[str]:
    judge = Judge({TASK: definition()}, [TaskStatus.model_validate(DONE)], Record(list(said)), CLAIM_TIMEOUT)
    return judge.deliveries(heard)


def test_what_was_told_whole_and_in_order_passes() -> None:
    assert heard_wrong(story(*TOLD)) == []


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda told: told[:2] + told[3:], id="lost"),
        pytest.param(lambda told: [told[0], told[2], told[1], *told[3:]], id="out of order"),
    ],
)
def test_a_message_that_is_lost_or_out_of_order_is_named(spoil: Callable[[list[Heard]], list[Heard]]) -> None:
    assert heard_wrong(spoil(story(*TOLD)))


def test_a_message_that_shows_what_never_was_is_named() -> None:
    other = status(running(workerId="other"))
    assert "run 0 was" in heard_wrong(story(*TOLD[:2], ("task-running", other), TOLD[3]))[0]


def test_told_again_is_right_only_for_a_repeated_call() -> None:
    again = story(*TOLD, TOLD[3])
    asked = Said(0.0, "w", REPORT)
    assert heard_wrong(again, asked, asked) == []
    assert heard_wrong(again, asked) != []


def test_a_call_without_an_answer_promises_nothing() -> None:
    failed = REPORT.replace("completed", "failed")
    assert violations(DONE, *LIFE, Said(0.0, "w", failed, UNANSWERED)) == []

"""How times come in and go out (``queue-behaviour.md`` 1.5)."""

from datetime import UTC, datetime

import pytest

from schemas.ids import slugid
from tests.api.contract import TIME
from tests.api.running_queue import RunningQueue


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2024-05-01T13:00:00Z", "2024-05-01T13:00:00.000Z"),
        ("2024-05-01T13:00:00.5Z", "2024-05-01T13:00:00.500Z"),
        ("2024-05-01T13:00:00.12Z", "2024-05-01T13:00:00.120Z"),
        ("2024-05-01T13:00:00.123Z", "2024-05-01T13:00:00.123Z"),
        ("2024-05-01T13:00:00.123999Z", "2024-05-01T13:00:00.123Z"),
        ("2024-05-01T13:00:00.1239999999999999999Z", "2024-05-01T13:00:00.123Z"),
        ("2024-05-01T13:00:00+00:00", "2024-05-01T13:00:00.000Z"),
        ("2024-05-01T13:00:00-00:00", "2024-05-01T13:00:00.000Z"),
        ("2024-05-01T15:30:00.25+02:30", "2024-05-01T13:00:00.250Z"),
        ("2024-05-01T03:00:00-10:00", "2024-05-01T13:00:00.000Z"),
        ("2024-05-02T00:00:00+11:00", "2024-05-01T13:00:00.000Z"),
        ("2024-05-01t13:00:00z", "2024-05-01T13:00:00.000Z"),
        ("2024-05-01 13:00:00Z", "2024-05-01T13:00:00.000Z"),
    ],
)
async def test_a_time_comes_in_as_any_rfc_3339_and_goes_out_in_one_form(
    queue: RunningQueue, sent: str, shown: str
) -> None:
    task_id = await queue.create(deadline=sent)
    assert (await queue.get(f"/task/{task_id}"))["deadline"] == shown
    assert (await queue.status(task_id))["deadline"] == shown


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "sent",
    [
        "2024-05-01T13:00:00",
        "2024-05-01T13:00Z",
        "2024-05-01",
        "2024-05-01T13:00:00+0200",
        "2024-05-01T13:00:00+02",
        "20240501T130000Z",
        "2024-02-30T13:00:00Z",
        "2024-13-01T13:00:00Z",
        "2024-05-01T24:00:00Z",
        "2024-05-01T13:60:00Z",
        "2024-05-01T13:00:00Z\n",
        " 2024-05-01T13:00:00Z",
        "2024-05-01T13:00:00,5Z",
        "2024-W18-3T13:00:00Z",
        "٢٠٢٤-05-01T13:00:00Z",
        "1714568400",
        "",
        1714568400,
        1714568400.0,
        True,
        ["2024-05-01T13:00:00Z"],
    ],
)
async def test_anything_else_is_no_time(queue: RunningQueue, sent: object) -> None:
    reply = await queue.call("PUT", f"/task/{slugid()}", queue.definition(deadline=sent))
    assert (reply.status, reply.code) == (400, "InputValidationError")
    assert "`/deadline`" in reply.message


async def test_millisecond_precision_is_taken_before_comparing(queue: RunningQueue) -> None:
    queue.clock.set(datetime(2024, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC))
    task_id = slugid()
    body = queue.definition(
        created="2024-05-01T12:00:00.123900Z",
        deadline="2024-05-01T12:00:00.123100Z",
        expires="2024-05-01T12:00:00.1230001Z",
    )
    assert (await queue.call("PUT", f"/task/{task_id}", body)).status == 200
    same = {**body, "created": "2024-05-01T14:00:00.123+02:00"}
    assert (await queue.call("PUT", f"/task/{task_id}", same)).status == 200


async def test_every_time_of_a_whole_life_has_three_digits_and_z(queue: RunningQueue) -> None:
    queue.clock.set(datetime(2024, 5, 1, 12, 0, 0, 7_000, tzinfo=UTC))
    task_id = await queue.create(deadline="2024-05-01T15:00:00+02:00")
    (claim,) = await queue.claim()
    queue.clock.advance(milliseconds=90)
    reclaim = await queue.post(f"/task/{task_id}/runs/0/reclaim")
    queue.clock.advance(milliseconds=3)
    await queue.post(f"/task/{task_id}/runs/0/completed")
    run = await queue.run(task_id)
    assert claim["takenUntil"] == "2024-05-01T12:20:00.007Z"
    assert reclaim["takenUntil"] == run["takenUntil"] == "2024-05-01T12:20:00.097Z"
    assert run["scheduled"] == run["started"] == "2024-05-01T12:00:00.007Z"
    assert run["resolved"] == "2024-05-01T12:00:00.100Z"
    (running,) = [told for told in await queue.messages() if told.exchange == "task-running"]
    assert TIME.fullmatch(running.body["takenUntil"])

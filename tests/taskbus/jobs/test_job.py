"""Types of jobs: their names, their arguments, and what cannot be one."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from taskbus.jobs import Job, JobOptions
from taskbus.jobs.job import KIND
from tests.taskbus.jobs.samples import SendInvoice


class Renamed(Job, kind="invoice.remind", aliases=("Remind",)):
    at: datetime
    sum: Decimal
    to: tuple[str, ...] = ()


def test_a_type_is_called_as_its_class_unless_it_gets_a_name() -> None:
    assert (SendInvoice.kind, SendInvoice.aliases) == ("SendInvoice", ())
    assert (Renamed.kind, Renamed.aliases) == ("invoice.remind", ("Remind",))


def test_a_subclass_has_a_name_of_its_own_and_the_options_of_its_base() -> None:
    class SendReminder(SendInvoice):
        level: int = 1

    assert (SendReminder.kind, SendReminder.options) == ("SendReminder", SendInvoice.options)


def test_arguments_come_back_as_they_were() -> None:
    job = Renamed(at=datetime(2026, 1, 2, tzinfo=UTC), sum=Decimal("19.90"), to=("ann", "bob"))
    payload = job.payload()
    assert payload == {
        "kind": "invoice.remind",
        "args": {"at": "2026-01-02T00:00:00Z", "sum": "19.90", "to": ["ann", "bob"]},
    }
    assert Renamed.of_args(payload["args"]) == job


@pytest.mark.parametrize("args", [{}, {"customer": "x"}, {"customer": 1, "copy": 2}, [], None, "7"])
def test_arguments_that_do_not_fit_are_refused(args: Any) -> None:
    with pytest.raises(ValidationError):
        SendInvoice.of_args(args)


@pytest.mark.parametrize("kind", ["x", "1a", "a b", "a.", "", "a" * 65])
def test_a_name_that_is_none_is_refused(kind: str) -> None:
    assert KIND.fullmatch(kind) is None
    if kind:
        with pytest.raises(TypeError, match="expected a kind of 2 to 64"):
            type("Named", (Job,), {"__module__": __name__}, kind=kind)  # type: ignore[call-overload]


@pytest.mark.filterwarnings("ignore:Field name")
def test_an_argument_may_not_take_a_name_that_has_a_meaning() -> None:
    with pytest.raises(TypeError, match="options: this name has a meaning"):

        class Wrong(Job):
            options: int  # type: ignore[assignment]


def test_options_are_not_arguments() -> None:
    assert "options" not in SendInvoice.model_fields
    assert isinstance(SendInvoice(customer=1).options, JobOptions)

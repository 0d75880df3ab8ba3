"""Figures and how they are shown: the median of several runs with its spread, as markdown and as JSON."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity of one case, a value for each run."""

    case: str
    quantity: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        low, middle, high = (_short(value) for value in (min(self.values), self.median, max(self.values)))
        return middle if low == high else f"{middle} ({low}–{high})"


@dataclass
class Section:
    """What one benchmark has to say: how it measured, its figures, and what to compare them with."""

    title: str
    method: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, case: str, runs: Sequence[Mapping[tuple[str, str], float]]) -> None:
        """Take the runs of one case; each maps (quantity, unit) to a value."""
        for quantity, unit in runs[0]:
            values = tuple(run[quantity, unit] for run in runs)
            self.figures.append(Figure(case, quantity, unit, values))

    def median(self, case: str, quantity: str) -> float | None:
        """The median of a figure; None when it was not measured."""
        for figure in self.figures:
            if (figure.case, figure.quantity) == (case, quantity):
                return figure.median
        return None

    def ratio(self, quantity: str, case: str, peer: str) -> None:
        """Note how a case compares with a peer of the same run."""
        mine, other = self.median(case, quantity), self.median(peer, quantity)
        if mine is not None and other:
            self.notes.append(f"{quantity}: {case} is {mine / other:.2f} times {peer}")


def markdown(section: Section) -> str:
    """One row for each case, one column for each quantity."""
    columns = list(dict.fromkeys((figure.quantity, figure.unit) for figure in section.figures))
    rows: dict[str, dict[tuple[str, str], Figure]] = {}
    for figure in section.figures:
        rows.setdefault(figure.case, {})[figure.quantity, figure.unit] = figure
    table = [
        ["", *(f"{quantity}, {unit}" if unit else quantity for quantity, unit in columns)],
        ["---", *("---:" for _ in columns)],
        *([case, *(str(found.get(column, "")) for column in columns)] for case, found in rows.items()),
    ]
    lines = [f"## {section.title}", "", section.method, ""]
    lines += ["| " + " | ".join(row) + " |" for row in table]
    lines += ["", *("- " + note.replace("\n", "\n  ") for note in section.notes), ""]
    return "\n".join(lines)


def as_json(section: Section) -> dict[str, Any]:
    """Everything measured, for programs."""
    return {
        "title": section.title,
        "notes": section.notes,
        "figures": [
            {
                "case": figure.case,
                "quantity": figure.quantity,
                "unit": figure.unit,
                "values": list(figure.values),
                "median": figure.median,
            }
            for figure in section.figures
        ],
    }


def _short(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"

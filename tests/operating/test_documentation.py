"""What docs/operating.md tells operators to look at is there."""

import re
from pathlib import Path
from typing import Final

from queue_service.metrics import METRICS, Metric
from queue_service.settings import Settings

PAGE: Final = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
PARTS: Final = ("_bucket", "_count", "_sum")
"""Of a histogram, as queries name them."""


def test_every_metric_of_the_page_is_told() -> None:
    known = {metric.told_as for metric in METRICS}
    known |= {metric.name + part for metric in METRICS if metric.kind == "histogram" for part in PARTS}
    named = set(re.findall(r"taskbus_[a-z_]+", PAGE))
    assert named
    assert named <= known


def test_every_label_of_a_query_is_one_of_its_metric() -> None:
    labels = {name: metric.labels for metric in METRICS for name in _names(metric)}
    found = re.findall(r"(taskbus_[a-z_]+)\{([a-z]+)[=~]", PAGE)
    assert found
    assert all(label in labels[name] for name, label in found)


def _names(metric: Metric) -> list[str]:
    return [metric.told_as, *(metric.name + part for part in PARTS)]


def test_every_setting_of_the_page_exists() -> None:
    named = set(re.findall(r"TASKBUS_([A-Z_]+)", PAGE))
    assert named <= {name.upper() for name in Settings.model_fields}

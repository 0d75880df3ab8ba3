"""The listener's record as a file."""

from pathlib import Path

from examples.demo.record import read_records
from tests.examples.story import whole_story


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    records = whole_story().records
    file = tmp_path / "record.jsonl"
    file.write_bytes(b"".join(record.to_json() + b"\n" for record in records))
    assert read_records(file) == records


def test_no_file_is_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "record.jsonl") == []


def test_a_record_names_its_facts() -> None:
    [expired] = [record for record in whole_story().records if record.kind == "task-exception"]
    assert (expired.subject, expired.run_id, expired.worker_id) == ("compile one.py", 0, "worker-1")
    assert expired.run is not None
    assert expired.run.reason_resolved == "claim-expired"

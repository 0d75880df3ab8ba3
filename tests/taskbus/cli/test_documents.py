"""What a person types or has in a file is JSON, or the error names the argument."""

from pathlib import Path

import pytest

from taskbus.cli.documents import json_object, json_value, text_of


def test_any_value_is_read() -> None:
    assert json_value("JSON", ' "a" ') == "a"


@pytest.mark.parametrize(("text", "problem"), [("{", "JSON: not JSON: "), ("", "JSON: not JSON: ")])
def test_what_is_not_json_is_refused_by_its_name(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        json_value("JSON", text)


def test_an_object_is_not_a_list() -> None:
    with pytest.raises(ValueError, match=r"--data: expected a JSON object, got \[1\]"):
        json_object("--data", "[1]")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--file .*/none\.json: No such file or directory"):
        text_of("--file", str(tmp_path / "none.json"))


def test_a_file_of_other_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"FILE .*/bytes: expected UTF-8"):
        text_of("FILE", str(tmp_path / "bytes"))

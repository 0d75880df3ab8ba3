"""What the demo's tasks run: compile a file, run a folder of tests, add up what they left."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo import compile_and_count, report
from examples.demo.graph import ROOT, SAMPLE
from examples.demo.results import read_results, write_result


def test_a_file_is_compiled_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    compile_and_count.main(Path("examples/demo/results.py"), tmp_path)
    [result] = read_results(tmp_path)
    assert result["file"] == "examples/demo/results.py"
    assert result["lines"] == len((ROOT / "examples/demo/results.py").read_text().splitlines())
    assert result["functions"] == 2
    assert result["bytecode"] == (tmp_path / "examples-demo-results.pyc").stat().st_size > 0


def test_a_file_that_is_no_python_fails_and_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("def broken(:\n")
    with pytest.raises(Exception, match=r"broken\.py"):
        compile_and_count.main(Path("broken.py"), tmp_path)
    assert read_results(tmp_path) == []


def status_of_tests(project: Path, folder: Path, results: Path) -> int:
    """The exit status of a test task's command."""
    command = [sys.executable, "-m", "examples.demo.run_tests", project, folder, results]
    return subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL, timeout=60).returncode


def test_a_folder_of_tests_is_run(tmp_path: Path) -> None:
    assert status_of_tests(SAMPLE, SAMPLE / "tests" / "life", tmp_path) == 0
    [result] = read_results(tmp_path)
    assert (result["tests"], result["failed"]) == (4, 0)


def small_project(directory: Path, assertion: str) -> Path:
    folder = directory / "tests"
    folder.mkdir(parents=True)
    test = f"class One(unittest.TestCase):\n    def test_one(self):\n        self.{assertion}\n"
    (folder / "test_one.py").write_text("import unittest\n" + test)
    return folder


def test_a_folder_with_a_failing_test_fails_and_leaves_its_result(tmp_path: Path) -> None:
    folder = small_project(tmp_path / "project", "assertTrue(False)")
    assert status_of_tests(folder, folder, tmp_path) == 1
    [result] = read_results(tmp_path)
    assert (result["tests"], result["failed"]) == (1, 1)


def test_a_folder_without_tests_fails(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert status_of_tests(tmp_path / "empty", tmp_path / "empty", tmp_path) == 1


def test_a_result_that_is_not_written_to_its_end_is_not_read(tmp_path: Path) -> None:
    write_result(tmp_path, "whole", {"kind": "compile"})
    (tmp_path / "half.1.unfinished").write_text("{")
    assert read_results(tmp_path) == [{"kind": "compile"}]


def test_the_report_adds_up_all_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, lines in (("one", 1000), ("two", 234)):
        counts = {"kind": "compile", "lines": lines, "functions": 3, "bytecode": 500}
        write_result(tmp_path, name, counts)
    write_result(tmp_path, "tests-x", {"kind": "test", "tests": 7, "failed": 1})
    report.main(tmp_path)
    assert capsys.readouterr().out == (
        "2 files compiled: 1,234 lines, 6 functions, 1,000 bytes of code\n1 test folders: 7 tests, 1 failed\n"
    )
    assert (tmp_path / report.REPORT).read_text().startswith("2 files compiled")

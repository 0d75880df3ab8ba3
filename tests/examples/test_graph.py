"""The demo's graph covers the source tree, and its tasks are ones that the command worker can run."""

from pathlib import Path

import pytest

from examples.demo.graph import PACKAGES, ROOT, Graph, project_graph
from schemas.ids import slugid
from taskbus.shell import CommandPayload

GROUP_ID = slugid()


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return project_graph(GROUP_ID, tmp_path)


def subjects(graph: Graph, kind: str) -> list[str]:
    return [task.tags["subject"] for task in graph.values() if task.tags["kind"] == kind]


def test_every_file_of_the_packages_is_compiled_once(graph: Graph) -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert len(files) > 100
    assert sorted(subjects(graph, "compile")) == sorted(str(file.relative_to(ROOT)) for file in files)


def test_every_test_folder_of_the_sample_project_is_run(graph: Graph) -> None:
    folders = [Path(subject).name for subject in subjects(graph, "test")]
    assert folders == ["life", "primes", "queens", "sudoku"]


def test_the_report_comes_last_and_depends_on_everything_else(graph: Graph) -> None:
    *others, report_id = graph
    assert graph[report_id].tags["kind"] == "report"
    assert set(graph[report_id].dependencies) == set(others)


def test_tests_come_in_the_middle_so_that_a_third_of_all_is_completed_when_one_begins(graph: Graph) -> None:
    kinds = [task.tags["kind"] for task in graph.values()]
    places = [place for place, kind in enumerate(kinds) if kind == "test"]
    assert len(kinds) * 4 < places[0] * 10
    assert places[-1] * 10 < len(kinds) * 6


def test_all_tasks_are_in_one_group(graph: Graph) -> None:
    assert {task.task_group_id for task in graph.values()} == {GROUP_ID}


def test_every_task_has_a_route_by_its_kind(graph: Graph) -> None:
    assert {task.routes[0].split(".")[1] for task in graph.values()} == {"compile", "test", "report"}


def test_every_payload_is_one_for_the_command_worker(graph: Graph) -> None:
    for task in graph.values():
        assert CommandPayload.model_validate(task.payload).max_run_time == 60

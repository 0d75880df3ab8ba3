"""The demo's figures come from the record alone."""

from examples.demo.summary import figures
from tests.examples.story import NOW, Story, whole_story


def test_waits_count_from_the_definition_to_the_first_run() -> None:
    story = Story()
    task_id = story.create("one.py")
    story.claim(task_id)
    story.expire(task_id)
    story.claim(task_id)
    assert figures(story.records, NOW)["created to running"].startswith("median 0.10 s, 95 % within 0.10 s")


def test_work_counts_from_the_last_run_to_its_end() -> None:
    story = Story()
    task_id = story.create("one.py")
    story.claim(task_id)
    story.expire(task_id)
    story.claim(task_id)
    story.complete(task_id)
    assert figures(story.records, NOW)["running to completed"] == "median 0.10 s, 95 % within 0.10 s"


def test_events_and_retries_are_counted() -> None:
    story = whole_story()
    told = figures(story.records, NOW)
    assert told["events"] == str(len(story.records))
    assert told["retries"] == "1 after claim-expired"
    assert told["first event"] == "0.100 s after the first call"


def test_an_empty_record_has_no_figures() -> None:
    assert figures([], NOW) == {"events": "none"}

"""When the demo kills a worker, and which one."""

from examples.demo.choice import Choice
from schemas.messages import TaskCompletedMessage, TaskRunningMessage
from tests.examples.story import Story


def choices(story: Story, tasks: int) -> list[str | None]:
    """Whom to kill after each event that the demo hears."""
    choice = Choice(tasks)
    victims = []
    for record in story.records:
        if isinstance(record.event, TaskRunningMessage | TaskCompletedMessage):
            choice.hear(record.event)
            victims.append(choice.victim)
    return victims


def test_a_worker_that_begins_a_test_after_a_third_is_chosen_at_once() -> None:
    story = Story()
    file, folder = story.create("one.py"), story.create("tests", kind="test")
    story.claim(file, "worker-1")
    story.complete(file)
    story.claim(folder, "worker-2")
    assert choices(story, tasks=3) == [None, None, "worker-2"]


def test_a_worker_that_runs_a_test_is_chosen_as_soon_as_a_third_is_completed() -> None:
    story = Story()
    file, folder = story.create("one.py"), story.create("tests", kind="test")
    story.claim(folder, "worker-2")
    story.claim(file, "worker-1")
    story.complete(file)
    assert choices(story, tasks=3) == [None, None, "worker-2"]


def test_nobody_is_chosen_before_a_third_is_completed() -> None:
    story = Story()
    file, folder = story.create("one.py"), story.create("tests", kind="test")
    story.claim(file)
    story.complete(file)
    story.claim(folder)
    assert choices(story, tasks=4) == [None, None, None]


def test_a_worker_whose_test_is_completed_is_not_chosen() -> None:
    story = Story()
    folder, file = story.create("tests", kind="test"), story.create("one.py")
    story.claim(folder)
    story.complete(folder)
    story.claim(file)
    assert choices(story, tasks=3) == [None, None, None]


def test_of_several_the_worker_that_began_last_is_chosen() -> None:
    story = Story()
    file, first, second = story.create("one.py"), *(story.create(name, kind="test") for name in "ab")
    story.claim(first, "worker-1")
    story.claim(second, "worker-2")
    story.claim(file, "worker-1")
    story.complete(file)
    assert choices(story, tasks=3)[-1] == "worker-2"

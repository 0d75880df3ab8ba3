"""Which worker the demo kills, and when: decided from events alone."""

from schemas.messages import TaskCompletedMessage, TaskMessage, TaskRunningMessage

Run = tuple[str, int]


class Choice:
    """Hears of running and completed runs, and tells whom to kill.

    That is a worker with a test run under way, once a third of all tasks is completed: tests take a second or
    more, so the worker still holds the run when it dies.
    """

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._completed: set[str] = set()
        self._testing: dict[Run, str] = {}

    def hear(self, event: TaskRunningMessage | TaskCompletedMessage) -> None:
        """Something happened."""
        run = event.status.task_id, event.run_id
        if isinstance(event, TaskCompletedMessage):
            self._completed.add(event.status.task_id)
            self._testing.pop(run, None)
        elif _is_test(event):
            self._testing[run] = event.worker_id

    @property
    def victim(self) -> str | None:
        """The id of the worker to kill now, which began its test last; None if this is no good moment."""
        if 3 * len(self._completed) < self._tasks:
            return None
        return next(reversed(self._testing.values()), None)


def _is_test(event: TaskMessage) -> bool:
    return event.task is not None and event.task.tags.get("kind") == "test"

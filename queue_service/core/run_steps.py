"""What a change did to runs, as operators count it: which were handed out, and which ended and why."""

from queue_service.core.task import Change

Step = tuple[str, str]
"""The state that a run has reached, ``running`` or the one it ended in, and the reason of an end."""


def run_steps(change: Change) -> list[Step]:
    """The steps of all runs in their order. Of a task only the last run changes, and new ones follow it."""
    if not change.alters:
        return []
    before = () if change.before is None else change.before.runs
    known = len(before)
    steps: list[Step] = []
    for place in range(max(known - 1, 0), len(change.after.runs)):
        run = change.after.runs[place]
        if run.state != "pending" and (place >= known or before[place].state != run.state):
            steps.append((run.state, run.reason_resolved or ""))
    return steps

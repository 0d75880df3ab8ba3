"""In the end everything that was to be told must have been told, in order."""

from collections import defaultdict
from collections.abc import Sequence

from tests.simulation.broker import Delivery
from tests.simulation.history import History, Life, of_group
from tests.simulation.model import ENDED, shown_of

Places = dict[tuple[str, int | None], int]
"""Where each message of a task is among the first copies of all: exchange and run."""


class Deliveries:
    """Judges what is in the durable queue."""

    def __init__(self, history: History) -> None:
        self._history = history

    def judge(self, deliveries: Sequence[Delivery]) -> None:
        """``deliveries`` in the order of arrival, all of them."""
        copies: dict[str, Delivery] = {}
        for delivery in deliveries:
            if copies.setdefault(delivery.message_id, delivery).text != delivery.text:
                self._history.violated(f"message-id {delivery.message_id} stands for two messages")
        told: dict[str, list[tuple[int, Delivery]]] = defaultdict(list)
        for place, delivery in enumerate(copies.values()):
            body = delivery.body
            about = body["status"]["taskId"] if "status" in body else of_group(body["taskGroupId"])
            told[about].append((place, delivery))
        places = {}
        for task_id, life in self._history.lives.items():
            places[task_id] = self._judge_told(task_id, life, told[task_id])
        self._judge_causes(places)
        self._judge_groups(places, told)
        self._judge_owed(told)

    def _judge_told(self, task_id: str, life: Life, told: Sequence[tuple[int, Delivery]]) -> Places:
        """Per task in commit order; what is told again was told before."""
        expected = [(event, step.after) for step in life.steps for event in step.told]
        shown = {step.after.shown for step in life.steps if step.after is not None}
        places: Places = {}
        for place, delivery in told:
            if delivery.exchange == "task-priority-changed":
                continue
            event = (delivery.exchange, delivery.body.get("runId"))
            status = delivery.body["status"]
            if event in places:
                if event[0] != "task-defined" and shown_of(status) not in shown:
                    self._history.violated(
                        f"{task_id}: {event} told again with a status that never was: {status}"
                    )
                continue
            number = len(places)
            if number >= len(expected) or expected[number][0] != event:
                wanted = [name for name, _ in expected]
                heard = [(item.exchange, item.body.get("runId")) for _, item in told]
                self._history.violated(f"{task_id}: heard {heard}, to be told was {wanted}")
                return places
            state = expected[number][1]
            if event[0] == "task-defined":
                if status["runs"] or status["state"] != "unscheduled":
                    self._history.violated(f"{task_id}: defined as {status}")
            elif state is not None and shown_of(status) != state.shown:
                self._history.violated(
                    f"{task_id}: {event} told with {shown_of(status)}, it was {state.shown}"
                )
            places[event] = place
        if len(places) < len(expected):
            missing = [name for name, _ in expected[len(places) :]]
            self._history.violated(f"{task_id}: never told: {missing}")
        return places

    def _judge_causes(self, places: dict[str, Places]) -> None:
        """A dependent is told pending after the end of what it waited for."""
        for task_id, life in self._history.lives.items():
            pending = places[task_id].get(("task-pending", 0))
            if pending is None or life.by_call:
                continue
            for needed in life.definition["dependencies"]:
                ends = [place for (name, _), place in places.get(needed, {}).items() if name[5:] in ENDED]
                if needed != task_id and not any(place < pending for place in ends):
                    self._history.violated(f"{task_id}: told pending before the end of {needed}")

    def _judge_groups(
        self,
        places: dict[str, Places],
        told: dict[str, list[tuple[int, Delivery]]],
    ) -> None:
        """task-group-resolved comes after the end of the group's last task."""
        last_end: dict[str, str] = {}
        for group_id, task_id in self._history.ends:
            last_end[group_id] = task_id
        for group_id, task_id in last_end.items():
            members = [life for life in self._history.lives.values() if life.group_id == group_id]
            existing = [life.state for life in members]
            if any(state is None or not state.ever_resolved for state in existing):
                continue
            ends = [place for (name, _), place in places[task_id].items() if name[5:] in ENDED]
            heard = [
                place for place, item in told[of_group(group_id)] if item.exchange == "task-group-resolved"
            ]
            if not any(place > min(ends, default=0) for place in heard):
                self._history.violated(f"group {group_id}: its being resolved was not told")

    def _judge_owed(self, told: dict[str, list[tuple[int, Delivery]]]) -> None:
        for exchange, about, word in self._history.owed:
            for _, delivery in told[about]:
                if delivery.exchange == exchange and word in (None, delivery.body.get("newPriority")):
                    break
            else:
                self._history.violated(f"{exchange} {word or ''} of {about} was never told")
